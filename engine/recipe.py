"""A recipe: what one YAML file may say, checked against the plugins that it names, with every fault at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import to_jsonable_python

from engine.augmentation import Augmentation, Augmented
from engine.components import Component, RecipePath
from engine.contracts.backend import DEVICE, Backend, Precision
from engine.contracts.dataset import Dataset
from engine.contracts.loss import Loss
from engine.contracts.model import Model
from engine.plugins import PluginHost, load_plugins
from engine.recipe_check import Checker
from engine.recipe_source import find_recipe, override, read_recipe
from engine.yaml_lines import Traced, dump_yaml

FORMAT = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Block(_Part):
    """A plugin's component by name; whatever else stands there are its settings."""

    model_config = ConfigDict(extra="allow")
    name: str = Field(description="Which one; `engine plugins` lists them.")


class SharedBlock(Block):
    """One dataset of several."""

    share: float = Field(default=1.0, gt=0, description="How much of the clips it gives, relative to the others.")


class EncoderBlock(Block):
    """The network that losses look through."""

    weights: RecipePath | None = Field(default=None, description="A file of its weights; without one they are fetched.")


class BackendBlock(Block):
    """The framework to train on."""

    name: str = Field(default="auto", description="Which one; auto is the installed one that the engine prefers.")
    device: str = Field(default="auto", pattern=DEVICE, description="auto, cpu, gpu[:n] or ascend[:n].")
    precision: Precision = Field(default="auto", description="What networks compute in.")


class StyleImage(_Part):
    """The picture to learn from."""

    image: RecipePath = Field(description="Its file.")
    size: int = Field(default=512, ge=16, le=8192, description="Its long side in pixels when it is compared; sets the scale of strokes.")


Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimiserSettings(_Part):
    """Adam."""

    learning_rate: float = Field(default=1e-3, gt=0, description="Step size.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="Decay of the two moments, each from 0 to below 1.")
    eps: float = Field(default=1e-8, gt=0, description="Keeps the division finite; outside the root.")
    decay: float = Field(default=0.0, ge=0, le=1, description="Over this last share of the steps the step size falls linearly to zero.")


class Every(_Part):
    """How often something happens."""

    every: int = Field(default=100, ge=1, description="Steps between two.")


class LoaderSettings(_Part):
    """How samples are read; the run is the same whatever these say."""

    workers: int = Field(default=2, ge=1, le=256, description="Samples read at once.")
    processes: bool = Field(default=False, description="Read them in processes: for datasets that keep Python itself busy.")


def _some(stated: tuple[SharedBlock, ...]) -> tuple[SharedBlock, ...]:
    if not stated:
        raise ValueError("name at least one dataset")
    return stated


Data = Annotated[
    Annotated[Block, Tag("a mapping")] | Annotated[tuple[SharedBlock, ...], AfterValidator(_some), Tag("a list")],
    Discriminator(lambda stated: "a list" if isinstance(stated, (list, tuple)) else "a mapping"),
]


class Recipe(_Part):
    """The whole of a recipe file; ``extends`` is resolved before."""

    format: Literal[1] = Field(description="The format of recipe files.")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="What the style is called; the file's name by default.")
    requires: tuple[str, ...] = Field(default=(), description="Distributions that must be installed, like `some-dist>=0.1`.")
    model: Block = Field(description="The network that is trained.")
    encoder: EncoderBlock | None = Field(default=None, description="The frozen network that losses look through.")
    style: StyleImage = Field(description="The picture to learn from.")
    losses: tuple[Block, ...] = Field(min_length=1, description="The terms of the objective.")
    dataset: Data = Field(description="What to train on: a dataset, or a list of some, each with a share.")
    augment: Augmentation | None = Field(default=None, description="How clips are varied; not at all by default.")
    backend: BackendBlock = Field(default=BackendBlock(), description="The framework to train on.")
    optimiser: OptimiserSettings = Field(default=OptimiserSettings(), description="Adam's settings.")
    steps: int = Field(ge=1, description="Updates.")
    batch: int = Field(default=2, ge=1, description="Clips a step.")
    loader: LoaderSettings = Field(default=LoaderSettings(), description="How samples are read.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Decides the first weights and the order of clips.")
    preview: Every = Field(default=Every(every=100), description="How often a preview is painted.")
    checkpoint: Every = Field(default=Every(every=200), description="How often the state is saved.")
    licence: str = Field(default="", description="The licence of the trained style.")
    notes: str = Field(default="", description="Anything that a reader should know; goes into the style.")


