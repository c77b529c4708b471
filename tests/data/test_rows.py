"""Rows: which tokens count, cutting, packing and fingerprints."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpeft.data.examples import Example, Texts
from qpeft.data.load import load_texts
from qpeft.data.rows import Row, encode, encode_texts, fingerprint, pack
from qpeft.errors import DataError
from qpeft.records.spec import DataSpec
from tiny_models import tiny_tokenizer

QA = Example((("What is the cargo?\n", False), ("lamp oil é", True)))
CHAT = Example((("Hi\n", False), ("Hello", True), ("\nBye\n", False), ("Later", True)))


def texts_of(examples: list[Example]) -> Texts:
    return Texts(examples, examples, examples, "made", "0", "text")


def counted(row: Row, tokenizer: Any) -> str:
    return str(tokenizer.decode([token for token, counts in zip(row.ids, row.counts, strict=True) if counts]))


@pytest.mark.parametrize(("example", "answer"), [(QA, "lamp oil é"), (CHAT, "HelloLater")])
def test_only_answers_and_the_end_token_count(tokenizer: Any, example: Example, answer: str) -> None:
    (row,) = encode([example], tokenizer)
    assert row.ids[:-1] == tokenizer(example.text)["input_ids"]
    assert row.ids[-1] == tokenizer.eos_token_id
    assert counted(row, tokenizer) == answer + tokenizer.eos_token


def test_all_of_a_plain_text_counts(tokenizer: Any) -> None:
    (row,) = encode([Example((("The barque", True),))], tokenizer)
    assert all(row.counts)
    assert row.labels == len(row.ids) - 1


def test_a_token_over_the_border_counts(tokenizer: Any) -> None:
    word = next(token for token in ("ing", "the", "ed") if len(tokenizer(token)["input_ids"]) == 1)
    (row,) = encode([Example(((word[:1], False), (word[1:], True)))], tokenizer)
    assert row.counts == [True, True]


def test_an_end_token_of_the_text_is_not_doubled(tokenizer: Any) -> None:
    (row,) = encode([Example((("Hi" + tokenizer.eos_token, True),))], tokenizer)
    assert row.ids.count(tokenizer.eos_token_id) == 1


def test_an_empty_text_is_one_end_token(tokenizer: Any) -> None:
    rows = encode([Example((("", True),)), QA], tokenizer)
    assert rows[0] == Row([tokenizer.eos_token_id], [True])
    assert rows[0].labels == 0


def test_training_rows_are_cut_and_evaluation_rows_are_not(tokenizer: Any) -> None:
    texts = load_texts(DataSpec(train_rows=6, eval_rows=3))
    encoded = encode_texts(texts, tokenizer, DataSpec(max_length=16))
    assert [len(row.ids) for row in encoded.train] == [16] * 6
    assert encoded.truncated == 6
    assert all(row.ids[-1] == tokenizer.eos_token_id for row in encoded.test)
    assert max(len(row.ids) for row in encoded.test) > 16


@pytest.mark.parametrize(("loss", "kept"), [("masked", 1), ("padded", 2)])
def test_training_rows_with_nothing_to_learn_are_left_out_of_the_masked_loss(
    tokenizer: Any, loss: Any, kept: int
) -> None:
    long_prompt = Example((("word " * 40, False), ("yes", True)))
    encoded = encode_texts(texts_of([long_prompt, QA]), tokenizer, DataSpec(max_length=32, loss=loss))
    assert (len(encoded.train), encoded.dropped, encoded.unended) == (kept, 2 - kept, kept - 1)
    (note,) = encoded.notes(32)
    assert note.startswith("1 of 2 training rows were cut to data.max_length=32 tokens; 1 ")
    assert note.endswith("rows were left out, since nothing in them counts" if kept == 1 else "texts lost their end")
    assert len(encoded.valid) == 2


def test_nothing_left_to_learn_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"counted token within data.max_length=8"):
        encode_texts(texts_of([Example((("word " * 40, False), ("yes", True)))]), tokenizer, DataSpec(max_length=8))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(2, 12))
def test_packing_keeps_every_token_in_order(lengths: list[int], max_length: int) -> None:
    rows = [Row([*range(n)], [n % 2 == 0] * n) for n in lengths]
    packed = pack(rows, max_length)
    ids = [token for row in packed for token in row.ids]
    everything = [token for row in rows for token in row.ids]
    assert everything[: len(ids)] == ids
    assert len(everything) - len(ids) <= 1
    assert all(len(row.ids) == max_length for row in packed[:-1])
    assert all(2 <= len(row.ids) == len(row.counts) <= max_length for row in packed)


def test_packed_layout(tokenizer: Any) -> None:
    texts = load_texts(DataSpec(train_rows=6, eval_rows=3))
    encoded = encode_texts(texts, tokenizer, DataSpec(max_length=16, layout="packed"))
    assert {len(row.ids) for row in encoded.train[:-1]} == {16}
    assert max(len(row.ids) for row in encoded.test) == 16
    assert encoded.truncated == encoded.dropped == 0


def test_fingerprint_sees_ids_flags_and_borders() -> None:
    base = [Row([1, 2], [True, True]), Row([3], [True])]
    others = [[Row([1, 2, 3], [True] * 3)], base[::-1], [Row([12], [True]), base[1]], base[:1]]
    prints = {fingerprint(base), *(fingerprint(rows) for rows in others), fingerprint(base[:1], base[1:])}
    assert len(prints) == 6
    assert fingerprint(base) == fingerprint([Row([*row.ids], [*row.counts]) for row in base])


class Bare:
    """A tokenizer without what rows need."""

    def __init__(self, end: int | None) -> None:
        self.eos_token_id, self.is_fast = end, False


def test_unfit_tokenizers_are_refused() -> None:
    with pytest.raises(DataError, match=r"must have an end token.*Set tokenizer\.eos_token"):
        encode([QA], Bare(None))
    with pytest.raises(DataError, match="fast tokenizer; got a slow one"):
        encode([QA], Bare(0))


def test_a_start_token_of_the_chat_template_is_not_doubled(tokenizer: Any) -> None:
    class Starting:
        eos_token_id, bos_token_id, bos_token, is_fast = 0, 7, "<s>", True

        def __call__(self, texts: list[str], **_: Any) -> dict[str, Any]:
            return {"input_ids": [[7, 7, 9]], "offset_mapping": [[(0, 0), (0, 3), (3, 5)]]}

    assert encode([Example((("<s>", False), ("ab", True)))], Starting()) == [Row([7, 9, 0], [False, True, True])]


def test_the_end_token_of_a_plain_text_can_be_left_out_and_that_of_an_answer_not() -> None:
    plain, chat = Example((("two bells", True),)), Example((("say: ", False), ("two", True)))
    tokenizer = tiny_tokenizer()
    counted, ignored = (encode([plain, chat], tokenizer, way) for way in ("count", "ignore"))
    assert [row.ids for row in counted] == [row.ids for row in ignored]
    assert ignored[0].counts == [*[True] * 9, False]
    assert counted[0].counts == [True] * 10
    assert ignored[1] == counted[1]
    assert ignored[1].counts[-1]


def test_leaving_the_end_token_out_needs_the_masked_loss() -> None:
    with pytest.raises(ValueError, match="end_token 'ignore' needs loss 'masked'"):
        DataSpec(end_token="ignore", loss="padded")
    assert "end_token" not in DataSpec().model_dump()
