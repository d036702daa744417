"""What a pass at strength 0 leaves of a clip, as a table (``pytest -s``): streams, times, sizes, frames and colours, before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import backend
from media import drawn, identity_style, shown, write_clip

from engine import Array
from engine.controls import Controls
from engine.infer import Studio
from engine.jobs import plan
from engine.style import load_style
from engine.video_reading import VideoReader

NTSC = Fraction(30000, 1001)
CLIPS: dict[str, Callable[[Path], Path]] = {
    "sound at 29.97": lambda path: write_clip(path, drawn(6, 48, 64) * 2, rate=NTSC, seconds=0.4),
    "426x239": lambda path: write_clip(path, drawn(3, 239, 426)),
    "427x240": lambda path: write_clip(path, drawn(3, 240, 427)),
    "rotated": lambda path: write_clip(path, drawn(3, 48, 64), turn=(90, False, False)),
    "variable rate": lambda path: write_clip(path, drawn(6, 48, 64), ticks=[0, 30, 70, 75, 200, 260], time_base=Fraction(1, 1000)),
    "no sound": lambda path: write_clip(path, drawn(6, 48, 64)),
    "one frame": lambda path: write_clip(path, drawn(1, 48, 64)),
    "10 bits": lambda path: ten_bits(path),
    "bt709": lambda path: write_clip(path, drawn(3, 48, 64), matrix=1),
}
WIDTHS = (15, 22, 12, 8, 8, 8, 10)
PRINTED: list[str] = []
UNSAID = (0, 2)
"""Colour tags that say nothing; what was guessed in their place is written."""


def ten_bits(path: Path) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        stream.codec_context.colorspace, stream.codec_context.color_range = 6, 1
        for k, image in enumerate(drawn(3, 48, 64)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format="yuv420p10le", dst_colorspace="ITU601", src_color_range="JPEG", dst_color_range="MPEG")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def facts(path: Path) -> tuple[str, str, list[Fraction], tuple[int, ...], list[Array]]:
    """Streams, stored size, times, colour tags and upright frames."""
    import av

    with av.open(str(path)) as container:
        video = container.streams.video[0]
        first = next(container.decode(video=0))
        names = "+".join(stream.codec_context.name if stream.codec_context else "?" for stream in container.streams)
        tags = (first.colorspace, first.color_range, first.color_primaries, first.color_trc)
        size = f"{video.width}x{video.height}"
    with VideoReader(path) as reader:
        frames = [frame.image for frame in reader.frames()]
    return names, size, shown(path), tags, frames


@pytest.fixture(scope="module", autouse=True)
def _table() -> Iterator[None]:
    PRINTED.clear()
    yield
    print("\n" + "\n".join(PRINTED))


def line(*cells: str) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


@pytest.mark.parametrize("name", CLIPS)
def test_a_pass_at_strength_0_keeps_the_clip(name: str, tmp_path: Path) -> None:
    source, target = CLIPS[name](tmp_path / "in.mp4"), tmp_path / "out.mp4"
    style = load_style(str(identity_style(tmp_path / "same.safetensors")))
    studio = Studio.open(style, backend("torch"), controls=Controls(strength=0))
    (done,) = studio.paint(plan([source], str(target), "same", overwrite=True).jobs)
    assert done.error is None, done.error
    before, after = facts(source), facts(target)
    errors = [np.abs(a.astype(int) - b).mean() for a, b in zip(before[4], after[4], strict=True)]
    if not PRINTED:
        PRINTED.append(line("clip", "streams", "stored size", "frames", "seconds", "times", "colour error in levels"))
    for word, (names, size, times, _, frames) in (("before", before), ("after", after)):
        same = "" if word == "before" else ("same" if times == before[2] else "differ")
        colours = "" if word == "before" else f"{np.mean(errors):.2f}"
        PRINTED.append(line(name if word == "before" else "", names, size, str(len(frames)), f"{float(times[-1]):.3f}", same, colours))
    assert after[:3] == before[:3]
    assert [now for was, now in zip(before[3], after[3], strict=True) if was not in UNSAID] == [
        was for was in before[3] if was not in UNSAID
    ]
    assert len(after[4]) == len(before[4]) == done.frames
    assert np.mean(errors) < 2  # of H.264 at crf 18
    assert (name == "10 bits") == any("10 bits" in note for note in done.notes)
