"""Ctrl-C at any moment: between two steps, nothing left behind, and never under the hands of a thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from media import drawn, identity_style, write_clip

from engine.interrupts import stop_between_steps

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM of its own")

STORM = """
import random, signal, threading
from pathlib import Path
from engine.infer import Studio
from engine.jobs import plan
from engine.plugins import load_plugins
from engine.style import load_style

studio = Studio.open(load_style("same.safetensors"), load_plugins().make_backend("torch", device="cpu", precision="float32"))
work = plan([Path("clip.mp4")], "out.mp4", "same", overwrite=True)
list(studio.paint(work.jobs))
Path("out.mp4").unlink()
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(random.choice([signal.SIGINT, signal.SIGTERM])))
signal.signal(signal.SIGTERM, signal.default_int_handler)
random.seed(0)
interrupted = 0
for _ in range(150):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, random.choice([0.004, 0.03])))
        list(studio.paint(work.jobs))
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    assert threading.active_count() == 1, threading.enumerate()
    assert sorted(path.name for path in Path().iterdir() if path.name != "out.mp4") == ["clip.mp4", "same.safetensors"]
print(interrupted)
"""


def test_an_interrupt_at_any_moment_of_a_video_leaves_neither_thread_nor_file(tmp_path: Path) -> None:
    identity_style(tmp_path / "same.safetensors")
    write_clip(tmp_path / "clip.mp4", drawn(12, 240, 320) * 3, ticks=range(36), options={"preset": "ultrafast"})
    done = subprocess.run([sys.executable, "-c", STORM], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr  # a decoder that is freed while a thread is in it: -11
    assert int(done.stdout) > 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_asks_and_the_second_raises(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_between_steps() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does it for its background jobs
    try:
        with stop_between_steps() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_than_the_first_is_never_asked() -> None:
    found: list[bool] = []

    def elsewhere() -> None:
        with stop_between_steps() as stop:
            found.append(stop.is_set())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [False]
