"""What pydantic found wrong, in words that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeAlias, get_args

from pydantic import BaseModel, ValidationError

Location: TypeAlias = tuple[int | str, ...]

_SHAPES = dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a mapping of settings")
_SHAPES |= dict.fromkeys(("list_type", "tuple_type", "set_type"), "a list")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'content'?"``, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """``no <what> is called 'contant'; did you mean 'content'? known: ...``."""
    names = sorted(known)
    hint = did_you_mean(word, names)
    return f"no {what} is called {word!r}{hint or ';'} known: {', '.join(names) or 'none'}"


def explain(error: ValidationError, cls: type[BaseModel]) -> list[tuple[Location, str]]:
    """Every fault that ``cls`` found: where in the settings, and what is wrong, without a full stop."""
    found: list[tuple[Location, str]] = []
    for fault in error.errors():
        place = fault["loc"]
        if fault["type"] == "missing" and place and isinstance(place[-1], int):
            found.append((place[:-1], "this list is too short"))
        else:
            found.append((place, _sentence(fault["type"], fault["msg"], place, fault.get("input"), cls)))
    return found


def _sentence(code: str, message: str, location: Location, value: object, cls: type[BaseModel]) -> str:
    if code == "extra_forbidden":
        known = _fields_at(cls, location[:-1])
        return unknown("setting", str(location[-1]), known)
    if code == "missing":
        return "this setting is required"
    if code in _SHAPES:
        return f"this should be {_SHAPES[code]}, and it is {_short(value)}"
    text = message.removeprefix("Value error, ").removeprefix("Input ")
    text = text[:1].lower() + text[1:]
    return f"{text}, and this is {_short(value)}"


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _fields_at(cls: type[BaseModel], location: Location) -> Iterable[str]:
    """The field names of the model that stands at a place inside ``cls``."""
    for key in location:
        field = cls.model_fields.get(str(key))
        stated = field.annotation if field is not None else None
        inner = next((kind for kind in (stated, *get_args(stated)) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            return ()
        cls = inner
    return cls.model_fields
