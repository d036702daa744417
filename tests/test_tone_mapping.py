"""HDR to SDR: the published curves at known points, greys that stay grey, and a real HDR file on its way through the reader."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media import drawn

from engine import Array
from engine.tone_mapping import HLG, PQ, WHITE, ToneMap, hlg_to_scene, light_to_pq, mastering_peak, pq_to_light
from engine.video_reading import VideoReader
from engine.video_writing import writing_video


def test_the_curves_at_the_points_that_their_standards_name() -> None:
    # SMPTE ST 2084; BT.2408 gives 58 % of PQ and 75 % of HLG for 203 cd/m2.
    np.testing.assert_allclose(pq_to_light(np.array([0, 0.5081, 0.5807, 0.7518, 1])), [0, 100, 203, 1000, 10_000], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(light_to_pq(np.array([100.0, 10_000])), [0.5081, 1], atol=1e-4)
    np.testing.assert_allclose(hlg_to_scene(np.array([0, 0.5, 1])), [0, 1 / 12, 1], atol=1e-6)
    assert 1000 * hlg_to_scene(np.array(0.75)) ** 1.2 == pytest.approx(203, abs=1)


@given(st.floats(0, 1))
def test_pq_there_and_back(signal: float) -> None:
    assert light_to_pq(pq_to_light(np.array(signal))) == pytest.approx(signal, abs=1e-6)


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("peak", [300.0, 1000.0, 4000.0])
def test_greys_stay_grey_and_in_order_from_black_to_white(transfer: int, peak: float) -> None:
    codes = np.linspace(0, 65535, 700).round().astype(np.uint16)
    mapped = ToneMap(transfer, peak)(np.repeat(codes[None, :, None], 3, axis=2))[0].astype(int)
    assert np.abs(mapped - mapped[:, :1]).max() <= 1
    assert (np.diff(mapped[:, 0]) >= 0).all()
    assert (mapped[0] == 0).all()
    assert (mapped[-1] == 255).all()


@pytest.mark.parametrize(("light", "level"), [(1.0, 28), (10.0, 73), (50.0, 142)])
def test_below_the_knee_light_is_kept(light: float, level: int) -> None:
    """Levels by hand: 255 (light / 203)^(1 / 2.4)."""
    code = np.full((1, 1, 3), round(float(light_to_pq(np.array(light))) * 65535), np.uint16)
    assert np.abs(ToneMap(PQ)(code).astype(int) - level).max() <= 1


def test_highlights_are_bent_and_not_cut() -> None:
    mapped = ToneMap(PQ).mapped(np.array([100.0, 400, 700, 1000]))
    assert mapped[-1] == pytest.approx(WHITE, rel=1e-3)
    assert (np.diff(mapped) > 0.5).all()


@pytest.mark.parametrize("light", [600.0, 3000.0])  # 1,000 is the peak
def test_a_colour_keeps_its_hue(light: float) -> None:
    code = (light_to_pq(np.array([light, light / 3, light / 6])) * 65535).round().astype(np.uint16)
    rgb = ToneMap(PQ, wide=False)(code[None, None])[0, 0] / 255
    shown = rgb**2.4
    assert shown[0] / shown[1] == pytest.approx(3, rel=0.05)
    assert shown[0] / shown[2] == pytest.approx(6, rel=0.08)


def test_the_masters_peak() -> None:
    known = bytes(72) + struct.pack("=4i", 40_000_000, 10_000, 0, 1)
    assert mastering_peak(known) == 4000
    assert mastering_peak(known[:84] + bytes(4)) is None
    assert mastering_peak(bytes(72) + struct.pack("=4i", 1, 0, 0, 1)) is None
    assert mastering_peak(b"") is None


def hdr_clip(path: Path, frames: list[Array], transfer: int) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, transfer, 1
        for k, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb48le").reformat(
                format="yuv420p10le", dst_colorspace="BT2020", src_color_range="JPEG", dst_color_range="MPEG"
            )
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_an_hdr_video_is_read_as_sdr_and_written_as_what_it_is_now(transfer: int, tmp_path: Path) -> None:
    import av

    signal = [(frame.astype(np.float64) / 255 * 0.7 * 65535).astype(np.uint16) for frame in drawn(3, 48, 64)]
    source = hdr_clip(tmp_path / "hdr.mkv", signal, transfer)
    with VideoReader(source) as reader:
        frames = list(reader.frames())
        notes = reader.notes()
        with writing_video(tmp_path / "out.mp4", reader.info) as writer:
            for frame in frames:
                writer.write(frame)
    expected = ToneMap(transfer)(signal[0]).astype(int)
    assert np.abs(frames[0].image.astype(int) - expected).mean() < 3  # chroma of half the size, 10 bits
    assert any("tone-mapped to BT.709" in note for note in notes)
    assert "10 bits a channel became 8" in notes
    with av.open(str(tmp_path / "out.mp4")) as container:
        first = next(container.decode(video=0))
        assert (first.colorspace, first.color_primaries, first.color_trc) == (1, 1, 1)