@dataclass(frozen=True)
class CheckedRecipe:
    """A recipe without faults, and the components that it names."""

    path: Path
    recipe: Recipe
    model: Model
    encoder: Model | None
    """None where no loss needs one, whatever the recipe names."""
    losses: Mapping[str, Loss]
    """By label; a repeat is called ``content#2``."""
    dataset: Dataset
    """What is trained on, mixed and augmented as the recipe says."""
    blocks: Mapping[str, Component | Sequence[Component]]
    """The components as the recipe states them, by its keys."""

    @property
    def encoder_weights(self) -> Path | None:
        """The file of the encoder's weights, where the recipe names one."""
        return self.recipe.encoder.weights if self.recipe.encoder else None

    @property
    def data(self) -> dict[str, Any]:
        """The recipe as it runs, as JSON data: every setting, absolute paths."""
        return self._data(portable=False)

    def portable(self) -> dict[str, Any]:
        """:attr:`data` to be published with a style: of each path only the file's name."""
        return self._data(portable=True)

    def to_yaml(self) -> str:
        """:attr:`data` as a recipe file, which reads back as the same recipe from any folder."""
        return dump_yaml(self.data)

    def make_backend(self, host: PluginHost) -> Backend:
        """The recipe's backend; an :class:`EngineError` where it is not installed."""
        stated = self.recipe.backend
        settings = stated.model_extra or {}
        return host.make_backend(stated.name, device=stated.device, precision=stated.precision, settings=settings, training=True)

    def _data(self, portable: bool) -> dict[str, Any]:
        def dump(part: BaseModel) -> Any:
            return _named(part.model_dump(round_trip=True)) if portable else part.model_dump(mode="json", round_trip=True)

        data: dict[str, Any] = dump(self.recipe)
        for key, made in self.blocks.items():
            if isinstance(made, Component):
                data[key] = {**data[key], **dump(made)}
            else:
                data[key] = [{**stated, **dump(part)} for stated, part in zip(data[key], made, strict=True)]
        return data


def load_recipe(
    path: str | Path,
    overrides: Sequence[str] = (),
    host: PluginHost | None = None,
    *,
    backend: str | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> CheckedRecipe:
    """Read a recipe and check it against the plugins that it names; nothing is fetched and no framework is imported.

    Args:
        path: The file, or the bare name of a shipped recipe.
        overrides: ``KEY=VALUE`` of each ``--set``; relative paths in them start at the current folder.
        host: The plugins; all installed ones by default.
        backend: In place of the recipe's; settings for another backend are dropped, device and precision stay.
        device: In place of the recipe's.
        precision: In place of the recipe's.

    Raises:
        RecipeError: Every fault, each with file and line.
        EngineError: There is no such recipe file.
    """
    path = find_recipe(path)
    document = read_recipe(path)
    checker = Checker(host or load_plugins(), document.root)
    checker.faults += document.faults
    for setting in overrides:
        if fault := override(document.root, setting):
            checker.faults.append((f"--set {setting}", 0, fault))
    _choose_backend(document.root, {"name": backend, "device": device, "precision": precision})
    if isinstance(document.root.value, dict) and "name" not in document.root.value:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).lstrip("._-") or "style"
        document.root.value["name"] = Traced(stem, str(path), 0, document.root.base)
    recipe = checker.shape(Recipe)
    parts = checker.parts(recipe.augment if recipe else None)
    checker.finish()
    assert recipe is not None  # what is missing is a fault, and faults have been raised
    assert parts is not None
    dataset = Augmented.of(parts.dataset, recipe.augment, recipe.seed) if recipe.augment else parts.dataset
    return CheckedRecipe(path, recipe, parts.model, parts.encoder, parts.losses, dataset, parts.blocks)


def _choose_backend(root: Traced, chosen: Mapping[str, str | None]) -> None:
    if not isinstance(root.value, dict):
        return
    block = root.value.get("backend")
    stated = dict(block.value) if block and isinstance(block.value, dict) else {}
    for key, value in chosen.items():
        if value is None:
            continue
        if key == "name" and value != (stated["name"].value if "name" in stated else "auto"):
            stated = {key: item for key, item in stated.items() if key in ("device", "precision")}
        option = "backend" if key == "name" else key
        stated[key] = Traced(value, f"--{option} {value}", 0, Path.cwd())
    if any(chosen.values()):
        root.value["backend"] = Traced(stated, *((block.source, block.line, block.base) if block else ("--backend", 0, Path.cwd())))


def _named(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _named(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_named(item) for item in value]
    return value.name if isinstance(value, Path) else to_jsonable_python(value)
