"""Covers, fonts, second videos, sound that was cut away, clocks that begin anew: kept, or left out and said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import audio_packets, drawn, shown, write_clip

from engine.images import Picture, encode_picture
from engine.video_reading import VideoReader
from engine.video_writing import writing_video

FONT = b"\0\1\0\0" + bytes(500)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "in.mp4", drawn(5, 48, 64), seconds=0.2)


def copied(source: Path, target: Path) -> tuple[str, ...]:
    """Write its frames and tracks anew; the notes."""
    with VideoReader(source) as reader, writing_video(target, reader.info, sound=source) as writer:
        for frame in reader.frames():
            writer.write(frame)
    return writer.notes


def with_more(source: Path, target: Path, add: Callable[[Any], Sequence[Any]]) -> Path:
    """The file with what ``add`` puts into the new container; it returns packets."""
    import av

    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        more = add(new)
        new.start_encoding()
        for packet in more:
            new.mux(packet)
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return target


def picture_stream(container: Any, *, is_cover: bool) -> list[Any]:
    import av
    from av.stream import Disposition

    stream = container.add_mux_stream("mjpeg", width=32, height=32)
    stream.time_base = Fraction(1, 90000)
    if is_cover:
        stream.disposition = Disposition.attached_pic
    packet = av.Packet(encode_picture(".jpg", Picture(drawn(1, 32, 32)[0]), "-")[0])
    packet.pts = packet.dts = 0
    packet.time_base, packet.is_keyframe, packet.stream = stream.time_base, True, stream
    return [packet]


def cover_of(path: Path) -> bytes:
    import av
    from av.stream import Disposition

    with av.open(str(path)) as container:
        covers = [stream for stream in container.streams.video if stream.disposition & Disposition.attached_pic]
        return b"".join(bytes(packet) for packet in container.demux(covers)) if covers else b""


def test_fonts_stay_where_they_can_and_spoil_nothing_elsewhere(tmp_path: Path, clip: Path) -> None:
    import av

    def attach(container: Any) -> Sequence[Any]:
        container.add_attachment("a.ttf", "application/x-truetype-font", FONT)
        return ()

    source = with_more(clip, tmp_path / "in.mkv", attach)
    assert copied(source, tmp_path / "out.mkv") == ()
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.metadata["filename"] for stream in container.streams if stream.type == "attachment"] == ["a.ttf"]
    assert copied(source, tmp_path / "out.mp4") == ("mp4 takes no attachments; left out",)  # was an error once all was painted
    assert "webm takes no attachments; left out" in copied(source, tmp_path / "out.webm")
    assert len(audio_packets(tmp_path / "out.mp4")) == len(audio_packets(clip))


def test_a_cover_stays_a_cover(tmp_path: Path, clip: Path) -> None:
    source = with_more(clip, tmp_path / "in.mp4", lambda container: picture_stream(container, is_cover=True))
    cover = cover_of(source)
    assert cover
    for before, after in (("in.mp4", "one.mp4"), ("one.mp4", "two.mkv"), ("two.mkv", "three.mp4")):
        assert copied(tmp_path / before, tmp_path / after) == ()
        assert cover_of(tmp_path / after) == cover
    assert copied(source, tmp_path / "out.mov") == ("mov takes no mjpeg cover; left out",)
    assert "webm takes no mjpeg cover; left out" in copied(source, tmp_path / "out.webm")


def test_a_second_video_is_said_to_be_left_out(tmp_path: Path, clip: Path) -> None:
    source = with_more(clip, tmp_path / "in.mkv", lambda container: picture_stream(container, is_cover=False))
    assert copied(source, tmp_path / "out.mp4") == ("only the first video was painted; others were left out",)


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv", "out.webm"])
def test_streams_behind_each_other_keep_their_sound(target: str, tmp_path: Path) -> None:
    one = write_clip(tmp_path / "one.ts", drawn(50, 48, 64), seconds=2)
    two = write_clip(tmp_path / "two.ts", drawn(25, 48, 64), seconds=1)
    (tmp_path / "in.ts").write_bytes(one.read_bytes() + two.read_bytes())
    assert "the clock of the audio begins anew on the way; it was made to go on" in copied(tmp_path / "in.ts", tmp_path / target)
    times = [float(time) for time, _ in audio_packets(tmp_path / target)]
    assert max(np.diff(times)) < 0.1
    assert times[-1] == pytest.approx(3, abs=0.1)
    assert float(shown(tmp_path / target)[74]) == pytest.approx(3, abs=0.1)


def test_sound_that_was_cut_away_does_not_come_back(tmp_path: Path) -> None:
    import av

    source = tmp_path / "in.mp4"
    with av.open(str(write_clip(tmp_path / "whole.mp4", drawn(10, 48, 64), seconds=0.9))) as old, av.open(str(source), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.size:
                early = round(Fraction(1, 2) / packet.time_base) if packet.stream.type == "audio" else 0
                packet.dts, packet.pts = packet.dts - early, packet.pts - early
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    copied(source, tmp_path / "out.mkv")
    assert float(shown(tmp_path / "out.mkv")[0]) < 0.11  # was 0.52, with the sound from before the cut
    copied(source, tmp_path / "out.mp4")
    assert [data for _, data in audio_packets(tmp_path / "out.mp4")] == [data for _, data in audio_packets(source)]
    assert shown(tmp_path / "out.mp4")[0] == 0
