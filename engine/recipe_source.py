"""Where a recipe's values come from: its file, the recipes it extends, and ``--set``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine import places
from engine.errors import EngineError, RecipeError
from engine.faults import did_you_mean
from engine.yaml_lines import Document, Traced, read_yaml

_LARGEST = 1_000_000  # bytes; a recipe has a few thousand


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path, or the bare name of a shipped one; a path wins."""
    path = Path(name)
    if path.exists():
        return path
    known = shipped_recipes()
    if str(name) in known:
        return known[str(name)]
    shown = f"{', '.join(known) or 'none'}, or the path of a YAML file"
    raise EngineError(f"there is no such recipe{did_you_mean(path.stem, known) or ';'} known: {shown}", where=str(name))


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the engine, by name."""
    return {path.stem: path for path in sorted(places.shipped().glob("*.yaml"))}


def read_recipe(path: Path, children: Sequence[Path] = ()) -> Document:
    """A recipe merged over the ones it extends, each a path beside it or the name of a shipped one; a path wins.

    Mappings merge, everything else is replaced. A block that names another component than its parent's starts afresh, without the parent's
    settings. ``losses`` may be a mapping by label: what the parent has is changed, or left out by null, and what it has not is added.
    """
    document = read_yaml(_text(path), str(path), path.parent.absolute())
    root = document.root
    if root.value is None:
        raise RecipeError(f"{path}: this file is empty; a recipe is a mapping that starts with `format: 1`")
    if not isinstance(root.value, dict):
        raise RecipeError(f"{root.where}: a recipe is a mapping that starts with `format: 1`")
    root.line = 0  # what is missing from the whole recipe is missing from no line of it
    extends = root.value.pop("extends", None)
    if extends is None:
        return document
    if not isinstance(extends.value, str):
        raise RecipeError(f"{extends.where}: extends: this is the path of one recipe, or the name of a shipped one")
    above = Path(os.path.normpath(path.parent / extends.value))
    known = shipped_recipes()
    if not above.exists() and extends.value in known:
        above = known[extends.value]
    family = [*children, path]
    if any(above.resolve() == member.resolve() for member in family):
        chain = " -> ".join(map(str, [*family, above]))
        raise RecipeError(f"{extends.where}: extends: a recipe cannot extend itself ({chain})")
    if not above.exists():
        raise RecipeError(f"{extends.where}: extends: there is no recipe {above}{did_you_mean(Path(extends.value).stem, known)}")
    parent = read_recipe(above, family)
    return Document(_merge(parent.root, root, top=True), [*document.faults, *parent.faults])


def override(root: Traced, setting: str) -> str:
    """Apply one ``--set KEY=VALUE`` in place; what is wrong with the key, or nothing."""
    key, equals, text = setting.partition("=")
    source, steps = f"--set {setting}", key.strip().split(".")
    if not equals or not all(steps):
        raise RecipeError(f"{source}: write --set KEY=VALUE, for example --set losses.content.weight=2e4")
    if steps[0] == "extends":
        return "extends: a recipe names its parent in its file"
    document = read_yaml(text, source, Path.cwd(), lines=False)
    if document.faults:
        return document.faults[0][2]
    stated = document.root if text.strip() else Traced("", source, 0, Path.cwd())
    place = root
    for depth, step in enumerate(steps):
        last, inside = depth == len(steps) - 1, ".".join(steps[:depth])
        if isinstance(place.value, list):
            index = _index(place.value, step, named=steps[:depth] in (["losses"], ["dataset"]))
            if isinstance(index, str):
                return f"{'.'.join(steps[: depth + 1])}: {index}"
            if last:
                place.value[index] = stated
            place = place.value[index]
        elif isinstance(place.value, dict):
            if last:
                place.value[step] = stated
            place = place.value.setdefault(step, Traced({}, source, 0, Path.cwd()))
        elif place.value is None:
            place.value = {step: stated if last else Traced({}, source, 0, Path.cwd())}
            place = place.value[step]
        else:
            return f"{key}: {inside} is one value and holds no {step!r}"
    return ""


def numbered(names: Sequence[str]) -> list[str]:
    """Each name once: the second ``content`` is called ``content#2``."""
    found: list[str] = []
    for name in names:
        label, number = name, 1
        while label in found:
            number += 1
            label = f"{name}#{number}"
        found.append(label)
    return found


