"""YAML 1.2 in and out: numbers, words, and everything that can be dumped."""

import math
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RecipeError
from engine.yaml_lines import dump_yaml, read_yaml


def scalar(text: str) -> object:
    return read_yaml(f"a: {text}", "x", Path("/")).root.plain()["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e4", 1e4), ("1E+4", 1e4), ("-2.5e-3", -2.5e-3), (".5", 0.5), ("5.", 5.0), ("1.e2", 100.0), ("+3", 3), ("0123", 123),
        ("0o17", 15), ("0x1F", 31), ("1:30", "1:30"), ("190:20:30", "190:20:30"), ("1_000", "1_000"), ("0b11", "0b11"),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("true", True), ("False", False), ("~", None),
        ("null", None), ("", None), (".inf", math.inf), ("-.INF", -math.inf), ("2024-01-01", "2024-01-01"), ("'1e4'", "1e4"),
        ("!!str 12", "12"), ("!!float 3", 3.0), ("e4", "e4"), ("1e", "1e"), ("--1", "--1"), ("<<", "<<"), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value) or isinstance(found, str)


@given(st.floats(allow_nan=False))
def test_every_float_as_python_or_c_writes_it(x: float) -> None:
    assert scalar(dump_yaml(x).splitlines()[0]) == x
    if math.isfinite(x):
        for text in (repr(x), f"{x:.17e}", f"{x:+.17E}"):
            assert scalar(text) == x


@given(st.integers())
def test_every_integer(n: int) -> None:
    assert scalar(str(n)) == n
    assert type(scalar(str(n))) is int


DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.from_regex(r"[-+.0-9eExob:_yYnN]{1,6}", fullmatch=True),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(DATA)
def test_what_is_dumped_reads_back_the_same(data: object) -> None:
    text = dump_yaml({"a": data})
    assert read_yaml(text, "x", Path("/")).root.plain() == {"a": data}
    assert yaml.safe_load(text) == {"a": data}  # by a YAML 1.1 reader too


@given(st.text())
def test_any_text_is_read_or_refused_with_a_recipe_error(text: str) -> None:
    with suppress(RecipeError):
        assert read_yaml(text, "x", Path("/")).root.source == "x"
