"""Styles in the files of other programs: imported, exported, and fetched where others publish them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.admission import DISABLE
from engine.ckpt import write_ckpt
from engine.contracts.backend import Backend
from engine.contracts.model import Layout, Model, PublishedStyle
from engine.downloads import download
from engine.errors import EngineError
from engine.faults import unknown
from engine.files import replacing
from engine.network import MOST_TEXT, Network
from engine.ops import Array, Shape
from engine.painting import check_size
from engine.plugins import PluginHost, is_installed, load_plugins
from engine.pth import read_remark, write_pth
from engine.published import read_arrays
from engine.style import Style, StyleInfo, is_style, judging, load_style, parse_description
from engine.weights import tell

DESCRIPTION = "styleengine"
"""Under this name an exported file carries what its own layout has no place for: a uint8 tensor, in a ``.pth`` a member."""
OWN_FORMATS = ("ckpt", "pth")
INPUT = "export_input"
"""The setting of a backend that says what an exported graph takes."""


def import_style(path: Path, host: PluginHost | None = None, *, name: str = "") -> Style:
    """A style out of a file: ours, or weights in a layout that a model recognises (``.ckpt``, ``.pth``, ``.safetensors``).

    ``name`` replaces the style's own; a file that has none gives the style its file's. An :class:`EngineError` says what is
    missing, too much, of another shape or not finite; nothing in the file is executed.
    """
    if not path.is_file():
        raise EngineError("there is no such file", where=str(path))
    with judging(path):
        style = load_style(path) if is_style(path) else _read_foreign(path, host or load_plugins())
        for key, x in style.weights.items():
            if not np.isfinite(x).all():
                raise EngineError(f"weight {key!r} holds NaN or infinity")
    return replace(style, info=style.info.model_copy(update={"name": name})) if name else style


def export_style(
    style: Style, path: Path, format: str, host: PluginHost | None = None, *, input: str = "", report: Callable[[str], None] = tell
) -> None:
    """Write a style for other programs: ``ckpt``, ``pth``, or what an installed backend exports; whole or not at all.

    ``input`` is what the exported graph takes, where the format gives a choice: ``uint8`` or ``float32`` for ``onnx``.
    The names are those of the style's model in that format where it has a layout for it, else our own; the weights, and a
    description that :func:`import_style` finds again, go with them bit for bit.
    """
    host = host or load_plugins()
    if input and format in OWN_FORMATS:
        raise _no_input(format, host)
    if format not in OWN_FORMATS:
        backend = _exporter(format, input, host)
        with replacing(path) as temporary:
            backend.export(style.network, style.weights, temporary, metadata=style.description())
        return
    arrays, description = dict(style.weights), json.dumps(style.description()).encode()
    if layout := _layout_for(style.network, format, host):
        arrays = {theirs: arrays[ours] for ours, theirs in layout.names.items()} | dict(layout.unused)
        if layout.model.network() != style.network:
            report(
                f"read by {layout.origin}, this file paints differently: there it is {layout.model!r}; imported here it is the same style"
            )
    with replacing(path) as temporary:
        if format == "ckpt":
            write_ckpt(temporary, {**arrays, DESCRIPTION: np.frombuffer(description, np.uint8)})
        else:  # a state dict of exactly its names, which a strict load asks for
            write_pth(temporary, arrays, {DESCRIPTION: description})


def export_formats(host: PluginHost) -> tuple[str, ...]:
    """What :func:`export_style` can write here."""
    classes = _backends(host)
    return (*OWN_FORMATS, *sorted({cls.exports for cls in classes if cls.exports and is_installed(cls)}))


def find_published(name: str, host: PluginHost) -> PublishedStyle:
    """The style that somebody publishes under this name for one of the models here; an :class:`EngineError` lists which there are."""
    known: dict[str, list[tuple[type[Model], PublishedStyle]]] = {}
    for cls in _models(host):  # the engine's own come first, and nobody takes a name of theirs
        for style in cls.published_styles():
            known.setdefault(style.name, []).append((cls, style))
    if name not in known:
        raise EngineError(unknown("published style", name, known))
    (cls, style), *others = known[name]
    if others and not host.owner("model", cls.name).first_party:
        who = " and ".join(host.owner("model", model.name).owner for model, _ in known[name])
        raise EngineError(f"{who} each publish a style called {name!r}", remedy=f"Name one of these plugins in {DISABLE}.")
    return style


def pull_style(published: PublishedStyle, host: PluginHost, *, report: Callable[[str], None] = tell) -> Style:
    """Download a published style, check its size and layout, and import it; an :class:`EngineError` says what to do instead."""
    name = published.name
    remedy = f"Where there is a network, run\n  curl -LO {published.address}\n  bring the file here, and run\n  "
    remedy += f"engine styles import {published.address.rsplit('/', 1)[-1]} --name {name}"
    with tempfile.TemporaryDirectory(prefix="styleengine-") as folder:
        file = Path(folder) / published.address.rsplit("/", 1)[-1]
        try:
            download(published.address, file, report)
            if file.stat().st_size != published.size:
                raise EngineError(f"the file has {file.stat().st_size} bytes, not {published.size}")
            style = import_style(file, host, name=name)
        except EngineError as error:
            problem = f"the style {name!r} could not be fetched from {published.address}: {error.problem}"
            raise EngineError(problem, remedy=remedy) from None
    notes = f"Published at {published.address}. {style.info.notes}"
    return replace(style, info=style.info.model_copy(update={"notes": notes, "licence": published.licence}))


def _read_foreign(path: Path, host: PluginHost) -> Style:
    arrays = read_arrays(path)
    texts = _description(path, arrays)
    described = parse_description(texts) if texts else None
    if described and set(arrays) == set(described[1].weight_shapes()):
        info, network = described  # under our own names
    else:
        layout = _recognise({name: x.shape for name, x in arrays.items()}, host)
        arrays = {ours: arrays[theirs] for ours, theirs in layout.names.items()}
        info, network = described or (_information(path, layout), layout.model.network())
    weights = {name: _floats(name, x) for name, x in arrays.items()}
    network.check_weights(weights)
    check_size(network, 256, 256)
    return Style(info, network, weights)


def _description(path: Path, arrays: dict[str, Array]) -> dict[str, str]:
    """The description that an exported file carries, taken out of its arrays; empty where it has none."""
    most = 8 * MOST_TEXT
    tensor = arrays.pop(DESCRIPTION, None)
    if tensor is not None:
        if tensor.dtype != np.uint8 or tensor.ndim != 1 or tensor.size > most:
            raise EngineError(f"{DESCRIPTION!r} is {tensor.dtype} {tensor.shape}", allowed=f"at most {most} uint8")
        content = tensor.tobytes()
    else:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        content = read_remark(path, DESCRIPTION, most) if is_zip else b""
    texts = json.loads(content) if content else {}
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise EngineError("the description in this file is no table of texts")
    return texts


def _recognise(shapes: Mapping[str, Shape], host: PluginHost) -> Layout:
    layouts = [layout for cls in _models(host) if (layout := cls.recognise(shapes)) is not None]
    if len(layouts) != 1:
        names = ", ".join(repr(name[:60]) for name in list(shapes)[:3]) or "none"
        who = " and ".join(layout.origin for layout in layouts)
        problem = f"these names of weights are those of {who}" if layouts else f"no model here knows these names of weights: {names}, ..."
        raise EngineError(problem, remedy="`engine plugins` lists the models that there are.")
    layouts[0].check(shapes)
    return layouts[0]


def _information(path: Path, layout: Layout) -> StyleInfo:
    return StyleInfo(name=path.stem, notes=f"Imported from {path.name}: {layout.origin}, read as {layout.model!r}.")


def _floats(name: str, x: Array) -> Array:
    if x.dtype.kind != "f":
        raise EngineError(f"weight {name!r} is {x.dtype}", allowed="float16, float32, float64")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused as such
        return np.array(x, np.float32, order="C")


def _layout_for(network: Network, format: str, host: PluginHost) -> Layout | None:
    for cls in _models(host):
        if layout := cls.layouts(network).get(format):
            return layout
    return None


def _exporter(format: str, input: str, host: PluginHost) -> Backend:
    writing = [cls for cls in _backends(host) if cls.exports == format]
    if not writing:
        raise EngineError(unknown("format", format, export_formats(host)))
    chosen = max(writing, key=lambda cls: (is_installed(cls), cls.priority))
    if input and INPUT not in chosen.model_fields:
        raise _no_input(format, host)
    return host.make_backend(chosen.name, device="cpu", precision="float32", settings={INPUT: input} if input else {})


def _no_input(format: str, host: PluginHost) -> EngineError:
    choosing = sorted({f"--format {cls.exports}" for cls in _backends(host) if cls.exports and INPUT in cls.model_fields})
    return EngineError(f"the format {format!r} gives no choice of input", where="--input", allowed=", ".join(choosing))


def _backends(host: PluginHost) -> list[type[Backend]]:
    return [host.backend_class(name) for name in host.names("backend")]


def _models(host: PluginHost) -> list[type[Model]]:
    names = sorted(host.names("model"), key=lambda name: not host.owner("model", name).first_party)
    return [host.model_class(name) for name in names]
