"""Videos and pictures: what goes in comes out, with its clock, its colours, its sound and the right way up."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import audio_packets, drawn, real_clip, shown, write_clip

from engine import Array, EngineError
from engine.images import Picture, read_picture, write_picture
from engine.video import colour_of
from engine.video_reading import VideoReader
from engine.video_writing import VideoWriter, writing_video

NTSC = Fraction(30000, 1001)


def copied(source: Path, target: Path) -> tuple[list[Array], VideoReader, VideoWriter]:
    with VideoReader(source) as reader:
        images = []
        with writing_video(target, reader.info, sound=source) as writer:
            for frame in reader.frames():
                images.append(frame.image)
                writer.write(frame)
        return images, reader, writer


def read(path: Path) -> list[Array]:
    with VideoReader(path) as reader:
        return [frame.image for frame in reader.frames()]


def difference(one: Array, two: Array) -> float:
    return float(np.abs(one.astype(int) - two).mean())


@pytest.mark.parametrize(("width", "height"), [(426, 239), (427, 240), (64, 48)])
def test_size_clock_and_sound_stay(tmp_path: Path, width: int, height: int) -> None:
    source = write_clip(tmp_path / "in.mp4", drawn(12, height, width), rate=NTSC, seconds=0.5)
    images, reader, writer = copied(source, tmp_path / "out.mp4")
    again = read(tmp_path / "out.mp4")
    assert len(images) == writer.written == len(again) == 12
    assert {image.shape for image in again} == {(height, width, 3)}
    assert shown(tmp_path / "out.mp4")[:12] == shown(source)[:12]
    assert abs(shown(tmp_path / "out.mp4")[12] - 12 / NTSC) < Fraction(1, 10000)
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(source)
    assert max(difference(a, b) for a, b in zip(images, again, strict=True)) < 3
    assert reader.notes() == ()
    assert [note for note in writer.notes if "odd" in note] == list(writer.notes)
    assert bool(writer.notes) == bool(width % 2 or height % 2)


@pytest.mark.parametrize("count", [1, 2])
def test_one_frame_and_no_sound(tmp_path: Path, count: int) -> None:
    source = write_clip(tmp_path / "in.mp4", drawn(count, 32, 48))
    copied(source, tmp_path / "out.mp4")
    assert shown(tmp_path / "out.mp4") == shown(source)
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert reader.info.frames == count


def test_variable_rate_keeps_every_timestamp_and_duration(tmp_path: Path) -> None:
    ticks = [0, 33, 100, 101, 180, 400, 433, 900, 902]
    source = write_clip(tmp_path / "in.mp4", drawn(9, 48, 64), ticks=ticks, time_base=Fraction(1, 1000))
    copied(source, tmp_path / "out.mp4")
    assert shown(source)[:9] == [Fraction(tick, 1000) for tick in ticks]
    assert shown(tmp_path / "out.mp4") == shown(source)
    copied(source, tmp_path / "out.mkv")  # whose clock counts milliseconds
    assert shown(tmp_path / "out.mkv")[:9] == shown(source)[:9]


@pytest.mark.parametrize(("matrix", "full"), [(1, False), (6, False), (1, True)])
def test_colours_survive_and_are_tagged(tmp_path: Path, matrix: int, full: bool) -> None:
    import av

    patches = np.kron(np.array([[[230, 30, 30], [30, 200, 30]], [[30, 30, 220], [220, 220, 40]]], np.uint8), np.ones((32, 32, 1), np.uint8))
    source = write_clip(tmp_path / "in.mp4", [patches] * 3, matrix=matrix, full=full)
    images, reader, _ = copied(source, tmp_path / "out.mp4")
    assert (reader.info.colour.matrix, reader.info.colour.full) == (matrix, full)
    inner = np.s_[4:28, 4:28]  # away from the edges, whose colour is shared by four pixels
    assert difference(images[0][inner], patches[inner]) < 3
    assert difference(read(tmp_path / "out.mp4")[0][inner], patches[inner]) < 4
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (matrix, 2 if full else 1)


@pytest.mark.parametrize(("height", "matrix"), [(480, 6), (719, 6), (720, 1), (2160, 1)])
def test_an_untagged_video_goes_by_its_lines(height: int, matrix: int) -> None:
    assert colour_of(2, False, 2, 2, height).matrix == matrix
    assert colour_of(9, False, 9, 16, height).matrix == 9


@pytest.mark.parametrize("turn", [(90, False, False), (180, False, False), (-90, False, False), (0, True, False), (90, True, False)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_turned_video_is_painted_upright_and_turned_back(suffix: str, tmp_path: Path, turn: tuple[int, bool, bool]) -> None:
    frames = drawn(2, 48, 64)
    source = write_clip(tmp_path / "in.mp4", frames, turn=turn)
    degrees, mirrored, _ = turn
    upright = np.rot90(frames[0], degrees // 90)
    # FFmpeg flips after it has turned, in the stored picture's own axes.
    candidates = [upright] if not mirrored else [upright[:, ::-1], upright[::-1]]
    images, _, _ = copied(source, tmp_path / f"out{suffix}")
    assert min(difference(images[0], candidate) for candidate in candidates if candidate.shape == images[0].shape) < 3
    again = read(tmp_path / f"out{suffix}")[0]
    assert again.shape == images[0].shape
    assert difference(again, images[0]) < 2
    assert stored(tmp_path / f"out{suffix}") == stored(source)


def stored(path: Path) -> tuple[int, int, list[int]]:
    """Width, height and display matrix, as the file has them."""
    import av

    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        sides: Any = frame.side_data
        (matrix,) = (bytes(data) for data in sides if data.type.name == "DISPLAYMATRIX")
        return frame.width, frame.height, list(np.frombuffer(matrix[:36], "=i4"))


def test_a_transport_stream_starts_at_zero_with_sound_in_step(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.ts", drawn(10, 48, 64), seconds=0.4, ticks=range(50, 60))
    copied(source, tmp_path / "out.mp4")
    before, after = shown(source)[:10], shown(tmp_path / "out.mp4")[:10]
    assert before[0] > 1
    assert 0 <= after[0] < Fraction(1, 10)
    assert [time - after[0] for time in after] == [time - before[0] for time in before]
    lag = audio_packets(source)[0][0] - before[0]
    assert abs(audio_packets(tmp_path / "out.mp4")[0][0] - after[0] - lag) < Fraction(1, 1000)


def test_sound_that_the_container_does_not_take_is_reported(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.avi", drawn(5, 48, 64), seconds=0.2, sound="pcm_mulaw")
    _, _, writer = copied(source, tmp_path / "out.mp4")
    assert writer.notes == ("mp4 takes no pcm_mulaw audio; made aac",)
    assert len(read(tmp_path / "out.mp4")) == 5
    _, _, writer = copied(source, tmp_path / "out.mov")
    assert writer.notes == ()
    assert b"".join(data for _, data in audio_packets(tmp_path / "out.mov")) == b"".join(data for _, data in audio_packets(source))


def test_a_file_that_ends_early_is_painted_as_far_as_it_goes_and_said(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", drawn(30, 120, 160), options={"crf": "10", "bf": "0"}, container={"movflags": "+faststart"})
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 2 // 3])
    images, reader, writer = copied(source, tmp_path / "out.mp4")
    assert 0 < len(images) == writer.written == len(read(tmp_path / "out.mp4")) < 30
    assert "the input ends early" in reader.notes()


def test_a_file_whose_end_was_cut_away_is_whole(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", drawn(30, 48, 64), options={"crf": "10", "g": "10"})
    data = bytearray(source.read_bytes())
    at = data.index(b"elst") + 12  # the first edit's duration, in thousandths of a second
    assert int.from_bytes(data[at : at + 4], "big") == 1200
    data[at : at + 4] = (600).to_bytes(4, "big")
    source.write_bytes(data)
    images, reader, _ = copied(source, tmp_path / "out.mp4")
    assert len(images) == 15
    assert reader.notes() == ()  # was: the input ends early


def test_empty_chunks_of_an_avi_are_no_early_end(tmp_path: Path) -> None:
    ticks = [*range(10), *range(13, 20)]
    source = write_clip(tmp_path / "in.avi", drawn(17, 120, 160), codec="mpeg4", options={}, ticks=ticks)
    images, reader, _ = copied(source, tmp_path / "out.mp4")
    assert len(images) == 17
    assert reader.notes() == ()  # was: the input ends early
    assert [round(25 * time) for time in shown(tmp_path / "out.mp4")[:17]] == ticks
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    _, reader, _ = copied(source, tmp_path / "out.mp4")
    assert "the input ends early" in reader.notes()


def test_a_size_that_changes_on_the_way_is_made_that_of_the_first(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "small.ts", drawn(5, 48, 64)).read_bytes()
    large = write_clip(tmp_path / "large.ts", [image.repeat(2, 0).repeat(2, 1) for image in drawn(5, 48, 64)]).read_bytes()
    (tmp_path / "in.ts").write_bytes(small + large)
    images, reader, writer = copied(tmp_path / "in.ts", tmp_path / "out.mp4")
    assert len(images) == writer.written == 10
    assert max(difference(image, again) for image, again in zip(images[:5], images[5:], strict=True)) < 3
    assert "5 frames of the input have another size; they were resized to that of the first" in reader.notes()


@pytest.mark.parametrize(("lost", "shown_instead"), [((7, 8), 6), ((0, 1), 2), ((28, 29), 27)])
def test_lost_frames_repeat_another_and_are_counted(lost: tuple[int, int], shown_instead: int, tmp_path: Path) -> None:
    import av

    whole = write_clip(tmp_path / "whole.mkv", drawn(30, 120, 160), codec="mpeg4", options={"g": "1"})
    source = tmp_path / "in.mkv"
    with av.open(str(whole)) as container, av.open(str(source), "w") as damaged:
        stream = damaged.add_stream_from_template(container.streams.video[0])
        for i, packet in enumerate(container.demux(video=0)):
            if packet.size:
                kept = av.Packet(b"\0" * 20 if i in lost else bytes(packet))
                kept.pts, kept.dts, kept.time_base, kept.is_keyframe = packet.pts, packet.dts, packet.time_base, True
                kept.stream = stream
                damaged.mux(kept)
    images, reader, writer = copied(source, tmp_path / "out.mp4")
    assert len(images) == writer.written == 30
    when = f"the first at {lost[0] / 25:.2f} s"
    assert f"2 frames of the input cannot be decoded ({when}); each repeats the frame before it" in reader.notes()
    assert shown(tmp_path / "out.mp4")[:30] == shown(whole)[:30]
    for i in lost:
        np.testing.assert_array_equal(images[i], images[shown_instead])


def test_an_error_or_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", drawn(5, 48, 64), seconds=0.2)
    (tmp_path / "out.mp4").write_bytes(b"was here before")

    def fail(error: type[BaseException]) -> None:
        with VideoReader(source) as reader, writing_video(tmp_path / "out.mp4", reader.info, sound=source) as writer:
            writer.write(next(reader.frames()))
            raise error

    for error in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(error):
            fail(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"was here before"


@pytest.mark.parametrize("name", ["text.mp4", "text.txt", "empty.mp4", "missing.mp4", "sound.mp4", "cut.mp4"])
def test_what_is_no_video_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("text"):
        path.write_text("this is not a video\n" * 50)
    elif name == "empty.mp4":
        path.write_bytes(b"")
    elif name == "sound.mp4":
        only_sound(path)
    elif name == "cut.mp4":
        write_clip(path, drawn(5, 48, 64))
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(EngineError, match=name) as caught:
        VideoReader(path)
    assert caught.value.exit_code == 2


def only_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_an_unknown_suffix_names_the_allowed_ones(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", drawn(1, 32, 32))
    with VideoReader(source) as reader, pytest.raises(EngineError, match=r"'\.gif'.*\.mp4, \.m4v, \.mov, \.mkv"):
        writing_video(tmp_path / "out.gif", reader.info).__enter__()


def test_interlaced_video_is_said(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", drawn(3, 48, 64), options={"crf": "10", "x264-params": "tff=1"})
    with VideoReader(source) as reader:
        assert len(list(reader.frames())) == 3
        assert reader.notes() == ("the input is interlaced; its frames are painted as they are",)


@pytest.mark.parametrize("alpha", [255, 90])
def test_transparency_is_said_to_be_dropped(tmp_path: Path, alpha: int) -> None:
    import av

    with av.open(str(tmp_path / "in.mov"), "w") as container:
        stream: Any = container.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "argb"
        for image in drawn(2, 48, 64):
            rgba = np.dstack([image, np.full((48, 64), alpha, np.uint8)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba")))
        container.mux(stream.encode(None))
    with VideoReader(tmp_path / "in.mov") as reader:
        assert len(list(reader.frames())) == 2
        assert reader.notes() == (("its transparency was dropped",) if alpha < 255 else ())


@pytest.mark.parametrize("name", ["bikes.mp4", "carphone_pristine.mp4"])
def test_a_real_clip_keeps_its_frames(tmp_path: Path, name: str) -> None:
    source = real_clip(name)
    images, reader, writer = copied(source, tmp_path / "out.mp4")
    assert writer.written == len(images) == reader.info.frames
    assert shown(tmp_path / "out.mp4") == shown(source)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg", ".webp"])
def test_a_picture_file_round_trips(tmp_path: Path, suffix: str) -> None:
    (image,) = drawn(1, 37, 51)
    assert write_picture(tmp_path / f"x{suffix}", Picture(image)) == ()
    back = read_picture(tmp_path / f"x{suffix}")
    assert back.alpha is None
    assert difference(back.rgb, image) < (3 if suffix in (".jpg", ".webp") else 1e-9)


def test_alpha_is_kept_or_said_to_be_dropped(tmp_path: Path) -> None:
    (image,) = drawn(1, 20, 30)
    alpha = np.tile(np.linspace(0, 255, 30).astype(np.uint8), (20, 1))
    assert write_picture(tmp_path / "x.png", Picture(image, alpha)) == ()
    back = read_picture(tmp_path / "x.png")
    assert back.alpha is not None
    np.testing.assert_array_equal(back.alpha, alpha)
    np.testing.assert_array_equal(back.rgb, image)
    assert "transparency" in write_picture(tmp_path / "x.jpg", Picture(image, alpha))[0]


def exif(orientation: int) -> bytes:
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + b"\0\0\0\0"
    return b"Exif\0\0" + tiff


@given(orientation=st.integers(1, 8))
@settings(max_examples=8)
def test_the_exif_orientation_is_applied(tmp_path_factory: pytest.TempPathFactory, orientation: int) -> None:
    path = tmp_path_factory.mktemp("exif") / "x.jpg"
    (image,) = drawn(1, 32, 48)
    write_picture(path, Picture(image))
    data = path.read_bytes()
    segment = exif(orientation)
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:])
    upright = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.transpose(1, 0, 2),
        6: np.rot90(image, -1),
        7: image[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(image),
    }[orientation]
    assert difference(read_picture(path).rgb, upright) < 3


def test_alpha_is_turned_with_the_colours(tmp_path: Path) -> None:
    import zlib

    (image,) = drawn(1, 20, 30)
    alpha = np.tile(np.linspace(0, 255, 30).astype(np.uint8), (20, 1))
    write_picture(tmp_path / "x.png", Picture(image, alpha))
    data = (tmp_path / "x.png").read_bytes()
    chunk = b"eXIf" + exif(6)[6:]
    chunk = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "x.png").write_bytes(data[:33] + chunk + data[33:])
    back = read_picture(tmp_path / "x.png")
    np.testing.assert_array_equal(back.rgb, np.rot90(image, -1))
    assert back.alpha is not None
    np.testing.assert_array_equal(back.alpha, np.rot90(alpha, -1))


def test_sixteen_bits_become_eight_and_grey_becomes_rgb(tmp_path: Path) -> None:
    import cv2

    ramp = np.tile(np.arange(0, 65536, 256, dtype=np.uint16), (8, 1))
    cv2.imwrite(str(tmp_path / "x.png"), ramp)
    picture = read_picture(tmp_path / "x.png")
    assert picture.rgb.shape == (8, 256, 3)
    np.testing.assert_array_equal(picture.rgb[..., 0], np.rint(ramp / 257).astype(np.uint8))
    assert picture.notes == ("16 bits a channel became 8",)


@pytest.mark.parametrize("name", ["cut.png", "text.png", "empty.jpg", "missing.jpg", "float.tif"])
def test_what_is_no_picture_is_refused(tmp_path: Path, name: str) -> None:
    import cv2

    path = tmp_path / name
    if name == "cut.png":
        write_picture(path, Picture(drawn(1, 64, 64)[0]))
        path.write_bytes(path.read_bytes()[:300])
    elif name == "float.tif":
        cv2.imwrite(str(path), np.zeros((8, 8, 3), np.float32))
    elif name != "missing.jpg":
        path.write_text("words" if name == "text.png" else "")
    with pytest.raises(EngineError, match=name):
        read_picture(path)
