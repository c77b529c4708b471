"""Chat templates: what counts, the end token, what a template leaves out; transformers and TRL are the judges."""

from pathlib import Path
from typing import Any

import pytest

from qpeft.data.formats import to_example
from qpeft.data.rows import Row, encode
from qpeft.data.templates import chat_turns, plain_turns
from qpeft.data.told import UNANSWERED, Told
from qpeft.data.turns import Chat, Turn
from qpeft.errors import DataError

CHAT: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tide?"}]
CHAT += [{"role": "assistant", "content": "High."}, {"role": "user", "content": "And now?"}]
CHAT += [{"role": "assistant", "content": "Low."}]
TOOLS = [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "tide", "arguments": {}}}]}


def row_of(record: Any, tokenizer: Any, told: Told | None = None) -> Row:
    (row,) = encode([to_example(record, render=chat_turns(tokenizer), told=told)[0]], tokenizer)
    return row


def counted(row: Row, tokenizer: Any) -> str:
    return str(tokenizer.decode([token for token, counts in zip(row.ids, row.counts, strict=True) if counts]))


def test_rows_are_transformers_own_and_end_with_one_end_token(chat: Any) -> None:
    tokenizer = chat()
    row = row_of({"messages": CHAT}, tokenizer)
    theirs = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    assert row.ids == theirs["input_ids"][: len(row.ids)]
    assert tokenizer.decode(theirs["input_ids"][len(row.ids) :]) == "\n"
    assert row.counts == [bool(mark) for mark in theirs["assistant_masks"][: len(row.ids)]]
    assert row.ids[-1] == tokenizer.eos_token_id
    assert counted(row, tokenizer) == "High.<|im_end|>Low.<|im_end|>"


def peers_template(name: str) -> str:
    trl = pytest.importorskip("trl")
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text("utf-8")


@pytest.mark.parametrize("name", ["qwen2_5_training", "qwen3_training", "cohere_training", "llama3_training"])
def test_models_templates_against_their_marks(chat: Any, name: str) -> None:
    tokenizer = chat(peers_template(name))
    tokenizer.add_tokens(["<|eot_id|>", "<|END_OF_TURN_TOKEN|>", "<|start_header_id|>"], special_tokens=True)
    row = row_of({"messages": CHAT}, tokenizer)
    theirs = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    assert row.ids == theirs["input_ids"][: len(row.ids)]
    # Some marks take in the line's end before and after the answer: the prompt ends with it, or nothing follows it.
    differ = [t for t, a, b in zip(row.ids, row.counts, theirs["assistant_masks"], strict=False) if a != bool(b)]
    assert not tokenizer.decode(differ).strip()
    assert row.counts[-1]


def test_a_template_that_writes_the_last_answer_in_another_way(chat: Any) -> None:
    tokenizer = chat(peers_template("qwen3"))
    row = row_of({"messages": CHAT}, tokenizer)
    assert row.ids == tokenizer.apply_chat_template(CHAT, return_dict=False)[: len(row.ids)]
    assert counted(row, tokenizer) == "High.<|im_end|><think>\n\n</think>\n\nLow.<|im_end|>"


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning")
def test_prompt_and_completion_are_trls(chat: Any, tmp_path: Path) -> None:
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    from tiny_models import tiny_llama

    tokenizer = chat()
    records = [{"prompt": CHAT[1:2], "completion": CHAT[2:3]}, {"prompt": CHAT[:4], "completion": CHAT[4:]}]
    settings = trl.SFTConfig(str(tmp_path), max_length=None, report_to="none", use_cpu=True, bf16=False)
    data = datasets.Dataset.from_list(records)
    trainer = trl.SFTTrainer(tiny_llama(len(tokenizer)), settings, train_dataset=data, processing_class=tokenizer)
    for record, theirs in zip(records, trainer.train_dataset, strict=True):
        row = row_of(record, tokenizer)
        assert row.ids == theirs["input_ids"][: len(row.ids)]
        assert row.counts == [label != -100 for label in theirs["labels"][: len(row.ids)]]
        assert tokenizer.decode(theirs["input_ids"][len(row.ids) :]) == "\n"


