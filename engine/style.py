"""A style: one self-describing ``.safetensors`` file that holds a trained network and where it came from."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from engine import places
from engine.controls import check_strength, retouch
from engine.errors import EngineError
from engine.faults import unknown
from engine.files import replacing
from engine.images import resized
from engine.layers import UnknownLayer
from engine.network import MOST_TEXT, Network
from engine.ops import Array
from engine.painting import check_size, paint_image
from engine.plugins import load_plugins
from engine.published import is_safetensors

FORMAT = 1


class StyleInfo(BaseModel):
    """What a style file says about itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    name: str
    recipe: dict[str, Any] = Field(default_factory=dict)
    """The whole recipe as it ran."""
    steps: int = 0
    seed: int = 0
    backend: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    losses: dict[str, float] = Field(default_factory=dict)
    """Raw values at the last step."""
    licence: str = ""
    notes: str = ""
    thumbnail: str = ""
    """The style image as a small JPEG, base64."""


@dataclass(frozen=True)
class Style:
    """A trained network with its description."""

    info: StyleInfo
    network: Network
    weights: Mapping[str, Array]
    """Float32, by full name; convolutions (out, in, k, k)."""

    def paint(
        self,
        image: Array,
        *,
        strength: float = 1.0,
        preserve_color: bool = False,
        mask: Array | None = None,
        backend: str = "auto",
        device: str = "auto",
        precision: str = "auto",
    ) -> Array:
        """Paint a picture; for many use ``engine infer``, which keeps the backend and overlaps reading, painting and writing.

        Args:
            image: uint8 RGB (h, w, 3), sides of 5 pixels and more.
            strength: From 0, the picture exactly, to 1, the painting exactly.
            preserve_color: Luma from the painting, chroma from the picture.
            mask: uint8 (h, w): painted where it is 255, the picture where it is 0.
            backend: A backend's name; auto is the fastest that is installed.
            device: auto, cpu, gpu[:n] or ascend[:n].
            precision: auto, float32, bfloat16 or float16.

        Returns:
            uint8 RGB (h, w, 3), a new array.

        Raises:
            EngineError: An argument is not as it should be, or the backend cannot run.
        """
        check_strength(strength)
        if mask is not None and (mask.shape != image.shape[:2] or mask.dtype != np.uint8):
            raise EngineError(f"the mask is {mask.dtype} {mask.shape}", allowed=f"uint8 {image.shape[:2]}")
        chosen = load_plugins().make_backend(backend, device=device, precision=precision)
        painted = paint_image(chosen, self.network, self.weights, image)
        mixed = retouch(image, painted, strength=strength, preserve_color=preserve_color, mask=mask)
        return mixed.copy() if mixed is image else mixed

    def description(self) -> dict[str, str]:
        """The network and what the style says about itself, as texts that a file carries beside the weights."""
        return {"styleengine": self.info.model_dump_json(), "network": self.network.to_json()}

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        with replacing(path) as temporary:
            save_file({key: np.ascontiguousarray(x) for key, x in self.weights.items()}, temporary, metadata=self.description())


def load_style(style: str | Path) -> Style:
    """Read a style by name or path; an :class:`EngineError` for whatever is not a whole style of this format."""
    path = find_style(style) if isinstance(style, str) else _style_in(style)
    with _opened(path) as file:
        info, network = _described(file, path)
        weights = {key: file.get_tensor(key).astype(np.float32) for key in file.keys()}  # noqa: SIM118 - it is no dict
    return Style(info, network, weights)


def read_style(path: str | Path) -> tuple[StyleInfo, Network]:
    """What a style says about itself, and its network, without reading the weights; errors as in :func:`load_style`."""
    with _opened(path) as file:
        return _described(file, path)


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except FileNotFoundError:
        raise EngineError("there is no such file", where=str(path), remedy="`engine styles` lists the styles there are.") from None
    except (OSError, SafetensorError) as error:
        raise EngineError(f"this is no whole safetensors file ({error})", where=str(path)) from None


def is_style(path: Path) -> bool:
    """Whether a file is one of ours, whole or not: a safetensors file whose metadata describe a network."""
    with path.open("rb") as file:
        start, size = file.read(9), path.stat().st_size
    if not is_safetensors(start, size):
        return False
    with _opened(path) as file:
        return "network" in (file.metadata() or {})


