"""Several styles at once: how a blend is written, mixed and painted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from installed import BACKENDS
from media import drawn, identity_network, identity_style, shown, write_clip

from engine import Array, EngineError, Picture, RunError, VideoReader, read_picture, write_picture
from engine.blending import paint_blend, parse_blend
from engine.cli import main
from engine.style import Style, StyleInfo

Run = Callable[..., tuple[int, str, str]]
WORDS = st.text("abc_/.0", min_size=1, max_size=6)


@given(st.dictionaries(WORDS, st.floats(0.01, 100), min_size=2, max_size=5))
def test_shares_add_up_to_one_and_keep_their_proportions(weights: dict[str, float]) -> None:
    shares = dict(parse_blend(", ".join(f"{name}:{weight!r}" for name, weight in weights.items())))
    assert list(shares) == list(weights)
    assert sum(shares.values()) == pytest.approx(1)
    first = next(iter(weights))
    for name, share in shares.items():
        assert share * weights[first] == pytest.approx(shares[first] * weights[name])


def test_weights_that_add_up_to_one_are_taken_as_they_are_and_paths_may_hold_colons() -> None:
    assert parse_blend("a:0.75,b:0.25") == [("a", 0.75), ("b", 0.25)]
    assert parse_blend("c:/a.safetensors:1,b:3") == [("c:/a.safetensors", 0.25), ("b", 0.75)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:0.7,b", "'b' is no style with a positive weight"),
        ("a:0.7,b:much", "'b:much' is no style"),
        ("a:0.7,b:-1", "'b:-1' is no style"),
        ("a:0.7,b:0", "'b:0' is no style"),
        ("a:0.7,b:nan", "'b:nan' is no style"),
        ("a:inf,b:1", "'a:inf' is no style"),
        ("a:1e308,b:1e308", "too large"),
        ("a:0.7,:1", "':1' is no style"),
        ("", "'' is no style"),
        ("a:1,a:2", "the style 'a' is named twice"),
        ("a:1", "one style is no blend"),
    ],
)
def test_what_is_no_blend_says_why(text: str, message: str) -> None:
    with pytest.raises(EngineError, match=r"^--blend: ") as caught:
        parse_blend(text)
    assert message in str(caught.value)


class Adding:
    """A painter that adds a number, and reads ``ahead`` batches before it gives one back."""

    def __init__(self, number: int, ahead: int = 0) -> None:
        self.number, self.ahead = number, ahead

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        waiting: list[Array] = []
        for batch in batches:
            waiting.append(batch + np.uint8(self.number))
            if len(waiting) > self.ahead:
                yield waiting.pop(0)
        yield from waiting

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise NotImplementedError


@pytest.mark.parametrize("batch", [1, 3])
def test_paintings_are_mixed_in_order_however_far_each_painter_reads(batch: int) -> None:
    frames = [np.full((6, 7, 3), k, np.uint8) for k in range(50)]
    made = list(paint_blend([Adding(10), Adding(20, ahead=2), Adding(100)], [0.25, 0.25, 0.5], frames, batch))
    assert [int(x[0, 0, 0]) for x in made] == [round(k + 0.25 * 10 + 0.25 * 20 + 0.5 * 100) for k in range(50)]
    assert all(x.shape == (6, 7, 3) and x.dtype == np.uint8 and (x == x[0, 0, 0]).all() for x in made)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_equal_paintings_blend_to_themselves(weights: list[float]) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    shares = [weight / sum(weights) for weight in weights]
    (made,) = paint_blend([Adding(0)] * len(shares), shares, [ramp], 1)
    np.testing.assert_array_equal(made, ramp)


def test_frames_are_read_a_few_batches_ahead_and_no_thread_is_left() -> None:
    made: list[int] = []

    def frames() -> Iterator[Array]:
        for k in range(200):
            made.append(k)
            yield np.zeros((6, 7, 3), np.uint8)

    stream = paint_blend([Adding(1), Adding(2, ahead=3)], [0.5, 0.5], frames(), 2)
    for _ in range(20):
        next(stream)
    assert len(made) <= 20 + 2 * 3 + 3 * 2 + 6
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine-")]


def test_an_error_on_the_way_arrives_as_itself() -> None:
    def frames() -> Iterator[Array]:
        for _ in range(5):
            yield np.zeros((6, 7, 3), np.uint8)
        raise RunError("the disk is gone")

    for batch in (1, 4):
        with pytest.raises(RunError, match="the disk is gone"):
            list(paint_blend([Adding(1), Adding(2, ahead=1)], [0.5, 0.5], frames(), batch))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``engine infer`` in a folder with the styles ``same.safetensors`` and ``neg.safetensors``."""
    monkeypatch.chdir(tmp_path)
    identity_style(tmp_path / "same.safetensors")
    weights = {"conv.weight": -np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "conv.bias": np.zeros(3, np.float32)}
    Style(StyleInfo(name="negative"), identity_network(), weights).save(tmp_path / "neg.safetensors")
    write_picture(tmp_path / "photo.png", Picture(drawn(1, 33, 42)[0]))
    write_clip(tmp_path / "clip.mp4", drawn(5, 48, 64))

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(("infer", *words, "--precision", "float32", "--backend", BACKENDS[0]))
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return command


