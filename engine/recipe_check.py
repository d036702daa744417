"""Check a recipe's values: their shape, then each block against the plugin that it names, and what the blocks need of each other."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import BaseModel, ValidationError

from engine.augmentation import Augmentation
from engine.components import Component, is_there, recipe_paths
from engine.contracts.dataset import Dataset
from engine.contracts.loss import Loss
from engine.contracts.model import Model
from engine.errors import EngineError, RecipeError
from engine.faults import Location, explain
from engine.mixture import Mixture
from engine.plugins import PluginHost
from engine.recipe_source import numbered
from engine.registration import RESERVED
from engine.yaml_lines import Traced

_Shape = TypeVar("_Shape", bound=BaseModel)


@dataclass(frozen=True)
class Parts:
    """The components of a recipe without faults."""

    model: Model
    encoder: Model | None
    losses: Mapping[str, Loss]
    dataset: Dataset
    blocks: Mapping[str, Component | Sequence[Component]]


class Checker:
    """Collects every fault of one recipe."""

    def __init__(self, host: PluginHost, root: Traced) -> None:
        self.host, self.root = host, root
        self.faults: list[tuple[str, int, str]] = []
        """Source, line, text."""

    def finish(self) -> None:
        """Raise what was found: file by file in the order of lines, options last."""
        if not self.faults:
            return
        sources = list(dict.fromkeys([self.root.source, *(source for source, _, _ in self.faults)]))
        ordered = sorted(dict.fromkeys(self.faults), key=lambda fault: (fault[0].startswith("--"), sources.index(fault[0]), fault[1]))
        raise RecipeError([f"{source}:{line}: {text}" if line else f"{source}: {text}" for source, line, text in ordered])

    def shape(self, cls: type[_Shape]) -> _Shape | None:
        """The first pass: the recipe's own keys and types."""
        self._check_requirements()
        self._check_files()
        try:
            return cls.model_validate(self.root.plain(), context={"base": self.root.base})
        except ValidationError as error:
            self._add_all(error, cls, ())
            return None

    def parts(self, augmentation: Augmentation | None) -> Parts | None:
        """The second pass: every block against its plugin; None where something is missing."""
        model = cast("Model | None", self._component("model", ("model",)))
        encoder = cast("Model | None", self._component("model", ("encoder",), ignore=("weights",)))
        datasets = self._datasets(augmentation)
        listed = self._at(("losses",))
        stated = listed.value if listed and isinstance(listed.value, list) else []
        losses = [cast("Loss | None", self._component("loss", ("losses", index))) for index in range(len(stated))]
        backend = self._backend()
        needy = [(index, loss) for index, loss in enumerate(losses) if loss is not None]
        names = numbered([loss.label or loss.name for _, loss in needy])
        if "total" in names:
            self._add(("losses", needy[names.index("total")][0]), "a loss cannot be called 'total', which is the sum of them all")
        wants_encoder = [index for index, loss in needy if self._check_needs(("losses", index), loss, model, encoder)]
        if self.faults or model is None or datasets is None or len(needy) < len(stated):
            return None
        named = dict(zip(names, (loss for _, loss in needy), strict=True))
        dataset, stated_data = datasets
        blocks: dict[str, Component | Sequence[Component]] = {"model": model, "losses": list(named.values()), "dataset": stated_data}
        blocks |= {key: part for key, part in (("encoder", encoder), ("backend", backend)) if part is not None}
        return Parts(model, encoder if wants_encoder else None, named, dataset, blocks)

    def _at(self, location: Location) -> Traced | None:
        place = self.root
        for key in location:
            if isinstance(place.value, dict) and key in place.value:
                place = place.value[str(key)]
            elif isinstance(place.value, list) and isinstance(key, int) and key < len(place.value):
                place = place.value[key]
            else:
                return None
        return place

    def _add(self, location: Location, text: str) -> None:
        """A fault at the deepest place of ``location`` that is there; keys that pydantic made up are left out."""
        place, shown = self.root, []
        for index, key in enumerate(location):
            below = None
            if isinstance(place.value, dict) and isinstance(key, str):
                below = place.value.get(key)
            elif isinstance(place.value, list) and isinstance(key, int) and key < len(place.value):
                below = place.value[key]
            if below is not None:
                place = below
            if below is not None or (index == len(location) - 1 and isinstance(place.value, dict)):
                shown.append(str(key))
        self.faults.append((place.source, place.line, f"{'.'.join(shown)}: {text}" if shown else text))

    def _add_all(self, error: ValidationError, cls: type[BaseModel], location: Location) -> None:
        for inside, text in explain(error, cls):
            self._add((*location, *inside), text)

    def _component(self, kind: str, location: Location, ignore: Sequence[str] = ()) -> Component | None:
        block = self._at(location)
        name = block.value.get("name") if block and isinstance(block.value, dict) else None
        if block is None or not isinstance(block.value, dict) or name is None or not isinstance(name.value, str):
            return None  # the first pass says so
        try:
            cls = self.host.get(kind, name.value)
        except EngineError as error:
            self._add((*location, "name"), _one_line(error))
            return None
        settings = {key: item.plain() for key, item in block.value.items() if key not in ("name", *ignore)}
        try:
            part = cls.model_validate(settings, context={"base": block.base})
            for inside, path in recipe_paths(part):
                if not is_there(path):
                    self._add((*location, *inside), f"there is no file or folder {path}")
            return part
        except ValidationError as error:
            self._add_all(error, cls, location)
        except EngineError as error:
            self._add(location, _one_line(error))
        except Exception as error:  # a plugin's own validator may raise anything
            self._add(location, f"the {kind} {name.value!r} failed to check its settings: {type(error).__name__}: {error}")
        return None

    def _datasets(self, augmentation: Augmentation | None) -> tuple[Dataset, Component | Sequence[Component]] | None:
        """What to train on, and the component or components as the recipe states them."""
        block = self._at(("dataset",))
        places: list[Location] = [("dataset",)]
        if listed := block is not None and isinstance(block.value, list):
            places = [("dataset", index) for index in range(len(block.value))]
        ours = RESERVED["dataset"] if listed else ()
        found = [cast("Dataset | None", self._component("dataset", place, ignore=ours)) for place in places]
        parts = [part for part in found if part is not None]
        sizes = [(place, size) for place, part in zip(places, found, strict=True) if part is not None and (size := _size(part))]
        for place, size in sizes[1:]:
            if size != sizes[0][1]:
                here = next((key for key in ("width", "height") if self._at((*place, key))), "name")
                (width, height), (other, other_height) = size, sizes[0][1]
                first = ".".join(map(str, sizes[0][0]))
                text = f"{width}x{height}, and clips of {first} have {other}x{other_height}: all of a mix have one size"
                self._add((*place, here), f"its clips have {text}")
        if augmentation and sizes:
            try:
                augmentation.fit(*sizes[0][1])
            except EngineError as error:
                self._add(("augment", "crop" if augmentation.crop else "scale"), _one_line(error))
        if not parts or len(parts) < len(found) or self.faults:
            return None
        if not listed:
            return parts[0], parts[0]
        shares = [self._at((*place, "share")) for place in places]
        return Mixture.of(tuple(parts), tuple(float(share.plain()) if share else 1.0 for share in shares)), parts

    def _backend(self) -> Component | None:
        block = self._at(("backend",))
        if block is None or not isinstance(block.value, dict):
            return None
        name = block.value.get("name")
        if name is not None and name.value != "auto":
            return self._component("backend", ("backend",))
        for key in block.value:
            if key not in ("name", "device", "precision"):
                self._add(("backend", key), "name a backend to give it settings of its own; `auto` has device and precision")
        return None

    def _check_needs(self, location: Location, loss: Loss, model: Model | None, encoder: Model | None) -> bool:
        """Whether the loss wants an encoder; a fault where the taps or layers that it reads are not there."""
        try:
            needs = loss.needs()
            if model is not None and needs.taps:
                model.network().prune(needs.taps)
            layers = (*needs.encoder, *needs.frame_encoder)
            if encoder is not None and layers:
                encoder.network().prune(layers)
            elif layers and self._at(("encoder", "name")) is None:
                self._add(location, f"the loss {loss.name!r} needs an encoder, and this recipe names none: add `encoder: {{name: ...}}`")
            return bool(layers)
        except EngineError as error:
            self._add(location, f"the loss {loss.name!r} does not fit: {_one_line(error)}")
            return False

    def _check_files(self) -> None:
        for location, what in ((("style", "image"), "style image"), (("encoder", "weights"), "weights file")):
            place = self._at(location)
            if place and isinstance(place.value, str) and not (path := place.base / Path(place.value)).is_file():
                self._add(location, f"{path} is a folder" if path.is_dir() else f"there is no {what} {path}")

    def _check_requirements(self) -> None:
        listed = self._at(("requires",))
        for index, place in enumerate(listed.value if listed and isinstance(listed.value, list) else []):
            if isinstance(place.value, str):
                for text in _unmet(place.value):
                    self._add(("requires", index), text)


def _size(dataset: Dataset) -> tuple[int, int] | None:
    """Width and height of its clips, where its settings say so."""
    width, height = getattr(dataset, "width", None), getattr(dataset, "height", None)
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _unmet(text: str) -> Iterator[str]:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        yield f"{text!r} is no requirement: {str(error).splitlines()[0]}"
        return
    if requirement.marker and not requirement.marker.evaluate():
        return
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        yield f"{requirement.name} is not installed: pip install '{text}'"
        return
    if not requirement.specifier.contains(version, prereleases=True):
        yield f"{requirement.name} {version} is installed, and this recipe needs {requirement.specifier}: pip install '{text}'"


def _one_line(error: EngineError) -> str:
    return " ".join(
        f"{EngineError(error.problem, where=error.where, allowed=error.allowed)}{f' ({error.remedy})' if error.remedy else ''}".split()
    )
