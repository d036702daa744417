"""The settings that every exchangeable part is made of: a frozen, checked, documented pydantic model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from glob import iglob
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo


class Component(BaseModel):
    """A part that a recipe names. Its fields are the settings that the recipe may give.

    A field wants a default and a description: ``Field(default=1.0, description="...")``. Heavy state
    belongs into a ``functools.cached_property``; it is dropped when the component is pickled or copied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    kind: ClassVar[str] = "component"
    name: ClassVar[str]
    """A word in snake case, unique within its kind; a recipe finds the component by it."""

    def __getstate__(self) -> dict[Any, Any]:
        state = dict(super().__getstate__())
        state["__dict__"] = self._light_state()
        return state

    def __copy__(self) -> Self:  # also what model_copy(update=...) starts from
        other = super().__copy__()
        object.__setattr__(other, "__dict__", self._light_state())
        return other

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return BaseModel.__deepcopy__(self.__copy__(), memo)  # heavy state may be what cannot be copied deeply

    def _light_state(self) -> dict[str, Any]:
        """What the instance holds, without its heavy state."""
        heavy = {key for cls in type(self).__mro__ for key, item in vars(cls).items() if isinstance(item, cached_property)}
        return {key: item for key, item in vars(self).items() if key not in heavy}


class StatedText(str):
    """Text of a recipe that knows the folder of the file that states it: a recipe may inherit from one elsewhere."""

    base: Path

    @classmethod
    def of(cls, text: str, base: Path) -> StatedText:
        """``text``, stated in the folder ``base``."""
        stated = cls(text)
        stated.base = base
        return stated


def _beside_recipe(value: object, info: ValidationInfo) -> object:
    base = value.base if isinstance(value, StatedText) else (info.context or {}).get("base")
    return Path(base) / value if base is not None and isinstance(value, (str, Path)) else value


RecipePath = Annotated[Path, BeforeValidator(_beside_recipe)]
"""A file or folder to read: a relative path starts at the folder of the recipe that states it; one that is not there is a fault of it.

A pattern such as ``clips/*.mp4`` is there where a file fits; the component itself finds the files.
"""


def is_there(path: Path) -> bool:
    """Whether a :data:`RecipePath` names a file, a folder, or by its pattern any of them."""
    fitting = iglob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return path.exists() or any(Path(name).exists() for name in fitting)


def recipe_paths(part: BaseModel) -> Iterator[tuple[tuple[int | str, ...], Path]]:
    """The values of settings that are :data:`RecipePath`, also inside lists and the like, each with its place."""
    for name, field in type(part).model_fields.items():
        stated = any(map(_is_recipe_path, (field.annotation, *field.metadata)))
        for place, item in _items(getattr(part, name)):
            if isinstance(item, BaseModel):
                yield from (((name, *place, *inside), path) for inside, path in recipe_paths(item))
            elif stated and isinstance(item, Path):
                yield (name, *place), item


def _is_recipe_path(kind: object) -> bool:
    return (isinstance(kind, BeforeValidator) and kind.func is _beside_recipe) or any(map(_is_recipe_path, get_args(kind)))


def _items(value: object) -> Iterator[tuple[tuple[int | str, ...], object]]:
    if isinstance(value, Mapping):
        yield from (((str(key), *place), item) for key, inner in value.items() for place, item in _items(inner))
    elif isinstance(value, (list, tuple)):
        yield from (((index, *place), item) for index, inner in enumerate(value) for place, item in _items(inner))
    elif isinstance(value, (set, frozenset)):  # whose order is not the recipe's
        yield from (((), item) for inner in value for _, item in _items(inner))
    else:
        yield (), value
