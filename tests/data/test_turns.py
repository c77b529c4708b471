"""Turns of conversations: whose answers are learned, calls, tools, history."""

import json
from typing import Any

import pytest

from qpeft.data.told import Told
from qpeft.data.turns import read_history, read_tools, read_turns
from qpeft.errors import DataError

ASKED = {"role": "user", "content": "Tide?"}


def answered(**more: Any) -> list[dict[str, Any]]:
    return [ASKED, {"role": "assistant", "content": "High.", **more}]


@pytest.mark.parametrize("flag", ["weight", "train", "training", "loss"])
@pytest.mark.parametrize(("value", "learned"), [(0, False), (False, False), (0.0, False), (1, True), (None, True)])
def test_a_turn_weighted_zero_is_context(flag: str, value: Any, learned: bool) -> None:
    turns = read_turns(answered(**{flag: value}), Told())
    assert [(turn.content, turn.learned) for turn in turns] == [("Tide?", False), ("High.", learned)]


def test_other_weights_are_refused() -> None:
    for value in (0.5, 2, "no", [1]):
        with pytest.raises(DataError, match="'weight' of a turn must be 0 or 1"):
            read_turns(answered(weight=value), Told())


def test_an_empty_answer_is_not_learned() -> None:
    assert not read_turns(answered(content=" "), Told())[1].learned
    assert not read_turns(answered(content=None), Told())[1].learned


@pytest.mark.parametrize(
    "call",
    [
        {
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "tide", "arguments": '{"port": "Ely"}'}}
            ]
        },
        {"tool_calls": [{"id": "c", "function": {"name": "tide", "arguments": {"port": "Ely"}}}]},
        {"tool_calls": json.dumps([{"id": "c", "name": "tide", "arguments": {"port": "Ely"}}])},
    ],
)
def test_calls_are_read_with_their_arguments_as_an_object(call: Any) -> None:
    (_, turn) = read_turns(answered(**{"content": None, **call}), Told())
    function = {"name": "tide", "arguments": {"port": "Ely"}}
    assert turn.message == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "id": "c", "function": function}],
    }
    assert turn.learned


def test_calls_of_older_layouts() -> None:
    call = {"name": "tide", "arguments": "{}"}
    old = read_turns(answered(content=None, function_call=call), Told())[1]
    shared = read_turns([ASKED, {"from": "function_call", "value": json.dumps(call)}], Told(), "conversations")[1]
    assert old == shared
    assert old.extra["tool_calls"] == [{"type": "function", "function": {"name": "tide", "arguments": {}}}]


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"role": "user", "content": "a", "tool_calls": [{"name": "f"}]}, "only the assistant calls tools"),
        ({"role": "assistant", "tool_calls": [{"arguments": {}}]}, "'name' and 'arguments'"),
        ({"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}, "'arguments' of the call of 'f'"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "a"}]},
            "must be text; got one of type 'image",
        ),
        ({"role": "user", "contents": "a"}, "must have 'content' or 'value'; got the fields role, contents"),
        ({"role": "user", "content": "a", "images": ["b"]}, "'images' of a turn cannot be used"),
    ],
)
def test_turns_that_cannot_be_used(turn: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_turns([turn], Told())


def test_fields_of_turns_that_are_not_read_are_told() -> None:
    told = Told()
    read_turns([{**ASKED, "id": 4, "weight": 1}, {"role": "assistant", "content": "High.", "score": 5}], told)
    (line,) = told.lines("d")
    assert line.startswith("d: fields of turns not read: id (1 row), a weight of a turn of 'user'")
    assert line.endswith("score (1 row)")


def test_tools_and_history() -> None:
    function = {"name": "tide", "parameters": {}}
    wrapped = {"type": "function", "function": function}
    assert read_tools([function]) == read_tools(json.dumps([wrapped])) == (wrapped,)
    assert read_tools("") == read_tools(None) == read_tools([]) == ()
    for wrong in ("tide", [1], {"name": "tide"}):
        with pytest.raises(DataError, match="must be a list of JSON schemas"):
            read_tools(wrong)
    assert [turn.learned for turn in read_history([["a", "b"], ["c", ""]], Told())] == [False, True, False, False]
    with pytest.raises(DataError, match="list of pairs"):
        read_history([["a"]], Told())