def test_instructions_and_prompts_are_turns(chat: Any) -> None:
    tokenizer = chat()
    as_turns = row_of({"messages": CHAT[1:3]}, tokenizer)
    assert row_of({"prompt": "Tide?", "completion": "High."}, tokenizer) == as_turns
    assert row_of({"instruction": "Tide?", "input": "", "output": "High."}, tokenizer) == as_turns
    with_all = {"instruction": "And", "input": "now?", "output": "Low.", "system": "Be brief."}
    asked = [CHAT[0], CHAT[1], CHAT[2], {"role": "user", "content": "And\n\nnow?"}, CHAT[4]]
    assert row_of({**with_all, "history": [["Tide?", "High."]]}, tokenizer) == row_of({"messages": asked}, tokenizer)


def test_weights_keep_the_text_and_take_the_turn_out_of_the_loss(chat: Any) -> None:
    tokenizer = chat()
    plain = row_of({"messages": CHAT}, tokenizer)
    first, last = ([*CHAT[:2], {**CHAT[2], "weight": 0}, *CHAT[3:]], [*CHAT[:4], {**CHAT[4], "train": False}])
    for turns, left in ((first, "Low.<|im_end|>"), (last, "High.<|im_end|>")):
        row = row_of({"messages": turns}, tokenizer)
        assert row.ids == plain.ids
        assert counted(row, tokenizer) == left


def test_tools_and_calls_are_written_as_the_template_writes_them(chat: Any) -> None:
    tokenizer = chat()
    turns = [CHAT[1], CALL, {"role": "tool", "content": {"high": True}}, CHAT[2]]
    row = row_of({"messages": turns, "tools": TOOLS}, tokenizer)
    theirs = [*turns[:1], {**CALL, "content": ""}, {"role": "tool", "content": '{"high": true}'}, CHAT[2]]
    whole = tokenizer.apply_chat_template(theirs, tools=TOOLS, return_dict=False)
    assert row.ids == whole[: len(row.ids)]
    assert counted(row, tokenizer) == '<call>{"name": "tide", "arguments": {}}</call><|im_end|>High.<|im_end|>'


def only(template: str) -> str:
    """ChatML of which the middle is given."""
    prompt = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    return "{% for m in messages %}" + template + "{% endfor %}" + prompt


TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"


@pytest.mark.parametrize(
    ("template", "record", "message"),
    [
        (only(TURN), {"messages": CHAT, "tools": TOOLS}, "does not write tools"),
        (only(TURN), {"messages": [CHAT[1], CALL]}, "does not write the call of a tool in turn 2"),
        (
            only("{% if m.role != 'system' %}" + TURN + "{% endif %}"),
            {"messages": CHAT},
            r"leaves out .* turn 1 \(system",
        ),
        (
            only("{{ raise_exception('no system here') if m.role == 'system' }}" + TURN),
            {"messages": CHAT},
            "no system",
        ),
        (only("{{ messages | length }}" + TURN.replace("<|im_end|>", "")), {"messages": CHAT}, "it rewrites them"),
        (only("{{ nothing.at.all }}" + TURN), {"messages": CHAT}, "refuses the conversation.*undefined"),
    ],
)
def test_what_a_template_does_not_write_is_refused(chat: Any, template: str, record: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        row_of(record, chat(template))


def test_names_a_template_does_not_write_are_told(chat: Any) -> None:
    told = Told()
    row_of({"messages": [{**CHAT[1], "name": "Ann"}, CHAT[2], CHAT[3]]}, chat(), told)
    assert told.lines("d") == [f"d: {UNANSWERED}: 1 row", "d: fields of turns not read: name (1 row)"]


def test_a_turn_may_close_with_a_token_of_its_own(chat: Any, tokenizer: Any) -> None:
    other = chat(only(TURN), end=tokenizer.eos_token)
    row = row_of({"messages": CHAT[1:3]}, other)
    assert other.decode(row.ids[-1:]) == "<|im_end|>"
    assert other.eos_token_id not in row.ids
    heads = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    heads += "{% if add_generation_prompt %}assistant: {% endif %}"
    bare = row_of({"messages": CHAT[1:3]}, chat(heads, end=tokenizer.eos_token))
    assert bare.ids.count(tokenizer.eos_token_id) == 1
    assert bare.ids[-1] == tokenizer.eos_token_id


def test_without_an_answer_there_is_nothing_to_learn(chat: Any) -> None:
    asked = Chat((Turn("user", "Tide?"),))
    assert plain_turns(asked, Told()).empty
    assert chat_turns(chat())(asked, Told()).empty
    silent = {"messages": [CHAT[1], {"role": "assistant", "content": ""}]}
    assert to_example(silent, render=chat_turns(chat()))[0].empty
