"""Strength, colours, size and mask: the pure functions, and what ``engine infer`` makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from installed import BACKENDS
from media import audio_packets, drawn, identity_network, shown, write_clip

from engine import Array, EngineError, Picture, VideoReader, read_picture, write_picture
from engine.cli import main
from engine.controls import LUMA, Controls, luma, recolour, retouch, retouched
from engine.painting import paint_stream
from engine.sizes import Size, parse_size, pixel_aspect, resize
from engine.style import Style, StyleInfo, load_style

PICTURES = arrays(np.uint8, (4, 5, 3))
MASKS = arrays(np.uint8, (4, 5))
UNIT = st.floats(0, 1)
SMALL = 0.5 + 1e-3


def exact_luma(x: Array) -> Array:
    return x.astype(np.float64) @ np.array(LUMA)


@given(PICTURES, PICTURES, UNIT, UNIT, st.none() | MASKS)
def test_every_value_moves_one_way_from_the_source_to_the_painting(
    source: Array, painted: Array, one: float, other: float, mask: Array | None
) -> None:
    less, more = (retouch(source, painted, strength=s, mask=mask).astype(int) for s in sorted((one, other)))
    toward = np.sign(painted.astype(int) - source)
    assert (toward * (more - less) >= 0).all()
    assert (toward * (painted - more) >= 0).all()
    assert (toward * (less - source) >= 0).all()


@given(PICTURES, PICTURES, MASKS, st.booleans())
def test_the_ends_are_exact(source: Array, painted: Array, mask: Array, preserve: bool) -> None:
    whole = retouch(source, painted, preserve_color=preserve)
    np.testing.assert_array_equal(retouch(source, painted, strength=0, preserve_color=preserve, mask=mask), source)
    assert preserve or whole is painted
    mixed = retouch(source, painted, preserve_color=preserve, mask=mask)
    np.testing.assert_array_equal(mixed[mask == 0], source[mask == 0])
    np.testing.assert_array_equal(mixed[mask == 255], whole[mask == 255])


def test_a_grey_mask_is_a_strength_and_halves_go_to_even() -> None:
    source, painted = np.zeros((1, 3, 3), np.uint8), np.full((1, 3, 3), 51, np.uint8)
    mask = np.array([[255, 51, 0]], np.uint8)
    assert retouch(source, painted, mask=mask)[0, :, 0].tolist() == [51, 10, 0]
    assert retouch(source, painted, strength=0.5, mask=mask)[0, :, 0].tolist() == [26, 5, 0]  # 25.5, 5.1
    assert retouch(source, np.full((1, 3, 3), 1, np.uint8), strength=0.5)[0, 0, 0] == 0  # 0.5


@given(PICTURES, PICTURES)
@example(np.full((4, 5, 3), (255, 0, 0), np.uint8), np.full((4, 5, 3), 255, np.uint8))
@example(np.full((4, 5, 3), (0, 0, 255), np.uint8), np.zeros((4, 5, 3), np.uint8))
def test_colours_are_the_sources_and_the_luma_is_the_paintings(source: Array, painted: Array) -> None:
    mixed = recolour(source, painted)
    assert np.abs(exact_luma(mixed) - exact_luma(painted)).max() <= SMALL  # out of gamut too
    was, now = (x - exact_luma(x)[..., None] for x in (source, mixed))  # chroma: R'-Y', G'-Y', B'-Y'
    wished = was + exact_luma(painted)[..., None]
    inside = ((wished >= 0) & (wished <= 255)).all(-1)
    assert np.abs(now - was)[inside].max(initial=0) <= 2 * SMALL
    share = np.clip((now * was).sum(-1) / np.maximum((was * was).sum(-1), 1e-9), 0, 1)
    assert np.abs(now - share[..., None] * was).max() <= 2 * SMALL  # the same hue angle, less of it at most


def test_bands_of_rows_leave_no_trace() -> None:
    source, painted = np.random.default_rng(1).integers(0, 256, (2, 103, 1000, 3), np.uint8)
    mask = np.random.default_rng(2).integers(0, 256, (103, 1000), np.uint8)
    whole = retouch(source, painted, strength=0.7, preserve_color=True, mask=mask)
    parts = [
        retouch(source[k : k + 1], painted[k : k + 1], strength=0.7, preserve_color=True, mask=mask[k : k + 1]) for k in range(len(source))
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


class Inverting:
    """A painter that inverts, and reads two batches before it gives one back."""

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        waiting: list[Array] = []
        for batch in batches:
            waiting.append(255 - batch)
            if len(waiting) > 2:
                yield waiting.pop(0)
        yield from waiting

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise NotImplementedError


@pytest.mark.parametrize("batch", [1, 4])
def test_a_stream_mixes_each_frame_with_its_own_source_and_keeps_few(batch: int) -> None:
    made: list[int] = []

    def frames() -> Iterator[Array]:
        for k in range(100):
            made.append(k)
            yield np.full((6, 7, 3), k, np.uint8)

    masks = (np.full((6, 7), 255 * (k % 2), np.uint8) for k in range(100))
    stream = retouched(lambda sources: paint_stream(Inverting(), sources, batch), frames(), Controls(0.5), masks)
    for k, image in enumerate(stream):
        assert (image == (round(k + 0.5 * (255 - 2 * k)) if k % 2 else k)).all()
        assert len(made) <= k + 1 + 7 * batch
    assert len(made) == 100


@given(PICTURES)
def test_recolouring_a_picture_with_itself_changes_nothing(picture: Array) -> None:
    np.testing.assert_array_equal(recolour(picture, picture), picture)


def test_luma_of_grey_is_that_grey() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    assert np.abs(luma(grey)[:, 0] - np.arange(256)).max() < 1e-4


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(EngineError, match=r"allowed: 0 .*to 1"):
        Controls(strength)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(5, 4000))
def test_a_largest_size_never_enlarges_and_keeps_proportions(width: int, height: int, most: int) -> None:
    new = Size(most, at_most=True).of(width, height)
    if max(width, height) <= most:
        assert new == (width, height)
        return
    assert max(new) == most
    assert min(new) % 2 == 0 or width == height
    assert min(new) <= max(min(width, height), 2)
    assert abs(min(new) - most * min(width, height) / max(width, height)) <= 1 or min(new) == 2
    assert Size(most).of(width, height) == new


@pytest.mark.parametrize(
    ("text", "size"), [("640x360", Size(640, 360)), ("427X241", Size(427, 241)), ("640", Size(640)), (" 16384 ", Size(16384))]
)
def test_sizes_are_read(text: str, size: Size) -> None:
    assert parse_size(text, "--size") == size


@given(st.text(max_size=12))
def test_any_other_text_is_an_error_that_names_the_option(text: str) -> None:
    if re.fullmatch(r"\s*[0-9]+([xX][0-9]+)?\s*", text) is None:
        with pytest.raises(EngineError, match=r"^--size: .* is no size"):
            parse_size(text, "--size")


def test_resizing_keeps_what_need_not_change() -> None:
    picture = drawn(1, 20, 30)[0]
    assert resize(picture, 30, 20) is picture
    assert [resize(picture, *size).shape for size in ((15, 10), (60, 40), (61, 7))] == [(10, 15, 3), (40, 60, 3), (7, 61, 3)]
    assert resize(picture[..., 0], 13, 41).shape == (41, 13)
    means = resize(picture, 15, 10)
    np.testing.assert_allclose(means, picture.reshape(10, 2, 15, 2, 3).mean((1, 3)), atol=0.51)


@pytest.mark.parametrize(
    ("aspect", "before", "after", "expected"),
    [
        (None, (1280, 720), (640, 360), None),
        (None, (427, 240), (300, 168), None),
        (Fraction(4, 3), (720, 576), (360, 288), Fraction(4, 3)),
        (None, (640, 360), (360, 360), Fraction(16, 9)),
        (Fraction(4, 3), (640, 360), (360, 640), Fraction(4, 3) * Fraction(256, 81)),
        (None, (16384, 5), (5, 16384), Fraction(65535)),
    ],
)
def test_pixels_follow_the_size(
    aspect: Fraction | None, before: tuple[int, int], after: tuple[int, int], expected: Fraction | None
) -> None:
    found = pixel_aspect(aspect, before, after)
    assert found == expected or (expected is not None and found is not None and found.numerator <= 65535)


def negative() -> Style:
    """A style that inverts, so that a painting is never its source."""
    weights = {"conv.weight": -np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "conv.bias": np.zeros(3, np.float32)}
    return Style(StyleInfo(name="negative"), identity_network(), weights)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A style ``neg.safetensors``, a clip with sound, a picture and a mask, in the current folder."""
    monkeypatch.chdir(tmp_path)
    negative().save(tmp_path / "neg.safetensors")
    write_clip(tmp_path / "clip.mp4", drawn(6, 48, 64), seconds=0.1)
    write_picture(tmp_path / "photo.png", Picture(drawn(1, 33, 42)[0], np.full((33, 42), 200, np.uint8)))
    half = np.zeros((33, 42, 3), np.uint8)
    half[:, 21:] = 255
    write_picture(tmp_path / "half.png", Picture(half))
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def command(*arguments: str) -> tuple[int, str, str]:
        style = () if "--blend" in arguments else ("--style", "neg.safetensors")
        with pytest.raises(SystemExit) as caught:
            main(("infer", *arguments, *style, "--precision", "float32", "--backend", BACKENDS[0]))
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return command


