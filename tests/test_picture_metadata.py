"""What photos carry beside their pixels: turned by their orientation, their colour profile and transparency kept; against Pillow."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from media import drawn
from PIL import Image, ImageCms, ImageOps

from engine import EngineError
from engine.images import Picture, decode_picture, encode_picture, turned
from engine.picture_metadata import read_metadata, with_profile

ASYMMETRIC = drawn(1, 16, 24)[0]
LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **settings)
    return target.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(kind: str, alpha: bool, orientation: int) -> None:
    if alpha and kind == "JPEG":
        return
    pixels = (
        np.dstack([ASYMMETRIC, np.where(np.arange(24) > 7, np.uint8(255), np.uint8(0)) + 0 * ASYMMETRIC[..., 0]]) if alpha else ASYMMETRIC
    )
    if alpha:
        pixels[pixels[..., 3] == 0] = 0
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    data = saved(image, kind, exif=exif, **LOSSLESS.get(kind, {"quality": 95, "subsampling": 0}))
    picture = decode_picture(data, "x")
    expected = np.asarray(ImageOps.exif_transpose(opened(data)))
    np.testing.assert_allclose(picture.rgb.astype(int), expected[..., :3].astype(int), atol=3 if kind == "JPEG" else 0)
    if alpha:
        assert picture.alpha is not None
        np.testing.assert_array_equal(picture.alpha, expected[..., 3])
    np.testing.assert_array_equal(turned(pixels, orientation)[..., :3].shape, expected[..., :3].shape)


@pytest.mark.parametrize("source", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".tif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_colour_profile_is_carried_over(source: str, suffix: str, alpha: bool) -> None:
    data = saved(Image.fromarray(ASYMMETRIC), source, icc_profile=srgb(), **LOSSLESS.get(source, {}))
    read = decode_picture(data, "x")
    assert read.profile == srgb()
    made, notes = encode_picture(suffix, Picture(read.rgb, read.rgb[..., 0] if alpha else None, profile=read.profile), "x")
    assert opened(made).info["icc_profile"] == srgb()
    assert read_metadata(made).profile == srgb()
    assert notes == ((".jpg holds no transparency, so it was dropped",) if alpha and suffix == ".jpg" else ())
    plain, _ = encode_picture(suffix, Picture(read.rgb, read.rgb[..., 0] if alpha else None), "x")
    np.testing.assert_array_equal(np.asarray(opened(made)), np.asarray(opened(plain)))
    assert opened(made).mode == ("RGBA" if alpha and suffix != ".jpg" else "RGB")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_colours_below_half_transparent_pixels_stay(kind: str) -> None:
    alpha = np.tile(np.linspace(64, 255, 24).astype(np.uint8), (16, 1))
    read = decode_picture(saved(Image.fromarray(np.dstack([ASYMMETRIC, alpha])), kind, **LOSSLESS[kind]), "x")
    np.testing.assert_array_equal(read.alpha, alpha)
    np.testing.assert_allclose(read.rgb.astype(int), ASYMMETRIC.astype(int), atol=2 if kind == "TIFF" else 0)
    again, _ = encode_picture(".tif", read, "x")
    np.testing.assert_array_equal(decode_picture(again, "x").rgb, read.rgb)


def test_a_profile_longer_than_a_segment_of_jpeg_is_cut_and_joined() -> None:
    profile = srgb()[:128] + np.random.default_rng(0).bytes(150_000)
    made, _ = encode_picture(".jpg", Picture(ASYMMETRIC, profile=profile), "x")
    assert opened(made).info["icc_profile"] == profile == read_metadata(made).profile
    assert with_profile(made, bytes(65519 * 256)) is None


def test_what_cannot_be_kept_is_said() -> None:
    _, notes = encode_picture(".bmp", Picture(ASYMMETRIC, profile=srgb()), "x")
    assert notes == ("its colour profile is not written to .bmp, so it was dropped",)
    grey = srgb()[:16] + b"GRAY" + srgb()[20:]
    read = decode_picture(saved(Image.fromarray(ASYMMETRIC[..., 0]), "PNG", icc_profile=grey), "x")
    assert (read.profile, read.notes) == (None, ("its colour profile is not one of RGB, so it was dropped",))
    np.testing.assert_array_equal(read.rgb, np.repeat(ASYMMETRIC[..., :1], 3, axis=2))


def test_cmyk_is_converted_and_said() -> None:
    ink = Image.fromarray(ASYMMETRIC).convert("CMYK")
    read = decode_picture(saved(ink, "JPEG", quality=95, icc_profile=srgb()[:16] + b"CMYK" + srgb()[20:]), "x")
    assert (read.profile, read.notes) == (None, ("CMYK became RGB, without the colours of its profile",))
    assert decode_picture(saved(ink, "JPEG", quality=95), "x").notes == ("CMYK became RGB",)
    np.testing.assert_allclose(read.rgb.astype(int), ASYMMETRIC.astype(int), atol=6)


def test_sixteen_bits_become_eight_and_it_is_said() -> None:
    values = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 170
    read = decode_picture(saved(Image.fromarray(values), "PNG"), "x")
    assert read.notes == ("16 bits a channel became 8",)
    np.testing.assert_array_equal(read.rgb[..., 1], np.rint(values / 257))


SAMPLES = [
    saved(Image.fromarray(ASYMMETRIC), kind, icc_profile=srgb(), exif=struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0))
    for kind in ("PNG", "WEBP", "TIFF", "JPEG")
]


@given(st.sampled_from(SAMPLES), st.integers(0, 2000), st.binary(max_size=8), st.integers(0, 4000))
def test_no_damage_stops_the_reading_of_metadata(data: bytes, at: int, patch: bytes, end: int) -> None:
    metadata = read_metadata((data[:at] + patch + data[at + len(patch) :])[:end])
    assert 1 <= metadata.orientation <= 8


@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"II*\0", b"MM\0*"]), st.binary(max_size=64))
@example(b"II*\0", b"\x08\0\0\0\xff\xff")
@example(b"\xff\xd8\xff", b"\xe1\0\0")
def test_no_bytes_stop_the_reading_of_metadata(head: bytes, rest: bytes) -> None:
    read_metadata(head + rest)


@pytest.mark.parametrize("data", [b"", b"words", SAMPLES[0][:40], b"\xff\xd8\xff\xe0"], ids=["nothing", "words", "cut PNG", "cut JPEG"])
def test_what_is_no_picture_says_so(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="x: this is no picture that can be read, or it is damaged"):
        decode_picture(data, "x")
