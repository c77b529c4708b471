"""Every source: embedded, folders, files, the hub; and the seeded split."""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpeft.assets.texts import demo_texts
from qpeft.data.examples import Example
from qpeft.data.load import load_texts
from qpeft.data.split import carve
from qpeft.errors import ConfigError, DataError
from qpeft.records.spec import DataSpec

LINES = [f"line number {i}" for i in range(60)]


def words(examples: list[Example]) -> list[str]:
    return [example.text for example in examples]


def test_embedded_texts() -> None:
    texts = load_texts(DataSpec())
    assert words(texts.train) == demo_texts("train")
    assert words(texts.test) == demo_texts("test")
    assert (texts.source, texts.format) == ("embedded", "text")


@pytest.mark.parametrize(
    "names", ["train.txt valid.txt test.txt", "wiki.train.tokens wiki.valid.tokens wiki.test.tokens"]
)
def test_wikitext_folder_keeps_lines_as_they_are(write: Any, tmp_path: Path, names: str) -> None:
    for place, name in enumerate(names.split()):
        write(name, f" = Heading {place} = \n \n The @-@ text , <unk> \x0c .\n")
    texts = load_texts(DataSpec(name=str(tmp_path)))
    assert words(texts.train) == [" = Heading 0 = ", " The @-@ text , <unk> \x0c ."]
    assert words(texts.valid)[0] == " = Heading 1 = "
    kept = load_texts(DataSpec(name=str(tmp_path), drop_empty=False))
    assert words(kept.test) == [" = Heading 2 = ", "", " The @-@ text , <unk> \x0c ."]
    assert texts.source == tmp_path.name


def test_validation_is_a_name_of_valid_and_shards_are_joined(write: Any, tmp_path: Path) -> None:
    write("train-00000-of-00002.jsonl", [{"text": "a"}])
    write("train-00001-of-00002.jsonl", [{"text": "b"}])
    write("validation.jsonl", [{"text": "c"}])
    write("test.json", {"data": [{"text": "d"}]})
    texts = load_texts(DataSpec(name=str(tmp_path)))
    assert [words(part) for part in (texts.train, texts.valid, texts.test)] == [["a", "b"], ["c"], ["d"]]


def write_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["prompt", "completion"])
        table.writerows([[f"say {line}", f'"{line}",\nyes'] for line in LINES])


def write_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"prompt": [f"say {line}" for line in LINES], "completion": LINES})
    pytest.importorskip("pyarrow.parquet").write_table(table, path)


@pytest.mark.parametrize(("name", "writer"), [("d.csv", write_csv), ("d.parquet", write_parquet)])
def test_tables(tmp_path: Path, name: str, writer: Any) -> None:
    writer(tmp_path / name)
    texts = load_texts(DataSpec(name=str(tmp_path / name)))
    assert texts.format == "prompt_completion"
    examples = texts.train + texts.valid + texts.test
    assert {example.segments[0][0] for example in examples} == {f"say {line}" for line in LINES}
    assert all("number" in example.segments[1][0] for example in examples)


def test_one_file_is_split_by_seed(write: Any) -> None:
    path = write("d.jsonl", [{"text": line} for line in LINES])
    texts = load_texts(DataSpec(name=str(path)))
    assert (len(texts.train), len(texts.valid), len(texts.test)) == (54, 3, 3)
    assert sorted(words(texts.train + texts.valid + texts.test)) == sorted(LINES)
    assert load_texts(DataSpec(name=str(path))) == texts
    assert load_texts(DataSpec(name=str(path), seed=1)).sha256 != texts.sha256


def test_folder_without_valid_keeps_its_test(write: Any, tmp_path: Path) -> None:
    write("train.jsonl", [{"question": line, "answer": "yes"} for line in LINES])
    write("test.jsonl", [{"question": "held", "answer": "out"}])
    texts = load_texts(DataSpec(name=str(tmp_path)))
    assert (len(texts.train), len(texts.valid), words(texts.test)) == (57, 3, ["held\nout"])