def frames_of(path: Path) -> list[Array]:
    with VideoReader(path) as reader:
        return [frame.image for frame in reader.frames()]


def test_pictures_through_the_command_line(folder: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    photo, half = read_picture(folder / "photo.png"), read_picture(folder / "half.png").rgb[..., 0]
    for words, expected in {
        ("--strength", "0"): photo.rgb,
        ("--strength", "1"): 255 - photo.rgb,
        ("--strength", "0.25"): retouch(photo.rgb, 255 - photo.rgb, strength=0.25),
        ("--preserve-color",): recolour(photo.rgb, 255 - photo.rgb),
        ("--mask", "half.png", "--strength", "0.5"): retouch(photo.rgb, 255 - photo.rgb, strength=0.5, mask=half),
        ("--max-size", "20"): 255 - resize(photo.rgb, 20, 16),
        ("--size", "31x17", "--preserve-color"): recolour(resize(photo.rgb, 31, 17), 255 - resize(photo.rgb, 31, 17)),
    }.items():
        code, _, err = run("photo.png", "-o", "out.png", "--overwrite", *words)
        assert code == 0, err
        found = read_picture(folder / "out.png")
        np.testing.assert_array_equal(found.rgb, expected, str(words))
        assert found.alpha is not None
        assert found.alpha.shape == found.rgb.shape[:2]


def test_a_video_is_mixed_frame_by_frame(folder: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    source = frames_of(folder / "clip.mp4")
    for strength in (0.0, 0.25, 1.0):
        code, out, err = run("clip.mp4", "-o", "out.mp4", "--overwrite", "--strength", str(strength), "--batch", "4", "--json")
        assert code == 0, err
        found = frames_of(folder / "out.mp4")
        assert len(found) == 6
        wished = [retouch(x, 255 - x, strength=strength) for x in source]
        assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(found, wished, strict=True)) < 3  # what H.264 loses
        assert shown(folder / "out.mp4") == shown(folder / "clip.mp4")
        (item,) = json.loads(out)["outputs"]
        rest = {"preserve_color": False, "size": None, "mask": None, "smooth": 0.0, "blend": None}
        assert item["controls"] == {"strength": strength, **rest}
        assert ("strength 0.25" in err) == (strength == 0.25)


def test_a_resized_video_keeps_its_proportions_on_screen(folder: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    for words, size, aspect in (
        (("--max-size", "32"), (32, 24), None),
        (("--size", "48"), (48, 36), None),
        (("--size", "41x41"), (41, 41), Fraction(4, 3)),
    ):
        code, out, err = run("clip.mp4", "-o", "out.mp4", "--overwrite", "--json", *words)
        assert code == 0, err
        with VideoReader(folder / "out.mp4") as reader:
            assert (reader.info.width, reader.info.height) == size
            assert (reader.info.aspect or 1) == (aspect or 1)
        (item,) = json.loads(out)["outputs"]
        assert (item["width"], item["height"]) == size
        assert f"resized from 64x48 to {size[0]}x{size[1]}" in item["notes"]
        assert any("4:3" in note for note in item["notes"]) == (aspect is not None)
        assert audio_packets(folder / "out.mp4") == audio_packets(folder / "clip.mp4")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--strength", "1.5"), "strength: a strength of 1.5; allowed: 0 (the input) to 1 (the painting)"),
        (("--strength", "nan"), "strength: a strength of nan"),
        (("--mask", "gone.png"), "gone.png: cannot read this file"),
        (("--mask", "gone.mp4"), "gone.mp4: there is no such file"),
        (("--mask", "words.mp4"), "words.mp4: this is"),
        (("--mask", "words.png"), "words.png: this is no picture"),
        (("--mask", "clip.mp4"), "clip.mp4: this mask is a video, and what is painted is a picture"),
        (("--mask", "half.png", "-o", "half.png", "--overwrite"), "half.png: this output is the mask"),
        (("--size", "4x4"), "photo.png: a picture of 4x4 is too small to paint; allowed: sides of 5 pixels and more"),
        (("--size", "big"), "--size: 'big' is no size; allowed: WxH such as 640x360"),
        (("--size", "99999x8"), "--size 99999x8: a side of 99999 pixels; allowed: 1 to 16384"),
        (("--max-size", "8x8"), "--max-size: '8x8' is no longest side"),
        (("--max-size", "8", "--size", "8"), "--size and --max-size exclude each other"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, run: Callable[..., tuple[int, str, str]], words: tuple[str, ...], message: str) -> None:
    (folder / "words.mp4").write_text("words")
    (folder / "words.png").write_text("words")
    before = sorted(folder.iterdir())
    code, _, err = run("photo.png", "-o", "out.png", *words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert sorted(folder.iterdir()) == before


def test_a_style_paints_with_controls_in_python(folder: Path) -> None:
    style, photo, mask = load_style(folder / "neg.safetensors"), drawn(1, 9, 12)[0], np.full((9, 12), 80, np.uint8)
    found = style.paint(photo, strength=0.5, preserve_color=True, mask=mask, backend=BACKENDS[0], precision="float32")
    np.testing.assert_array_equal(found, retouch(photo, 255 - photo, strength=0.5, preserve_color=True, mask=mask))
    turned = photo[::-1, ::-1, ::-1]
    np.testing.assert_array_equal(
        style.paint(turned, preserve_color=True, backend=BACKENDS[0], precision="float32"), recolour(turned.copy(), 255 - turned)
    )
    same = style.paint(photo, strength=0, backend=BACKENDS[0])
    assert same is not photo
    np.testing.assert_array_equal(same, photo)
    with pytest.raises(EngineError, match=r"the mask is uint8 \(4, 4\); allowed: uint8 \(9, 12\)"):
        style.paint(photo, mask=np.zeros((4, 4), np.uint8), backend=BACKENDS[0])
