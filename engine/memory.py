"""How much memory a process may still take: the machine's, and what its control group is held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


def free_memory(proc: Path = PROC, groups: Path = GROUPS) -> int | None:
    """Bytes that can be had without swapping; None where the system does not tell (it is Linux that does)."""
    free = _field(proc / "meminfo", "MemAvailable:")
    rooms = [limit - used for limit, used in _limits(proc, groups)]
    if free is not None:
        rooms.append(free * 1024)
    return max(0, min(rooms)) if rooms else None


def _limits(proc: Path, groups: Path) -> Iterator[tuple[int, int]]:
    """Of this process's control group and all above it: the limit, and what is taken and could not be given up."""
    for line in _text(proc / "self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":  # version 2
            root, names = groups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root, names = groups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = root / path.lstrip("/")
        # Inside a container the path may be the host's, of which only the root is seen here.
        for place in {folder, *(parent for parent in folder.parents if parent.is_relative_to(root)), root}:
            limit, used = _text(place / names[0]).strip(), _text(place / names[1]).strip()
            if limit.isdigit() and used.isdigit():
                yield int(limit), int(used) - (_field(place / "memory.stat", names[2]) or 0)


def _field(path: Path, name: str) -> int | None:
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
