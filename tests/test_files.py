"""Files are written whole or not at all: on a full disk, on an error, and with the permissions of any new file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from media import IDENTITY_WEIGHTS, drawn, identity_network, identity_style, write_clip

from engine import EngineError, RunError
from engine.files import replacing
from engine.images import Picture, write_picture
from engine.style import Style, StyleInfo

LIMITED = """
import resource, sys
from engine.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
main()
"""


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path) as temporary:
        temporary.write_text(None)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.txt", "old")]


def test_a_failed_write_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"x\.txt: cannot write this file: No space left on device"), replacing(tmp_path / "x.txt"):
        Path("/dev/full").write_bytes(bytes(10))
    assert not list(tmp_path.iterdir())


def test_no_folder_is_what_the_user_gave_wrong(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot write here: No such file or directory") as caught, replacing(tmp_path / "no/x.txt"):
        pass
    assert caught.value.exit_code == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        Style(StyleInfo(name="x"), identity_network(), IDENTITY_WEIGHTS).save(tmp_path / "x.safetensors")
        write_picture(tmp_path / "x.png", Picture(np.zeros((8, 8, 3), np.uint8)))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_full_disk_fails_one_file_and_the_rest_goes_on(tmp_path: Path) -> None:
    """The kernel's own limit on a file's size stands for the full disk: writing fails in the middle, wherever the code is."""
    rng = np.random.default_rng(0)
    identity_style(tmp_path / "same.safetensors")
    noise = [rng.integers(0, 256, (96, 96, 3), np.uint8) for _ in range(12)]
    write_picture(tmp_path / "big.png", Picture(noise[0]))
    write_clip(tmp_path / "big.mp4", noise)
    write_clip(tmp_path / "small.mp4", drawn(2, 32, 32))
    write_picture(tmp_path / "small.png", Picture(drawn(1, 16, 16)[0]))
    inputs = ["big.png", "big.mp4", "small.mp4", "small.png"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(limit=20_000), "infer", *inputs, "-o", "new", "--style", "same.safetensors", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    said = json.loads(done.stdout)
    assert [item["input"] for item in said["failed"]] == ["big.png", "big.mp4"]
    assert all("File too large" in item["error"] and "new/big" in item["error"] for item in said["failed"])
    assert [item["input"] for item in said["outputs"]] == ["small.mp4", "small.png"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["small.mp4", "small.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_full_disk_fails_a_style_with_a_clear_message(tmp_path: Path) -> None:
    code = """
import resource
from pathlib import Path
from media import IDENTITY_WEIGHTS, identity_network
from engine import RunError
from engine.style import Style, StyleInfo
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    Style(StyleInfo(name="x", notes="long " * 500), identity_network(), IDENTITY_WEIGHTS).save(Path("x.safetensors"))
except RunError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("x.safetensors: cannot write this file: "), done.stderr
    assert not list(tmp_path.iterdir())
