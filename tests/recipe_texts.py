"""The recipe that tests of recipes start from, and the faults of what they make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import RecipeError
from engine.plugins import PluginHost
from engine.recipe import load_recipe

GOOD = """\
format: 1
model: {name: tiny, width: 6}
encoder:
  name: eye
style:
  image: pictures/a.jpg
losses:
  - name: content
    weight: 1e4
  - {name: smooth, tap: inside}
dataset:
  name: folder
  path: clips
steps: 100
"""


def faults(host: PluginHost, text: str = "", *overrides: str) -> tuple[str, ...]:
    if text:
        Path("r/x.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe("r/x.yaml", overrides, host)
    assert caught.value.exit_code == 2
    return caught.value.faults
