"""Tokenised rows: ids, and for each token whether its loss counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Any, Literal

from qpeft.data.examples import Example, Texts
from qpeft.data.templates import closers
from qpeft.errors import DataError
from qpeft.records.spec import DataSpec


@dataclass(frozen=True)
class Row:
    """One tokenised text.

    Attributes:
        ids: token ids, the end token last unless the row was cut.
        counts: for each token, whether predicting it counts; the first token is never predicted.
    """

    ids: list[int]
    counts: list[bool]

    @property
    def labels(self) -> int:
        """How many tokens of the row are predicted and count."""
        return sum(self.counts[1:])


@dataclass(frozen=True)
class Encoded:
    """The rows of all splits.

    Attributes:
        train: rows of at most max_length tokens.
        valid: rows, uncut in the layout 'rows' (perplexity scores all of a long row through windows).
        test: as valid.
        truncated: training rows that were cut to max_length.
        dropped: training rows left out because no counted token was left in them.
        fingerprint: sha256 of all rows.
        unended: training rows that were cut within the answer, so that its end is not learned.
    """

    train: list[Row]
    valid: list[Row]
    test: list[Row]
    truncated: int
    dropped: int
    fingerprint: str
    unended: int = 0

    def notes(self, max_length: int) -> list[str]:
        """What cutting took from the training rows; empty where it took nothing."""
        rows = len(self.train) + self.dropped
        cut = f"{self.truncated:,} of {rows:,} training rows were cut to data.max_length={max_length} tokens"
        parts = [f"{self.unended:,} answers or texts lost their end"] if self.unended else []
        parts += [f"{self.dropped:,} rows were left out, since nothing in them counts"] if self.dropped else []
        return ["; ".join([cut, *parts])] if self.truncated or self.dropped else []


def encode(examples: Sequence[Example], tokenizer: Any, end_token: Literal["count", "ignore"] = "count") -> list[Row]:
    """Tokenise examples and append the end token, which counts where the text's last words do.

    What a chat template wrote gets no start token, and an end token only where it has none that closes its last turn.

    The segments are joined before they are tokenised, as the model will read them; a token counts if its last
    character lies in a counted segment.

    Args:
        examples: the texts.
        tokenizer: a fast transformers tokenizer with an end token.
        end_token: ``ignore``: it does not count after a plain text, of which everything else does.

    Returns:
        One row an example.

    Raises:
        DataError: where the tokenizer has no end token, or cannot tell which characters a token covers.
    """
    if tokenizer.eos_token_id is None:
        raise DataError("the tokenizer must have an end token; it has none. Set tokenizer.eos_token")
    mixed = any(not counts for example in examples for _, counts in example.segments)
    if mixed and not tokenizer.is_fast:
        raise DataError(
            "prompts are left out of the loss by character offsets, which needs a fast tokenizer; got a slow one"
        )
    if not examples:
        return []
    parts = {whole: [e for e in examples if e.whole == whole] for whole in (False, True)}
    rows = {whole: iter(_rows(part, tokenizer, mixed)) for whole, part in parts.items() if part}
    found = [next(rows[example.whole]) for example in examples]
    if end_token == "count":
        return found
    plain = [not e.whole and all(counts for _, counts in e.segments) for e in examples]
    return [_without_end(row, bare) for row, bare in zip(found, plain, strict=True)]


def _rows(examples: Sequence[Example], tokenizer: Any, mixed: bool) -> list[Row]:
    """Rows of examples that are all whole, or all not."""
    texts = [example.text for example in examples]
    bare = {"add_special_tokens": False} if examples[0].whole else {}
    ends = {*closers(tokenizer)} if examples[0].whole else {tokenizer.eos_token_id}
    # verbose=False: rows longer than the model's context are cut or windowed later.
    coded = tokenizer(texts, return_attention_mask=False, return_offsets_mapping=mixed, verbose=False, **bare)
    spans = coded["offset_mapping"] if mixed else [None] * len(texts)
    rows = zip(examples, coded["input_ids"], spans, strict=True)
    return [_row(example, ids, span, tokenizer, ends) for example, ids, span in rows]


def _without_end(row: Row, plain: bool) -> Row:
    return Row(row.ids, [*row.counts[:-1], False]) if plain else row


def _row(example: Example, ids: list[int], spans: list[tuple[int, int]] | None, tokenizer: Any, ends: set[int]) -> Row:
    if spans is None:
        counts = [True] * len(ids)
    else:
        flags = [*chain.from_iterable([counts] * len(text) for text, counts in example.segments)]
        counts = [end > start and flags[end - 1] for start, end in spans]
    learned = not example.segments or example.segments[-1][1]
    # A text may hold the start token itself, and the tokenizer adds a second one.
    if len(ids) > 1 and ids[0] == ids[1] == tokenizer.bos_token_id and example.text.startswith(tokenizer.bos_token):
        ids, counts = ids[1:], counts[1:]
    if ids and ids[-1] in ends:
        return Row([*ids], [*counts[:-1], learned])
    return Row([*ids, tokenizer.eos_token_id], [*counts, learned])


def truncate(rows: Sequence[Row], max_length: int) -> list[Row]:
    """The first max_length tokens of every row.

    >>> truncate([Row([5, 6, 7, 0], [True] * 4)], 3)
    [Row(ids=[5, 6, 7], counts=[True, True, True])]
    """
    return [Row(row.ids[:max_length], row.counts[:max_length]) for row in rows]


def pack(rows: Sequence[Row], max_length: int) -> list[Row]:
    """All rows in a row, cut every max_length tokens; a last piece of one token is left out.

    >>> [row.ids for row in pack([Row([5, 6, 0], [True] * 3), Row([7, 0], [True] * 2)], 2)]
    [[5, 6], [0, 7]]
    """
    ids = [*chain.from_iterable(row.ids for row in rows)]
    counts = [*chain.from_iterable(row.counts for row in rows)]
    starts = range(0, len(ids) - 1, max_length)
    return [Row(ids[at : at + max_length], counts[at : at + max_length]) for at in starts]


def fingerprint(*splits: Sequence[Row]) -> str:
    """The sha256 of tokenised rows: equal exactly where ids, counts and their division are equal.

    >>> fingerprint([Row([1, 2], [True, True])]) == fingerprint([Row([1, 2], [True, False])])
    False
    """
    total = sha256()
    for rows in splits:
        total.update(f"split:{len(rows)}\n".encode())
        for row in rows:
            flags = "".join("1" if counts else "0" for counts in row.counts)
            total.update(f"{','.join(map(str, row.ids))}:{flags}\n".encode())
    return total.hexdigest()


def encode_texts(texts: Texts, tokenizer: Any, spec: DataSpec) -> Encoded:
    """All splits of texts as rows, laid out as the DataSpec says.

    Args:
        texts: from `load_texts`.
        tokenizer: a fast transformers tokenizer with an end token.
        spec: layout, loss, max_length and end_token are used.

    Returns:
        Rows. Layout 'rows': one a text, training rows cut to max_length tokens. Layout 'packed': every split
        concatenated and cut to max_length tokens.

    Raises:
        DataError: where no training row has a counted token left.
    """
    train, valid, test = (encode(part, tokenizer, spec.end_token) for part in (texts.train, texts.valid, texts.test))
    if spec.layout == "packed":
        train, valid, test = (pack(rows, spec.max_length) for rows in (train, valid, test))
    long = [len(row.ids) > spec.max_length for row in train]
    ends = [cut and row.counts[-1] for cut, row in zip(long, train, strict=True)]
    train = truncate(train, spec.max_length)
    keep = [spec.loss == "padded" or row.labels > 0 for row in train]
    unended = sum(end and kept for end, kept in zip(ends, keep, strict=True))
    # Without a label the masked loss of a batch can be 0/0; the padded loss counts every position anyway.
    kept = [row for row, wanted in zip(train, keep, strict=True) if wanted]
    if not kept:
        raise DataError(
            f"no training row has a counted token within data.max_length={spec.max_length} tokens; "
            "raise data.max_length, or check which fields are prompt and which answer"
        )
    return Encoded(kept, valid, test, sum(long), len(train) - len(kept), fingerprint(kept, valid, test), unended)
