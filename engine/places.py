"""Where shipped files, the user's cache and finished runs are."""

from __future__ import annotations

import os
from pathlib import Path


def shipped() -> Path:
    """The folder of recipes, style images and weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    packed = package / "shipped_recipes"
    return packed if packed.is_dir() else package.parent / "recipes"


def cache_folder() -> Path:
    """``ENGINE_CACHE``, else ``XDG_CACHE_HOME/styleengine``, else ``~/.cache/styleengine``; it need not be there yet."""
    if chosen := os.environ.get("ENGINE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "styleengine"


def runs() -> Path:
    """Where ``engine train`` puts its run folders: ``runs`` in the current folder."""
    return Path("runs")
