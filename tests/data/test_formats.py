"""Every known layout becomes the right segments; unknown ones say what was expected."""

from typing import Any

import pytest

from qpeft.data.examples import Example, digest
from qpeft.data.formats import chat_turns, detect, plain_turns, to_example
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


class Template:
    """A tokenizer that has nothing but a chat template."""

    def __init__(self, rewrites: bool = False) -> None:
        self.rewrites = rewrites

    def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        text = "".join(f"<{m['role']}>{m['content']}</>" for m in messages)
        return (f"{len(messages)}" if self.rewrites else "") + text + ("<assistant>" if add_generation_prompt else "")


TURNS = [("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "Later"), ("user", "?")]


def test_chat_template_is_used_and_only_what_the_assistant_writes_counts() -> None:
    assert chat_turns(Template())(TURNS).segments == (
        ("<user>Hi</><assistant>", False),
        ("Hello</>", True),
        ("<user>Bye</><assistant>", False),
        ("Later</>", True),
    )


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    with pytest.raises(DataError, match="chat_template = None"):
        chat_turns(Template(rewrites=True))(TURNS)


def test_a_conversation_without_an_answer_is_empty() -> None:
    assert plain_turns([("user", "Hi")]).empty


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
