"""What a video holds beside its pictures: copied bit for bit, converted or left out, and each said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import backend
from media import audio_packets, drawn, identity_style, shown

from engine.infer import Result, Studio
from engine.jobs import plan
from engine.style import load_style
from engine.tracks import _ASS

CHAPTERS = [("one", 0, 800), ("two", 800, 2000)]
TEXTS = [(200, 400, "Hello"), (1000, 500, "(birds)")]


def write(path: Path, *, sound: str = "", text: str = "", chapters: bool = False, rate: int = 48000, video: str = "libx264") -> Path:
    """Two seconds of moving colours with other tracks."""
    import av
    from av.subtitles.subtitle import SubtitleSet

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(video, rate=25, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        audio: Any = container.add_stream(sound, rate=rate, layout="stereo") if sound else None
        subtitles: Any = container.add_stream(text) if text else None
        if audio is not None:
            audio.metadata.update(language="deu", title="commentary")
        if subtitles is not None:
            subtitles.codec_context.subtitle_header, subtitles.time_base = _ASS, Fraction(1, 1000)
            subtitles.metadata["language"] = "fra"
        if chapters:
            container.metadata.update(title="A walk", comment="made for a test")
            tick = Fraction(1, 1000)
            marks: list[Any] = [
                {"id": k, "start": a, "end": b, "time_base": tick, "metadata": {"title": title}} for k, (title, a, b) in enumerate(CHAPTERS)
            ]
            container.set_chapters(marks)
        container.start_encoding()
        for k, image in enumerate(drawn(5, 48, 64) * 10):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for number, (start, length, words) in enumerate(TEXTS if subtitles is not None else ()):
            line = f"{number},0,Default,,0,0,0,,{{\\i1}}{words}{{\\i0}}".encode()
            packet = subtitles.codec_context.encode_subtitle(SubtitleSet.create(line, 0, length, start * 1000))
            packet.pts = packet.dts = start
            packet.duration, packet.time_base, packet.stream = length, Fraction(1, 1000), subtitles
            container.mux(packet)
        if audio is not None:
            form = audio.codec_context.format.name
            for at in range(0, 2 * rate - 960, 960):
                tone = np.sin(np.arange(at, at + 960) * 2 * np.pi * 440 / rate).astype(np.float32) * 0.2
                samples = np.stack([tone, tone]) if form == "fltp" else (np.repeat(tone, 2) * 32767).astype(np.int16)[None]
                piece = av.AudioFrame.from_ndarray(samples, format="fltp" if form == "fltp" else "s16", layout="stereo")
                piece.sample_rate, piece.pts, piece.time_base = rate, at, Fraction(1, rate)
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path


@pytest.fixture
def paint(tmp_path: Path) -> Any:
    style = load_style(str(identity_style(tmp_path / "same.safetensors")))
    studio = Studio.open(style, backend("torch"))

    def painted(source: Path, target: str) -> tuple[Result, Path]:
        (done,) = studio.paint(plan([source], str(tmp_path / target), "same", overwrite=True).jobs)
        assert done.error is None, done.error
        return done, tmp_path / target

    return painted


def said(path: Path) -> tuple[list[tuple[str, str, str]], dict[str, str], list[tuple[str, int, int]]]:
    """Tracks, metadata and chapters in milliseconds."""
    import av

    with av.open(str(path)) as container:
        tracks = [
            (str(one.type), one.codec_context.name if one.codec_context else "", one.metadata.get("language", "und"))
            for one in container.streams
        ]
        marks = []
        for mark in container.chapters():
            start, end = (round(time * (mark["time_base"] or 1) * 1000) for time in (mark["start"], mark["end"]))
            marks.append((mark["metadata"].get("title", ""), start, end))
        return tracks, {key.lower(): value for key, value in container.metadata.items()}, marks


def words(path: Path) -> list[tuple[int, int, bytes]]:
    """Start and length in milliseconds, and the text, of every subtitle."""
    import av
    from av.subtitles.subtitle import AssSubtitle

    found = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None:
                rects = stream.codec_context.decode2(packet)
                text = b"".join(rect.dialogue for rect in rects or () if isinstance(rect, AssSubtitle))
                if text:
                    times = (round((packet.pts or 0) * packet.time_base * 1000), round((packet.duration or 0) * packet.time_base * 1000))
                    found.append((*times, text))
    return found


def loudness(path: Path) -> tuple[float, float]:
    """Seconds of sound and how loud it is in the middle."""
    import av

    with av.open(str(path)) as container:
        pieces = [frame.to_ndarray().reshape(-1).astype(np.float64) for frame in container.decode(audio=0)]
    rate = 48000
    whole = np.concatenate(pieces) / (1 if pieces[0].max() <= 2 else 32768)
    return len(whole) / 2 / rate, float(np.sqrt((whole[len(whole) // 4 : len(whole) // 2] ** 2).mean()))


@pytest.mark.parametrize(("source", "target"), [("in.mp4", "out.mp4"), ("in.mp4", "out.mkv"), ("in.mkv", "out.mkv"), ("in.mov", "out.mp4")])
def test_sound_is_copied_bit_for_bit(source: str, target: str, tmp_path: Path, paint: Any) -> None:
    clip = write(tmp_path / source, sound="aac")
    done, out = paint(clip, target)
    assert done.notes == ()
    assert [data for _, data in audio_packets(out)] == [data for _, data in audio_packets(clip)]
    behind, before = (np.array([float(time - shown(path)[0]) for time, _ in audio_packets(path)]) for path in (out, clip))
    np.testing.assert_allclose(behind, before, atol=0.0011)  # Matroska counts in milliseconds, from the first packet of any track
    assert said(out)[0][1] == said(clip)[0][1]


@pytest.mark.parametrize(
    ("sound", "target", "made"), [("pcm_s16le", "out.mp4", "aac"), ("aac", "out.webm", "opus"), ("pcm_s16le", "out.webm", "opus")]
)
def test_sound_that_the_container_does_not_take_is_converted(sound: str, target: str, made: str, tmp_path: Path, paint: Any) -> None:
    clip = write(tmp_path / "in.mkv", sound=sound)
    done, out = paint(clip, target)
    assert any(f"takes no {sound} audio; made {made}" in note for note in done.notes), done.notes
    assert said(out)[0][1][:2] == ("audio", made)
    assert said(out)[0][1][2] == "deu"
    seconds, level = loudness(out)
    assert seconds == pytest.approx(2, abs=0.1)
    assert level == pytest.approx(0.2 / np.sqrt(2), rel=0.1)


def test_sound_at_a_rate_that_the_encoder_has_not_is_resampled(tmp_path: Path, paint: Any) -> None:
    done, out = paint(write(tmp_path / "in.mkv", sound="pcm_s16le", rate=44100), "out.webm")
    assert any("made opus" in note for note in done.notes)
    assert loudness(out)[0] == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [("subrip", "in.mkv", "out.mkv"), ("ass", "in.mkv", "out.mkv"), ("mov_text", "in.mp4", "out.mp4"), ("mov_text", "in.mp4", "out.mov")],
)
def test_subtitles_are_copied(text: str, source: str, target: str, tmp_path: Path, paint: Any) -> None:
    clip = write(tmp_path / source, text=text)
    done, out = paint(clip, target)
    assert done.notes == ()
    assert words(out) == words(clip)
    assert len(words(out)) == len(TEXTS)
    assert said(out)[0][1] == (said(clip)[0][1][0], said(clip)[0][1][1], "fra")


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [("subrip", "in.mkv", "out.mp4"), ("ass", "in.mkv", "out.mp4"), ("mov_text", "in.mp4", "out.mkv"), ("mov_text", "in.mp4", "out.webm")],
)
def test_subtitles_that_the_container_does_not_take_are_converted(text: str, source: str, target: str, tmp_path: Path, paint: Any) -> None:
    clip = write(tmp_path / source, text=text)
    done, out = paint(clip, target)
    tracks, _, _ = said(out)
    assert any(f"takes no {text}" in note.replace("srt", "subrip").replace("ssa", "ass") for note in done.notes), done.notes
    assert [(start, length) for start, length, _ in words(out)] == [(start, length) for start, length, _ in TEXTS]
    for (_, _, found), (_, _, given) in zip(words(out), TEXTS, strict=True):
        assert given.encode() in found
    assert tracks[1][0] == "subtitle"
    assert tracks[1][2] == "fra"


@pytest.mark.parametrize(("source", "target"), [("in.mp4", "out.mp4"), ("in.mkv", "out.mkv"), ("in.mkv", "out.mp4"), ("in.mp4", "out.mkv")])
def test_chapters_and_what_is_said_of_the_file_come_along(source: str, target: str, tmp_path: Path, paint: Any) -> None:
    done, out = paint(write(tmp_path / source, chapters=True), target)
    assert done.notes == ()
    _, metadata, chapters = said(out)
    assert chapters == CHAPTERS
    assert (metadata["title"], metadata["comment"]) == ("A walk", "made for a test")