def _described(file: Any, path: str | Path) -> tuple[StyleInfo, Network]:
    with judging(path):
        info, network = parse_description(file.metadata() or {})
        header = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
        if odd := [key for key, x in header.items() if x.get_dtype() not in ("F32", "F16")]:
            raise EngineError(f"weight {odd[0]!r} is {header[odd[0]].get_dtype()}", allowed="F32, F16")
        network.check_shapes({key: tuple(x.get_shape()) for key, x in header.items()})
    return info, network


def parse_description(metadata: Mapping[str, str]) -> tuple[StyleInfo, Network]:
    """What a stranger's file says, once it is known to describe a network that paints; to be called under :func:`judging`."""
    if "styleengine" not in metadata or "network" not in metadata:
        raise EngineError("this safetensors file is no style: its metadata describes no network")
    info, network = _info(metadata["styleengine"]), _network(metadata["network"])
    check_size(network, 256, 256)
    return info, network


@contextmanager
def judging(path: str | Path) -> Iterator[None]:
    """Whatever a stranger's description provokes becomes an :class:`EngineError` that names the file."""
    try:
        yield
    except EngineError as error:
        raise EngineError(error.problem, where=str(path), allowed=error.allowed, remedy=error.remedy) from None
    except OSError as error:
        raise EngineError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise EngineError(f"the description in this style is damaged ({error})", where=str(path)) from None


def _info(text: str) -> StyleInfo:
    if len(text) > MOST_TEXT:
        raise EngineError(f"the description in this style has {len(text)} characters", allowed=f"at most {MOST_TEXT}")
    raw = json.loads(text)
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != FORMAT:
        raise EngineError(f"this style has format {found!r}", allowed=str(FORMAT), remedy="Install a newer styleengine.")
    info = StyleInfo.model_validate(raw)
    info.model_dump_json()  # what is nested too deep to be said again is damaged
    return info


def _network(text: str) -> Network:
    try:
        return Network.from_json(text)
    except UnknownLayer:
        load_plugins()  # their layers count once they are imported
        return Network.from_json(text)


def thumbnail(image: Array, side: int = 128) -> str:
    """A picture, uint8 RGB (h, w, 3), as a small JPEG in base64."""
    import cv2

    small = cv2.cvtColor(resized(image, side), cv2.COLOR_RGB2BGR)
    return base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()).decode()


def all_style_files() -> list[tuple[str, Path]]:
    """Every style there is with the name of its file: shipped ones first, then the cache, then ./runs."""
    kept = [
        *sorted((places.shipped() / "weights").glob("*.safetensors")),
        *sorted((places.cache_folder() / "styles").glob("*.safetensors")),
    ]
    trained = sorted(places.runs().glob("*/style.safetensors"))
    return [*((path.stem, path) for path in kept), *((path.parent.name, path) for path in trained)]


def style_files() -> dict[str, Path]:
    """Every style that ``--style NAME`` finds: of several of one name the first in :func:`all_style_files`."""
    found: dict[str, Path] = {}
    for name, path in all_style_files():
        found.setdefault(name, path)
    return found


def find_style(name: str) -> Path:
    """The file of a style given by its file's name, by path (also of its run folder), or by the name that it gives itself."""
    files = style_files()
    if name in files:
        return files[name]
    if Path(name).exists():
        return _style_in(Path(name))
    own = styles_called(name)
    if len(own) == 1:
        return own[0]
    if own:
        remedy = "Give the path of one of them."
        raise EngineError(f"{len(own)} styles are called {name!r}: {', '.join(map(str, own))}", remedy=remedy)
    if Path(name).suffix:
        return Path(name)
    remedy = "Give the path of a .safetensors file, or train one: engine train reconet_candy"
    raise EngineError(unknown("style", name, files), remedy=remedy)


def styles_called(name: str) -> list[Path]:
    """Every style that gives itself this name, whatever its file is called."""
    return [path for _, path in all_style_files() if _own_name(path) == name]


def _style_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    if not (path / "style.safetensors").is_file():
        raise EngineError("this folder holds no style.safetensors", where=str(path), remedy="`engine styles` lists the styles there are.")
    return path / "style.safetensors"


def _own_name(path: Path) -> str | None:
    try:
        return read_style(path)[0].name
    except EngineError:  # a damaged file has no name, and must not keep others from being found
        return None
