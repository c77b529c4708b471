"""Every known layout becomes the right segments; unknown ones say what was expected."""

import json
from typing import Any

import pytest

from qpeft.data.examples import Example, digest
from qpeft.data.formats import detect, to_example
from qpeft.data.told import Told
from qpeft.errors import ConfigError, DataError

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
CHAT += [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Bye"}]
CHAT += [{"role": "assistant", "content": "Later"}]
SHARE = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]


@pytest.mark.parametrize(
    ("record", "layout", "counted"),
    [
        ("a line", "text", ["a line"]),
        ({"text": "a line", "id": 4}, "text", ["a line"]),
        ({"instruction": "Add.", "input": "1 1", "output": "2"}, "alpaca", ["2"]),
        ({"instruction": "Add.", "output": "2"}, "alpaca", ["2"]),
        ({"messages": CHAT}, "messages", ["Hello\n\n", "Later"]),
        ({"conversations": SHARE}, "sharegpt", ["Hello"]),
        ({"prompt": "2+2=", "completion": "4"}, "prompt_completion", ["4"]),
        ({"question": "How many?", "answer": "Four"}, "prompt_completion", ["Four"]),
    ],
)
def test_layout_is_found_and_only_answers_count(record: Any, layout: str, counted: list[str]) -> None:
    example, found = to_example(record)
    assert found == detect(record) == layout
    assert [text for text, counts in example.segments if counts] == counted
    assert to_example(record, layout)[0] == example


def test_alpaca_prompt_has_the_conventional_heads() -> None:
    with_input = to_example({"instruction": "Add.", "input": "1 1", "output": "2"})[0].text
    assert "### Instruction:\nAdd.\n\n### Input:\n1 1\n\n### Response:\n2" in with_input
    without = to_example({"instruction": "Add.", "input": "", "output": "2"})[0]
    assert "### Input" not in without.text
    assert to_example({"instruction": "Add.", "input": "<noinput>", "output": "2"})[0] == without


def test_plain_conversation_is_written_with_role_heads() -> None:
    example = to_example({"messages": CHAT})[0]
    assert example.text == (
        "### System:\nBe brief.\n\n### User:\nHi\n\n### Assistant:\nHello\n\n### User:\nBye\n\n### Assistant:\nLater"
    )


def test_content_parts_are_joined_and_missing_content_is_empty() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    assert to_example({"messages": turns})[0].empty
    assert "ab" in to_example({"messages": turns})[0].text


def test_beside_fields_are_used_in_plain_text() -> None:
    rounds = [["one?", "1"], ["two?", "2"]]
    example, _ = to_example({"instruction": "three?", "output": "3", "system": "Count.", "history": rounds})
    assert example.text == (
        "Count.\n\n### Instruction:\none?\n\n### Response:\n1\n\n### Instruction:\ntwo?\n\n### Response:\n2"
        "\n\n### Instruction:\nthree?\n\n### Response:\n3"
    )
    assert [text for text, counts in example.segments if counts] == ["1", "2", "3"]
    shared = to_example({"system": "Count.", "conversations": SHARE, "history": [["one?", "1"]]})[0]
    assert shared.text == "### System:\nCount.\n\n### User:\none?\n\n### Assistant:\n1\n\n" + plain(SHARE)
    asked = to_example({"prompt": "two?", "completion": "2", "system": "Count."})[0]
    assert asked.text == "### System:\nCount.\n\n### User:\ntwo?\n\n### Assistant:\n2"


def plain(turns: Any) -> str:
    return to_example({"conversations": turns})[0].text


def test_two_system_texts_are_refused_and_the_same_twice_is_one() -> None:
    with pytest.raises(DataError, match="one system text"):
        to_example({"system": "Be long.", "messages": CHAT})
    assert to_example({"system": "Be brief.", "messages": CHAT}) == to_example({"messages": CHAT})


def test_a_conversation_as_prompt_and_completion() -> None:
    whole = to_example({"messages": CHAT[:3]})[0]
    assert to_example({"prompt": CHAT[:2], "completion": CHAT[2:3]})[0] == whole
    assert to_example({"prompt": json.dumps(CHAT[:2]), "completion": "Hello"})[0] == whole
    later = to_example({"prompt": CHAT[:4], "completion": CHAT[4:]})[0]
    assert [text for text, counts in later.segments if counts] == ["Later"]
    assert later.text == to_example({"messages": CHAT})[0].text


def test_tools_need_a_template() -> None:
    tool = {"name": "tide", "parameters": {}}
    for record in ({"messages": CHAT}, {"conversations": SHARE}, {"instruction": "a", "output": "b"}):
        with pytest.raises(DataError, match="chat template, and there is none"):
            to_example({**record, "tools": [tool]})


@pytest.mark.parametrize(
    ("beside", "word"),
    [
        ({"rejected": "no"}, "preference"),
        ({"images": ["a.png"]}, "only text"),
        ({"weight": 0}, "no weights"),
        ({"train": False}, "no weights"),
        ({"label": False}, "no weights"),
        ({"function_call": {"name": "f"}}, "turn that makes it"),
    ],
)
def test_fields_that_change_the_meaning_of_a_row_are_refused(beside: Any, word: str) -> None:
    with pytest.raises(DataError, match=word):
        to_example({"prompt": "a", "completion": "b", **beside})


def test_fields_that_do_not_are_told() -> None:
    told = Told()
    to_example({"prompt": "a", "completion": "b", "id": 3, "source": None, "label": True}, told=told)
    to_example({"text": "a", "system": "b"}, told=told)
    assert told.lines("d") == ["d: fields not read: id (1 row), label (1 row), system (1 row)"]


def test_unknown_fields_name_what_is_known_and_what_came() -> None:
    with pytest.raises(DataError, match=r"alpaca: instruction \+ output;.*got the fields id, body"):
        to_example({"id": 1, "body": "x"})


def test_asked_for_layout_must_fit() -> None:
    with pytest.raises(DataError, match=r"prompt_completion: completion.*got the fields text"):
        to_example({"text": "x"}, "prompt_completion")
    with pytest.raises(ConfigError, match=r"format must be one of auto.*nearest: alpaca"):
        to_example({"text": "x"}, "alpacca")


def test_unknown_role_and_broken_conversation() -> None:
    with pytest.raises(DataError, match=r"'from' of a turn must be one of .*; got 'wizard'"):
        to_example({"conversations": [{"from": "wizard", "value": "x"}]})
    with pytest.raises(DataError, match="list of objects"):
        to_example({"messages": "not a list"})


def test_digest_sees_segment_borders() -> None:
    parts = [Example((("ab", True),)), Example((("a", True), ("b", True)))]
    assert digest({"train": parts[:1]}) != digest({"train": parts[1:]})
    assert digest({"train": parts}) != digest({"train": parts[::-1]})
    assert digest({"train": parts}) != digest({"valid": parts})
