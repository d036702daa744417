"""The table that ``make bench`` prints: tiny, and without the peer, which has an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "benchmarks" / "side_by_side.py"
TINY = ["--size", "40x24", "--rounds", "1", "--matmul", "64", "--frames", "2", "--video-rounds", "1", "--backends", "openvino", "torch"]


def test_every_case_has_its_row_and_an_absent_peer_is_named() -> None:
    done = subprocess.run([sys.executable, SCRIPT, *TINY], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "40x24, batch 1, 1 rounds" in done.stdout.splitlines()[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line.startswith("| ")]
    alone = {tuple(row[:3]): float(row[3]) for row in rows if len(row) == 7 and row[1].isdigit()}
    assert {(name, width) for name, width, _ in alone} == {(name, width) for name in ("openvino", "torch") for width in ("16", "48")}
    assert all(milliseconds > 0 for milliseconds in alone.values())
    assert [row[0] for row in rows if len(row) == 4][2:] == ["engine infer, openvino", "engine infer, torch"]
    assert "so its rows are absent" in done.stdout
