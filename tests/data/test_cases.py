"""The folder of inputs that once went wrong, where it is there: each with what is right for it."""

import json
from pathlib import Path
from typing import Any

import pytest

from qpeft.data.examples import Texts
from qpeft.data.load import load_texts
from qpeft.data.rows import Row, encode
from qpeft.errors import DataError
from qpeft.records.spec import DataSpec


@pytest.fixture(scope="session")
def cases(real_data: Path) -> Path:
    folder = real_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip("the folder of cases is absent; it lies beside the real texts")
    return folder


def read(path: Path, tokenizer: Any = None) -> Texts:
    return load_texts(DataSpec(name=str(path)), tokenizer)


def parts(row: Row, tokenizer: Any) -> tuple[str, str]:
    """All of a row, and what counts."""
    learned = [token for token, counts in zip(row.ids, row.counts, strict=True) if counts]
    return tokenizer.decode(row.ids), tokenizer.decode(learned)


def rows(path: Path, tokenizer: Any) -> list[tuple[str, str]]:
    return [parts(row, tokenizer) for row in encode(read(path, tokenizer).train, tokenizer)]


def test_every_case_is_known(cases: Path) -> None:
    named = Path(__file__).read_text("utf-8")
    assert [path.name for path in sorted(cases.glob("*.jsonl")) if path.name not in named] == []


def test_tool_calls(cases: Path, chat: Any) -> None:
    path = cases / "tool-calls-openai_tools.jsonl"
    for whole, learned in rows(path, chat()):
        assert "get_weather" in whole.split("<|im_start|>user")[0]
        assert '"name": "get_weather", "arguments": {"city": "town' in learned
        assert learned.endswith("It is 20 degrees.<|im_end|>")
    with pytest.raises(DataError, match=r"record 1 of .*chat template, and there is none"):
        read(path)


def test_turn_weights(cases: Path, chat: Any) -> None:
    for whole, learned in rows(cases / "turn-weights-openai_weight.jsonl", chat()):
        assert "BAD ANSWER" in whole
        assert learned == "GOOD ANSWER<|im_end|>"
    for example in read(cases / "turn-weights-openai_weight.jsonl").train:
        assert [text for text, counts in example.segments if counts] == ["GOOD ANSWER"]
        assert "BAD ANSWER" in example.text


def test_system_field(cases: Path, chat: Any) -> None:
    path = cases / "llamafactory-fields-sharegpt_sys.jsonl"
    assert all(whole.startswith("<|im_start|>system\nSYSTEM WORDS<|im_end|>\n") for whole, _ in rows(path, chat()))
    assert all(example.text.startswith("### System:\nSYSTEM WORDS\n\n### User:\nHi") for example in read(path).train)


def test_conversational_prompt_and_completion(cases: Path, chat: Any, write: Any) -> None:
    path = cases / "trl-conversational-trl_pc_uni.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    same = write("d.jsonl", [{"messages": record["prompt"] + record["completion"]} for record in records])
    for tokenizer in (chat(), None):
        assert read(path, tokenizer).train == read(same, tokenizer).train


def test_objects_as_answers(cases: Path, chat: Any) -> None:
    texts = read(cases / "structured-values-objout.jsonl")
    assert {example.segments[1][0] for example in texts.train} == {'{"name": "x", "ok": true, "n": null}'}
    assert any("written as JSON text: output" in note for note in texts.notes)


def test_lone_surrogates(cases: Path) -> None:
    texts = read(cases / "lone-surrogate-surrogate.jsonl")
    assert all("smile \ufffd cut" in example.text for example in texts.train)
    assert any("became U+FFFD: 12 rows" in note for note in texts.notes)


def test_a_template_that_refuses_system_turns(cases: Path, chat: Any) -> None:
    template = "{% for m in messages %}{{ raise_exception('System role not supported') if m.role == 'system' }}"
    template += "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    with pytest.raises(DataError, match=r"record 1 of template-refuses-sys\.jsonl.*System role not supported"):
        read(cases / "template-refuses-sys.jsonl", chat(template))


def test_byte_order_mark(cases: Path) -> None:
    texts = read(cases / "bom-bom.jsonl")
    everything = [example.text for example in texts.train + texts.valid + texts.test]
    assert sorted(everything) == sorted(f"line {number} of the log" for number in range(12))
