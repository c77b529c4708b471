"""Blocks of text: sums of rows, and neighbours joined where they are not independent; numpy alone."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qpeft.errors import DataError

Floats = NDArray[np.float64]
# Fewer blocks than these tell nothing of their dependence, or would leave too few to estimate a variance from.
FEWEST_TOLD, FEWEST_LEFT = 8, 10
# One independent text in five shows a larger autocorrelation, in units of its standard error 1 / sqrt(K).
NOISE = 0.84
# More is never known from FEWEST_LEFT blocks; the variance becomes at most 4 times as large.
HIGHEST = 0.6


def into_blocks(nll: ArrayLike, tokens: ArrayLike, count: int = 200) -> tuple[Floats, NDArray[np.int64]]:
    """Sum consecutive rows into at most `count` blocks.

    Neighbouring rows often come from one document and are not independent, so intervals treat blocks as the sample.

    Args:
        nll: (R,) summed loss of each row, nats.
        tokens: (R,) counted tokens of each row.
        count: the most blocks.

    Returns:
        The same sums for min(R, count) blocks of nearly equal numbers of rows.

    Raises:
        DataError: for arrays of other or different shapes.

    >>> into_blocks([1.0, 2.0, 3.0, 4.0], [1, 1, 2, 2], count=2)
    (array([3., 7.]), array([2, 4]))
    """
    losses, counts = np.asarray(nll, dtype=np.float64), np.asarray(tokens, dtype=np.int64)
    if losses.ndim != 1 or losses.shape != counts.shape or not losses.size:
        raise DataError(
            f"into_blocks needs two filled vectors of equal length; got shapes {losses.shape}, {counts.shape}"
        )
    parts = min(count, len(losses))
    starts = np.arange(parts) * len(losses) // parts
    return np.add.reduceat(losses, starts), np.add.reduceat(counts, starts)


def join_dependent(values: Floats) -> tuple[Floats, float]:
    """Join neighbouring blocks until they look independent, and say how much correlation is left.

    Of the blocks' means over seeds the first autocorrelation r is taken, corrected for its bias of -(1 + 3 r) / K
    (Marriott and Pope 1954). While it is above 0.84 / sqrt(K), which it is in one of five independent texts, and at
    least 10 blocks would be left, neighbours are joined in twos: long blocks need no model of what happens within
    them. What the last of them still show is returned; a text may be too short for blocks as long as its documents.

    Args:
        values: (S, K) influences of K consecutive blocks on the results of S seeds, each row with a mean of its own.

    Returns:
        (S, n) influences with the same row means, n = K, K // 2, K // 4..., and their correlation in [0, 0.6], 0 where
        r is not positive. Fewer than 8 blocks are returned as they are, with 0.

    >>> documents = np.repeat([[1.0, 3.0, 2.0, 5.0, 3.0, 6.0, 0.0, 7.0, 1.0, 4.0]], 4, axis=1)
    >>> joined, left = join_dependent(documents)
    >>> joined.tolist(), left
    ([[1.0, 3.0, 2.0, 5.0, 3.0, 6.0, 0.0, 7.0, 1.0, 4.0]], 0.0)
    """
    blocks = count = values.shape[1]
    if blocks < FEWEST_TOLD:
        return values, 0.0
    level, joined = values.mean(1, keepdims=True), values
    found = _correlation(joined)
    while found > NOISE / math.sqrt(count) and count // 2 >= FEWEST_LEFT:
        count //= 2
        starts = np.arange(count) * blocks // count
        joined = level + np.add.reduceat(values - level, starts, axis=1) * (count / blocks)
        found = _correlation(joined)
    return joined, min(HIGHEST, max(0.0, found))


def _correlation(values: Floats) -> float:
    """The first autocorrelation of the means over seeds, corrected for its bias; 0 where nothing varies."""
    away = values.mean(0) - values.mean()
    squares = float(away @ away)
    found = float(away[1:] @ away[:-1]) / squares if squares > 0 else 0.0
    return found + (1 + 3 * max(0.0, found)) / len(away) if squares > 0 else 0.0