def test_first_rows_are_taken_after_empty_ones_are_left_out(write: Any, tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write(f"{split}.txt", "\na\n\nb\nc\n")
    texts = load_texts(DataSpec(name=str(tmp_path), train_rows=2, eval_rows=1))
    assert (words(texts.train), words(texts.valid), words(texts.test)) == (["a", "b"], ["a"], ["a"])


@given(st.lists(st.integers(0, 30), min_size=40, max_size=120), st.integers(0, 5))
def test_no_held_out_text_occurs_in_training(numbers: list[int], seed: int) -> None:
    examples = [Example(((f"text {number}", True),)) for number in numbers]
    try:
        parts = carve(examples, ["valid", "test"], seed)
    except DataError:
        return  # everything held out was a repetition
    train, valid, test = (set(words(parts[name])) for name in ("train", "valid", "test"))
    assert not train & (valid | test)
    assert not valid & test


def test_lines_of_one_document_stay_together() -> None:
    lines = [f"document {d} line {i}" if i < 4 else "" for d in range(40) for i in range(5)]
    parts = carve([Example(((line, True),)) for line in lines], ["valid", "test"], 0)
    homes = [{e.text.split()[1] for e in part if e.text} for part in parts.values()]
    assert [len(home) for home in homes] == [36, 2, 2]
    assert not homes[0] & homes[1]
    assert not homes[0] & homes[2]


def test_too_few_or_only_repeated_texts_cannot_be_split() -> None:
    with pytest.raises(DataError, match="at least 3 examples are needed to make valid, test; got 2"):
        carve([Example((("a", True),))] * 2, ["valid", "test"], 0)
    with pytest.raises(DataError, match="all of them also occur in train"):
        carve([Example((("a", True),))] * 50, ["valid"], 0)


def test_what_holds_nothing_is_never_held_out() -> None:
    rows = [Example((("ask", False), (f"say {i}" if i % 2 else "", True))) for i in range(40)]
    parts = carve(rows, ["valid", "test"], 0)
    assert [sum(not example.empty for example in part) for part in parts.values()] == [18, 1, 1]
    assert not any(example.empty for example in parts["valid"] + parts["test"])
    # The others fall where they would fall if the empty ones said something.
    everything = [Example((("ask", False), (f"say {i}", True))) for i in range(40)]
    drawn = [part[0] for part in carve(everything, ["valid"], 0).values()]
    assert drawn[0] in everything
    blank = Example((("", True),))
    lines = [e for d in range(30) for e in (Example(((f"text {d}", True),)), *[blank] * 4)]
    held = carve(lines, ["valid", "test"], 0)
    assert [sum(not e.empty for e in part) for part in held.values()] == [26, 2, 2]


def test_empty_answers_leave_before_a_split_is_made_and_it_is_told(write: Any) -> None:
    rows = [{"prompt": f"ask {i}", "completion": "yes" if i < 10 else " "} for i in range(100)]
    texts = load_texts(DataSpec(name=str(write("d.jsonl", rows))))
    assert [len(part) for part in (texts.train, texts.valid, texts.test)] == [8, 1, 1]
    assert texts.notes == ("d.jsonl: rows without anything to learn left out: 90 rows",)


def test_columns_of_ones_own(write: Any) -> None:
    rows = [{"frage": f"ask {i}", "antwort": f"say {i}", "prompt": "x", "id": i} for i in range(40)]
    path = str(write("d.jsonl", rows))
    spec = DataSpec(name=path, columns={"prompt": "frage", "completion": "antwort"})
    texts = load_texts(spec)
    assert texts.format == "prompt_completion"
    assert {tuple(text[:3] for text, _ in example.segments) for example in texts.train} == {("ask", "say")}
    assert texts.notes == ("d.jsonl: fields not read: prompt (its own) (40 rows), id (40 rows)",)
    with pytest.raises(DataError, match=r"asks for 'fragen' as prompt; .*antwort, frage, id, prompt; nearest: frage"):
        load_texts(spec.model_copy(update={"columns": {"prompt": "fragen"}}))
    with pytest.raises(ConfigError, match=r"a name in data.columns must be one of .*; got 'promt'; nearest: prompt"):
        load_texts(spec.model_copy(update={"columns": {"promt": "frage"}}))
    with pytest.raises(DataError, match="lines of text, which have no columns"):
        load_texts(DataSpec(name=str(write("d.txt", "a\n")), columns={"text": "zeile"}))


def test_a_chat_models_template_is_used_for_instructions_and_told(write: Any, chat: Any) -> None:
    rows = [{"instruction": f"ask {i}", "output": "yes"} for i in range(10)]
    path = str(write("d.json", rows))
    texts = load_texts(DataSpec(name=path), chat())
    assert texts.format == "alpaca by chat template"
    assert texts.train[0].text.endswith("<|im_start|>assistant\nyes<|im_end|>")
    assert "data.template: plain keeps plain headings" in texts.notes[0]
    plain = load_texts(DataSpec(name=path, template="plain"), chat())
    assert plain == load_texts(DataSpec(name=path))
    with pytest.raises(DataError, match="'chat' needs a tokenizer with a chat template"):
        load_texts(DataSpec(name=path, template="chat"))


def test_an_incomplete_folder(write: Any, tmp_path: Path) -> None:
    write("train-00000-of-00003.jsonl", [{"text": "a"}])
    write("train-00002-of-00003.jsonl", [{"text": "b"}])
    with pytest.raises(DataError, match="must hold all 3 shards of train; it holds"):
        load_texts(DataSpec(name=str(tmp_path)))


def test_files_beside_the_splits_are_told(write: Any, tmp_path: Path) -> None:
    for name in ("train", "valid", "test", "extra"):
        write(f"{name}.jsonl", [{"text": name}])
    assert load_texts(DataSpec(name=str(tmp_path))).notes == (f"{tmp_path.name}: files not read: extra.jsonl",)


class Hub:
    """A stand-in for the datasets library."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, ()

    def load_dataset(self, *asked: Any) -> Any:
        self.asked = asked
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def fake_hub(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Hub:
    hub = Hub(answer)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    return hub


def test_hub_name_with_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"train": [{"text": " a\n"}], "validation": [{"text": "b"}], "test": [{"text": "c"}], "extra": []}
    hub = fake_hub(monkeypatch, answer)
    texts = load_texts(DataSpec(name="someone/words:small"))
    assert hub.asked == ("someone/words", "small")
    assert [words(part) for part in (texts.train, texts.valid, texts.test)] == [[" a"], ["b"], ["c"]]
    assert texts.source == "someone/words:small"


def test_hub_failure_says_what_was_tried_and_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, ConnectionError("no network"))
    with pytest.raises(
        DataError, match=r"load_dataset\('someone/words', None\): ConnectionError: no network.*'embedded'"
    ):
        load_texts(DataSpec(name="someone/words"))
    fake_hub(monkeypatch, {"test": []})
    with pytest.raises(DataError, match="must have a train split; it has test"):
        load_texts(DataSpec(name="someone/words"))


def test_the_real_library_offers_the_call_we_make() -> None:
    assert callable(pytest.importorskip("datasets").load_dataset)


@pytest.mark.parametrize("name", ["missing.jsonl", "./missing", "a/b/c"])
def test_a_missing_path_is_not_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    hub = fake_hub(monkeypatch, AssertionError("asked the hub"))
    with pytest.raises(DataError, match=f"there is no '{name}'"):
        load_texts(DataSpec(name=name))
    assert hub.asked == ()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.xml", "<a/>", r"suffix of d.xml must be one of \.txt"),
        ("d.jsonl", '{"text": "a"}\n{"text": \n', "line 2 of d.jsonl must be one JSON object"),
        ("d.json", '{"text": "a"}\n{"text": "b"}', "name it .jsonl"),
        ("d.json", '{"text": "a"}', "must hold a list of records; got dict"),
        ("d.json", "[1, 2]", "must be an object or a string; got 1"),
        ("d.csv", 'text\n"a', "d.csv must be a table"),
        ("d.json", '[{"body": "a"}]', "record 1 of d.json, train: a record must have the fields"),
        ("d.parquet", "no parquet", "d.parquet must be a Parquet file"),
    ],
)
def test_faulty_files(write: Any, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_texts(DataSpec(name=str(write(name, content))))


def test_wrong_encoding(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(DataError, match=r"d.txt must be UTF-8 text; byte 0"):
        load_texts(DataSpec(name=str(tmp_path / "d.txt")))


def test_faulty_folders(write: Any, tmp_path: Path) -> None:
    write("notes.md", "x")
    with pytest.raises(DataError, match=r"must hold a train file.*it holds notes.md"):
        load_texts(DataSpec(name=str(tmp_path)))
    write("train.txt", "x\n")
    write("train.jsonl", [{"text": "x"}])
    with pytest.raises(DataError, match=r"must hold one train file; it holds train.jsonl, train.txt"):
        load_texts(DataSpec(name=str(tmp_path)))


def test_a_split_without_text_is_refused(write: Any, tmp_path: Path) -> None:
    for split, text in (("train", "x\n"), ("valid", "\n\n"), ("test", "x\n")):
        write(f"{split}.txt", text)
    with pytest.raises(DataError, match=r"the valid split .* must have an example with text"):
        load_texts(DataSpec(name=str(tmp_path)))


def test_chat_template_of_the_tokenizer_is_named_in_the_format(write: Any) -> None:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    records = [{"messages": [*chat, {"role": "user", "content": str(i)}, chat[1]]} for i in range(5)]
    path = str(write("d.json", records))
    assert load_texts(DataSpec(name=path)).format == "messages"

    def template(messages: Any, tokenize: bool, add_generation_prompt: bool) -> str:
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>" * add_generation_prompt

    none = dict.fromkeys(["eos_token_id", "eos_token", "bos_token_id", "pad_token_id", "unk_token_id"])
    double = SimpleNamespace(chat_template="x", apply_chat_template=template, added_tokens_decoder={}, **none)
    templated = load_texts(DataSpec(name=path), double)
    assert templated.format == "messages by chat template"
    assert templated.train[0].text.startswith("<user>Hi<assistant>Hello<user>")


def test_wikitext_2_has_its_published_lines(real_data: Path) -> None:
    texts = load_texts(DataSpec(name=str(real_data / "wikitext-2"), drop_empty=False))
    assert (len(texts.train), len(texts.valid), len(texts.test)) == (36718, 3760, 4358)
    assert sum(not example.text for example in texts.test) == 1467
    assert sum(len(example.text.split()) for example in texts.test) == 241211


def test_an_instruction_file(real_data: Path) -> None:
    texts = load_texts(DataSpec(name=str(real_data / "alpaca" / "rasbt_instruction_1100.json")))
    assert texts.format == "alpaca"
    assert (len(texts.train), len(texts.valid), len(texts.test)) == (990, 55, 55)


def test_questions_with_a_test_file_of_their_own(real_data: Path) -> None:
    texts = load_texts(DataSpec(name=str(real_data / "gsm8k")))
    assert texts.format == "prompt_completion"
    assert (len(texts.train) + len(texts.valid), len(texts.test)) == (7473, 1319)
