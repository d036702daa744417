"""Whether this machine has an accelerator, found out without a framework."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

NODES = ("nvidia[0-9]*", "kfd", "dxg", "davinci[0-9]*")
"""What the drivers of NVIDIA (CUDA), AMD (ROCm), Windows' Linux and Ascend put into ``/dev``."""


def has_card(devices: Path = Path("/dev")) -> bool:
    """Whether there is a card that a framework could compute on, be it the right one for it or not; False where they are hidden."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        return shutil.which("nvidia-smi") is not None
    return any(next(devices.glob(node), None) is not None for node in NODES)