def test_a_picture_and_a_clip_are_painted_with_two_styles(tmp_path: Path, run: Run) -> None:
    code, out, err = run("photo.png", "clip.mp4", "--blend", "same.safetensors:3,neg.safetensors:1", "--json")
    assert code == 0, err
    assert "blend 0.75 same.safetensors + 0.25 neg.safetensors" in err
    said = json.loads(out)["outputs"]
    assert [item["output"] for item in said] == ["photo.same_negative.png", "clip.same_negative.mp4"]
    assert said[0]["style"] == "same+negative"
    assert said[0]["controls"]["blend"] == {"same.safetensors": 0.75, "neg.safetensors": 0.25}
    photo = read_picture(tmp_path / "photo.png").rgb.astype(float)
    np.testing.assert_array_equal(read_picture(tmp_path / "photo.same_negative.png").rgb, np.rint(0.75 * photo + 0.25 * (255 - photo)))
    assert shown(tmp_path / "clip.same_negative.mp4") == shown(tmp_path / "clip.mp4")
    with VideoReader(tmp_path / "clip.mp4") as before, VideoReader(tmp_path / "clip.same_negative.mp4") as after:
        for one, other in zip(before.frames(), after.frames(), strict=True):
            assert np.abs(other.image - (0.5 * one.image + 63.75)).mean() < 3


def test_a_blend_goes_with_the_other_controls(tmp_path: Path, run: Run) -> None:
    code, _, err = run("photo.png", "-o", "out.png", "--blend", "same.safetensors:1,neg.safetensors:1", "--strength", "0")
    assert code == 0, err
    np.testing.assert_array_equal(read_picture(tmp_path / "out.png").rgb, read_picture(tmp_path / "photo.png").rgb)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--blend", "same.safetensors:1,nothere:1"), "no style is called 'nothere'"),
        (("--blend", "same.safetensors:1,./same.safetensors:1"), "'same.safetensors' and './same.safetensors' are the same style"),
        (("--blend", "same.safetensors"), "--blend: 'same.safetensors' is no style with a positive weight; allowed: NAME:WEIGHT"),
        (("--blend", "same.safetensors:1,neg.safetensors:1", "--style", "neg.safetensors"), "--blend and --style exclude each other"),
    ],
)
def test_errors_are_clear(tmp_path: Path, run: Run, words: tuple[str, ...], message: str) -> None:
    code, _, err = run("photo.png", "-o", "out.png", *words)
    assert code == 2
    assert message in err
    assert not (tmp_path / "out.png").exists()
