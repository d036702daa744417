"""Frames that are missing or damaged are found where they are, and none that is there is taken for missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from installed import backend
from media import drawn, identity_style, write_clip

from engine import Array
from engine.infer import Studio, VideoOptions
from engine.jobs import plan
from engine.style import load_style
from engine.video_reading import VideoReader

B_FRAMES = {"crf": "10", "bf": "3", "b-adapt": "0"}


def read(path: Path) -> tuple[list[float], list[Array], tuple[str, ...]]:
    """When each frame is shown, the frames, and what is said of the file."""
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        return [float(frame.pts * reader.info.time_base) for frame in frames], [frame.image for frame in frames], reader.notes()


def order(images: Sequence[Array], drawings: Sequence[Array]) -> list[int]:
    """Which drawing each picture is."""
    return [int(np.argmin([np.abs(image.astype(int) - drawing).mean() for drawing in drawings])) for image in images]


def test_avi_with_frames_out_of_order_is_read_in_order(tmp_path: Path) -> None:
    drawings = drawn(9, 48, 64) * 3
    times, images, notes = read(write_clip(tmp_path / "in.avi", drawings, options=B_FRAMES))
    assert notes == ()
    np.testing.assert_allclose(np.diff(times), 1 / 25)
    assert order(images, drawings[:9]) == list(range(9)) * 3


def test_a_frame_that_an_avi_lost_is_repeated(tmp_path: Path) -> None:
    import av

    whole = write_clip(tmp_path / "whole.avi", drawn(30, 48, 64), options={**B_FRAMES, "g": "10"})
    with av.open(str(whole)) as container, av.open(str(tmp_path / "in.avi"), "w") as damaged:
        stream = damaged.add_stream_from_template(container.streams.video[0])
        for number, packet in enumerate(container.demux(video=0)):
            if packet.size:
                kept = av.Packet(b"\0\0\0\1" + b"\1" * 30 if number == 15 else bytes(packet))
                kept.pts = kept.dts = packet.dts
                kept.time_base, kept.is_keyframe, kept.stream = packet.time_base, packet.is_keyframe, stream
                damaged.mux(kept)
    times, images, notes = read(tmp_path / "in.avi")
    assert len(images) == 30
    np.testing.assert_allclose(np.diff(times), 1 / 25)
    (note,) = (note for note in notes if "cannot be decoded" in note)
    assert note.startswith("1 frame of the input cannot be decoded (at 0.5")
    assert note.endswith("; it repeats the frame before it")


def test_streams_behind_each_other_double_no_frame(tmp_path: Path) -> None:
    drawings = drawn(8, 48, 64)
    one = write_clip(tmp_path / "one.ts", drawings * 2, options=B_FRAMES).read_bytes()
    two = write_clip(tmp_path / "two.ts", drawings, options=B_FRAMES).read_bytes()
    (tmp_path / "in.ts").write_bytes(one + two)
    times, images, notes = read(tmp_path / "in.ts")
    assert order(images, drawings) == list(range(8)) * 3
    assert min(np.diff(times)) > 0.03
    assert not [note for note in notes if "cannot be decoded" in note]


@pytest.mark.parametrize("strict", [False, True])
def test_what_a_transport_stream_lost_is_told_with_its_time(tmp_path: Path, strict: bool) -> None:
    clip = write_clip(tmp_path / "in.ts", drawn(50, 48, 64), options={"crf": "10", "bf": "0"})
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2 // 188 * 188
    data[middle : middle + 8 * 188] = bytes(8 * 188)
    clip.write_bytes(data)
    studio = Studio.open(
        load_style(str(identity_style(tmp_path / "same.safetensors"))), backend("torch"), options=VideoOptions(strict=strict)
    )
    (result,) = studio.paint(plan([clip], str(tmp_path / "out.mp4"), "same").jobs)
    said = str(result.error) if strict else " ".join(result.notes)
    assert "of the input" in said
    assert " at " in said or "(at " in said
    assert "damaged" in said or "cannot be decoded" in said
    assert (tmp_path / "out.mp4").exists() != strict
