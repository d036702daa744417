"""Write a file whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from engine.errors import EngineError, RunError


def check_writable(path: Path) -> None:
    """An :class:`EngineError` where no file can be made beside ``path``: said before hours of work rather than after."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}."):
            pass
    except OSError as error:
        raise EngineError(f"cannot write here: {error.strerror}", where=str(path)) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, with its suffix; synced and renamed at the end, removed on any error.

    Raises:
        EngineError: No file can be made there.
        RunError: Writing failed, on a full disk for one; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        mode = os.fstat(handle).st_mode  # of any new file under the user's umask
        os.close(handle)
    except OSError as error:
        raise EngineError(f"cannot write here: {error.strerror}", where=str(path)) from None
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(stat.S_IMODE(mode))  # safetensors puts a file of its own there, for the user alone
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RunError(f"cannot write this file: {reason}", where=str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
