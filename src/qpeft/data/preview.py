"""A look at the data before any training: each token and whether its loss counts, and the shares that decide it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from qpeft.data.load import load_texts
from qpeft.data.rows import Row, encode_texts
from qpeft.records.spec import DataSpec

_COUNTED, _NOT_COUNTED = "bold green", "dim"


@dataclass(frozen=True)
class SplitCounts:
    """Counts of one split.

    Attributes:
        rows: rows.
        tokens: tokens, end tokens included.
        counted: tokens that are predicted and count in the loss, without padding.
        share_counted: counted tokens among all predicted ones, in [0, 1].
        share_padding: padding among all positions if every row were padded to max_length, in [0, 1].
    """

    rows: int
    tokens: int
    counted: int
    share_counted: float
    share_padding: float


@dataclass(frozen=True)
class Preview:
    """What `preview` found.

    Attributes:
        source: the name of the data.
        format: the layout that was read.
        loss: masked or padded.
        max_length: tokens a row.
        rows: the first training rows, each as (token text, counts in the loss).
        splits: counts of train, valid and test.
        truncated: training rows cut to max_length.
        dropped: training rows left out because nothing in them counts.
        notes: what was not read, replaced, left out or cut.
    """

    source: str
    format: str
    loss: str
    max_length: int
    rows: list[list[tuple[str, bool]]]
    splits: dict[str, SplitCounts]
    truncated: int
    dropped: int
    notes: tuple[str, ...] = ()

    def plain(self) -> str:
        """The preview without colours: [token] counts, token does not."""
        lines = ["".join(f"[{token}]" if counts else token for token, counts in row) for row in self.rows]
        return "\n\n".join([self._heading("[token]"), *lines, self._summary()])

    def rich(self) -> Text:
        """The preview in colours: green counts, grey does not."""
        text = Text(self._heading("green"))
        for row in self.rows:
            text.append("\n\n")
            for token, counts in row:
                text.append(token, style=_COUNTED if counts else _NOT_COUNTED)
        return text.append("\n\n" + self._summary())

    def _heading(self, mark: str) -> str:
        return f"{self.source} read as {self.format}; {mark} counts in the loss, the rest does not"

    def _summary(self) -> str:
        lines = [
            f"{name}: {part.rows:,} rows, {part.tokens:,} tokens, {part.counted:,} counted "
            f"({part.share_counted:.1%} of the predicted ones), "
            f"{part.share_padding:.1%} padding at {self.max_length} tokens a row"
            for name, part in self.splits.items()
        ]
        if self.loss == "padded":
            lines.append("loss 'padded': padding counts too, as the QPA authors do")
        return "\n".join([*lines, *self.notes])


def preview(spec: DataSpec, tokenizer: Any, rows: int = 3) -> Preview:
    """Read and tokenise the data of a DataSpec and say what counts in the loss.

    Args:
        spec: the data.
        tokenizer: a fast transformers tokenizer with an end token.
        rows: how many training rows to keep token by token.

    Returns:
        A Preview; print it with `show`.

    Raises:
        DataError: where the data cannot be read.
    """
    texts = load_texts(spec, tokenizer)
    encoded = encode_texts(texts, tokenizer, spec)
    splits = {"train": encoded.train, "valid": encoded.valid, "test": encoded.test}
    return Preview(
        source=texts.source,
        format=texts.format,
        loss=spec.loss,
        max_length=spec.max_length,
        rows=[_marked(row, tokenizer, spec.loss) for row in encoded.train[:rows]],
        splits={name: _count(part, spec) for name, part in splits.items()},
        truncated=encoded.truncated,
        dropped=encoded.dropped,
        notes=(*texts.notes, *encoded.notes(spec.max_length)),
    )


def show(seen: Preview, console: Console | None = None) -> None:
    """Print a preview: in colours on a terminal that has them, as [token] elsewhere and under NO_COLOR."""
    out = console or Console()
    coloured = out.color_system is not None and not out.no_color
    out.print(seen.rich() if coloured else Text(seen.plain()), soft_wrap=True)


def _flags(row: Row, loss: str) -> list[bool]:
    # The first token has nothing before it to be predicted from.
    return [place > 0 and (counts or loss == "padded") for place, counts in enumerate(row.counts)]


def _marked(row: Row, tokenizer: Any, loss: str) -> list[tuple[str, bool]]:
    # A sign makes a newline visible; a token that is part of a character shows as a replacement sign.
    words = [tokenizer.decode([token]).replace("\n", "↵\n") for token in row.ids]
    return list(zip(words, _flags(row, loss), strict=True))


def _count(rows: Sequence[Row], spec: DataSpec) -> SplitCounts:
    tokens = sum(len(row.ids) for row in rows)
    counted = sum(sum(_flags(row, spec.loss)) for row in rows)
    filled = sum(min(len(row.ids), spec.max_length) for row in rows)
    return SplitCounts(
        rows=len(rows),
        tokens=tokens,
        counted=counted,
        share_counted=counted / max(1, tokens - len(rows)),
        share_padding=1 - filled / max(1, len(rows) * spec.max_length),
    )
