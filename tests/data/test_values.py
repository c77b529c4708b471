"""Cells as text: JSON, never Python's words."""

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpeft.data.told import AS_JSON, Told
from qpeft.data.values import opened, sound, unsound, words
from qpeft.errors import DataError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(PLAIN)
def test_what_json_holds_comes_back(value: Any) -> None:
    written = words(value, "output", Told())
    if isinstance(value, str):
        assert written == value
    elif value in (None, [], {}):
        assert written == ""
    else:
        assert json.loads(written) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), ""),
        ({"a": [float("nan"), "é"]}, '{"a": [null, "é"]}'),
        (True, "true"),
        (Decimal("1.50"), "1.50"),
        (date(2024, 2, 29), "2024-02-29"),
        ([datetime(2024, 2, 29, 12)], '["2024-02-29 12:00:00"]'),
    ],
)
def test_values_json_does_not_hold(value: Any, text: str) -> None:
    assert words(value, "output", Told()) == text


@pytest.mark.parametrize("value", [b"x", float("inf"), [float("-inf")], {"a": object()}, [10**5000]])
def test_values_without_a_form_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match="'output' must be text or have a form in JSON"):
        words(value, "output", Told())


def test_deep_nesting_is_refused() -> None:
    deep: Any = "x"
    for _ in range(20000):
        deep = [deep]
    with pytest.raises(DataError, match="nested too deeply"):
        words(deep, "output", Told())
    with pytest.raises(DataError, match="nested too deeply"):
        opened("[" * 20000 + "]" * 20000, "messages")


def test_objects_that_became_json_are_told() -> None:
    told = Told()
    words([1], "output", told)
    words(1, "output", told)
    assert told.lines("d") == [f"d: {AS_JSON}: output (1 row)"]


@given(st.text(st.characters()))
def test_lone_surrogates_are_replaced_and_nothing_else(text: str) -> None:
    assert not unsound(sound(text))
    assert len(sound(text)) == len(text)
    assert unsound(text) == (sound(text) != text)