def _index(items: list[Traced], step: str, *, named: bool) -> int | str:
    if step.isdecimal() and int(step) < len(items):
        return int(step)
    names = numbered([_stated_label(item) for item in items]) if named else []
    if step in names:
        return names.index(step)
    known = [*(name for name in names if name), *([f"0 to {len(items) - 1}"] if items else [])]
    return f"there is no item {step!r}{did_you_mean(step, names) or ';'} known: {', '.join(known) or 'none'}"


def _stated_label(block: Traced) -> str:
    if not isinstance(block.value, dict):
        return ""
    words = [block.value[key].value for key in ("label", "name") if key in block.value]
    return next((str(word) for word in words if word), "")


def _merge(parent: Traced, child: Traced, *, top: bool = False) -> Traced:
    above, below = parent.value, child.value
    if not isinstance(above, dict) or not isinstance(below, dict):
        return child
    if not top and "name" in above and "name" in below and above["name"].value != below["name"].value:
        return child
    merged = {**above, **{key: _merge(above[key], item) if key in above else item for key, item in below.items()}}
    if top and "losses" in above and "losses" in below:
        merged["losses"] = _merge_losses(above["losses"], below["losses"])
    return Traced(merged, child.source, child.line, child.base)


def _merge_losses(parent: Traced, child: Traced) -> Traced:
    if not isinstance(parent.value, list) or not isinstance(child.value, dict):
        return child
    merged: dict[str, Traced] = dict(zip(numbered([_stated_label(block) for block in parent.value]), parent.value, strict=True))
    for label, block in child.value.items():
        if block.value is None:
            if label not in merged:
                hint = did_you_mean(label, merged) or ";"
                raise RecipeError(f"{block.where}: losses.{label}: there is no such loss to leave out{hint} known: {', '.join(merged)}")
            del merged[label]
        elif not isinstance(block.value, dict):
            raise RecipeError(f"{block.where}: losses.{label}: this is a mapping of settings, or null to leave the loss out")
        elif label in merged:
            merged[label] = _merge(merged[label], block)
        else:
            called = {"label" if "name" in block.value else "name": Traced(label, block.source, block.line, block.base)}
            merged[label] = Traced({**called, **block.value}, block.source, block.line, block.base)
    return Traced(list(merged.values()), child.source, child.line, child.base)


def _text(path: Path) -> str:
    if path.is_dir():
        raise EngineError("this is a folder, and a recipe is a YAML file", where=str(path))
    try:
        if path.stat().st_size > _LARGEST:
            raise EngineError(f"this has {path.stat().st_size:,} bytes, which no recipe has", where=str(path))
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise EngineError("this is no text, and a recipe is a YAML file", where=str(path)) from None
    except OSError as error:
        raise EngineError(f"this cannot be read: {error.strerror}", where=str(path)) from None


@dataclass(frozen=True)
class RecipeSummary:
    """What a list of recipes shows of one."""

    name: str
    path: Path
    model: str = ""
    losses: tuple[str, ...] = ()
    """By label."""
    dataset: str = ""
    backend: str = "auto"
    steps: int | None = None
    notes: str = ""
    error: str = ""
    """Why it cannot be read; the rest is empty then."""


def list_recipes() -> list[RecipeSummary]:
    """The shipped recipes, read but not checked against plugins."""
    return [_summary(name, path) for name, path in shipped_recipes().items()]


def _summary(name: str, path: Path) -> RecipeSummary:
    try:
        data = read_recipe(path).root.plain()
    except EngineError as error:
        return RecipeSummary(name, path, error=str(error))

    def named(key: str) -> str:
        block = data.get(key)
        parts = block if isinstance(block, list) else [block]
        return " + ".join(str(part.get("name", "")) for part in parts if isinstance(part, dict))

    listed = data.get("losses")
    losses = [loss for loss in listed if isinstance(loss, dict) and "name" in loss] if isinstance(listed, list) else []
    labels = tuple(numbered([str(loss.get("label") or loss["name"]) for loss in losses]))
    steps = data["steps"] if isinstance(data.get("steps"), int) else None
    notes = str(data.get("notes") or "").strip()
    return RecipeSummary(name, path, named("model"), labels, named("dataset"), named("backend") or "auto", steps, notes)
