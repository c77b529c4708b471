"""Cutting rows into windows so that every token is scored exactly once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from qpeft.errors import ConfigError


class TokenRow(Protocol):
    """Anything with token ids and, for each, whether predicting it counts (`qpeft.data.Row`)."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""

    @property
    def counts(self) -> list[bool]:
        """For each token, whether predicting it counts."""


@dataclass(frozen=True)
class Window:
    """Tokens start to end of a row, of which those from `scored` on are scored.

    Attributes:
        row: index of the row.
        start: first token the model reads.
        scored: first token that is scored; at least one token before it is read.
        end: one past the last token.
    """

    row: int
    start: int
    scored: int
    end: int


def cut_windows(rows: Sequence[TokenRow], max_length: int, stride: int) -> list[Window]:
    """Windows of at most max_length tokens that score every token but the first of each row exactly once.

    The first window of a row is its first max_length tokens. Each later one scores the next `stride` tokens
    and reads as many tokens before them as fit, so every token after the first window is predicted from at
    least max_length - stride tokens.

    Args:
        rows: the rows.
        max_length: tokens a window.
        stride: new tokens a window after the first, 1 to max_length - 1.

    Returns:
        The windows in row order; rows of fewer than two tokens have none.

    Raises:
        ConfigError: for a stride that leaves no context.

    >>> from types import SimpleNamespace
    >>> [(w.start, w.scored, w.end) for w in cut_windows([SimpleNamespace(ids=[0] * 10)], 6, 3)]
    [(0, 1, 6), (3, 6, 9), (4, 9, 10)]
    """
    if not 1 <= stride < max_length:
        raise ConfigError(
            f"stride must be 1 to max_length - 1 = {max_length - 1} so that there is context; got {stride}"
        )
    windows = []
    for place, row in enumerate(rows):
        length = len(row.ids)
        end = min(max_length, length)
        if end > 1:
            windows.append(Window(place, 0, 1, end))
        while end < length:
            scored, end = end, min(end + stride, length)
            windows.append(Window(place, end - max_length, scored, end))
    return windows
