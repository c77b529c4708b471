"""Bootstrap intervals for perplexities and their differences; numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qpeft.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Method a minus method b.

    Attributes:
        nats: difference of the mean log-perplexities, nats a token; negative where a is better.
        low: lower end of its interval.
        high: upper end of its interval.
        ratio: exp(nats): perplexity of a over perplexity of b; below 1 where a is better.
        ratio_low: exp(low).
        ratio_high: exp(high).
    """

    nats: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def into_blocks(nll: ArrayLike, tokens: ArrayLike, count: int = 200) -> tuple[Floats, NDArray[np.int64]]:
    """Sum consecutive rows into at most `count` blocks.

    Neighbouring rows often come from one document and are not independent, so intervals resample blocks.

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


def log_perplexity(nll: ArrayLike, tokens: ArrayLike) -> float:
    """The mean over seeds of the log-perplexity, nats a token.

    Its exponential is the geometric mean of the seeds' perplexities: the number the intervals are about.

    Args:
        nll: (S, K) summed loss of each seed's run on each block.
        tokens: (S, K) counted tokens.

    Returns:
        sum_k nll / sum_k tokens for each seed, averaged.

    >>> log_perplexity([[2.0, 2.0], [4.0, 4.0]], [[2, 2], [2, 2]])
    1.5
    """
    losses, counts = _checked(nll, tokens)
    return float((losses.sum(1) / counts.sum(1)).mean())


def perplexity_interval(
    nll: ArrayLike, tokens: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Two-level percentile bootstrap interval of a perplexity over seeds and text.

    Each resample draws S seeds and, independently, K blocks of text with replacement, the same blocks for all
    seeds (they were measured on the same text), and takes exp(`log_perplexity`) of that.

    What it means: the spread expected from other training seeds and other text of the same kind. A percentile
    bootstrap of few seeds is too narrow: where the seeds cause most of the spread, a 95 % interval covered the
    truth in 74, 83 and 89 % of simulated cases for 3, 5 and 10 seeds; where the text causes it, in 94 %. With one
    seed it describes the text alone.

    Args:
        nll: (S, K) summed loss of each seed's run on each block, nats.
        tokens: (S, K) counted tokens.
        level: nominal coverage, in (0, 1).
        resamples: bootstrap resamples.
        seed: of the resampling; equal seeds give equal intervals.

    Returns:
        The low and high ends, perplexities.

    Raises:
        DataError: for arrays that are not (S, K), differ in shape, or count no token.

    >>> low, high = perplexity_interval([[20.0, 30.0, 25.0]] * 2, [[10, 10, 10]] * 2)
    >>> bool(low < np.exp(2.5) < high)
    True
    """
    losses, counts = _checked(nll, tokens)
    blocks, seeds = _weights(losses.shape, resamples, seed)
    low, high = _ends(_resampled(losses, counts, blocks, seeds), level)
    return float(np.exp(low)), float(np.exp(high))


def difference_interval(
    a_nll: ArrayLike,
    a_tokens: ArrayLike,
    b_nll: ArrayLike,
    b_tokens: ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Paired two-level bootstrap interval of the difference of two methods' mean log-perplexities.

    As `perplexity_interval`, but every resample uses the same blocks and the same seeds for both methods: run s
    of a is paired with run s of b. What both share (hard text, a lucky data order) cancels, which makes the
    interval of a difference narrower than two separate intervals suggest. It is too narrow for few seeds in the
    same way, and an interval that leaves out zero is evidence, not proof: with many comparisons some will.

    Args:
        a_nll: (S, K) summed loss of method a, nats.
        a_tokens: (S, K) counted tokens of method a.
        b_nll: (S, K) as a_nll, the same seeds and blocks.
        b_tokens: (S, K) as a_tokens.
        level: nominal coverage, in (0, 1).
        resamples: bootstrap resamples.
        seed: of the resampling.

    Returns:
        The difference a - b with its interval, in nats a token and as a ratio of perplexities.

    Raises:
        DataError: for arrays that are not (S, K), differ in shape, or count no token.

    >>> found = difference_interval([[20.0, 30.0]], [[10, 10]], [[22.0, 32.0]], [[10, 10]])
    >>> round(found.nats, 6), found.clear
    (-0.2, True)
    """
    a, a_counts = _checked(a_nll, a_tokens)
    b, b_counts = _checked(b_nll, b_tokens)
    if a.shape != b.shape:
        raise DataError(
            f"a paired difference needs the same seeds and blocks for both; got shapes {a.shape}, {b.shape}"
        )
    blocks, seeds = _weights(a.shape, resamples, seed)
    values = _resampled(a, a_counts, blocks, seeds) - _resampled(b, b_counts, blocks, seeds)
    low, high = _ends(values, level)
    nats = log_perplexity(a, a_counts) - log_perplexity(b, b_counts)
    return Difference(nats, low, high, float(np.exp(nats)), float(np.exp(low)), float(np.exp(high)))


def _checked(nll: ArrayLike, tokens: ArrayLike) -> tuple[Floats, Floats]:
    losses, counts = np.asarray(nll, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    if losses.ndim != 2 or losses.shape != counts.shape:
        raise DataError(f"nll and tokens must both have the shape (seeds, blocks); got {losses.shape}, {counts.shape}")
    if not losses.size or not (counts.sum(1) > 0).all() or (counts < 0).any():
        raise DataError("every seed must have a block with counted tokens; leave runs without any out")
    return losses, counts


def _weights(shape: tuple[int, ...], resamples: int, seed: int) -> tuple[Floats, Floats]:
    """How often each block (resamples, K) and each seed (resamples, S) is drawn, as shares of one."""
    random = np.random.default_rng(seed)
    blocks = random.multinomial(shape[1], np.full(shape[1], 1 / shape[1]), size=resamples)
    seeds = random.multinomial(shape[0], np.full(shape[0], 1 / shape[0]), size=resamples)
    return blocks / shape[1], seeds / shape[0]


def _resampled(nll: Floats, tokens: Floats, blocks: Floats, seeds: Floats) -> Floats:
    """The statistic of every resample, (resamples,) nats."""
    counts = blocks @ tokens.T
    # Only where a resample drew nothing but blocks without tokens; it then says nothing.
    values = np.divide(blocks @ nll.T, counts, out=np.full_like(counts, np.nan), where=counts > 0)
    result: Floats = (values * seeds).sum(1)
    return result


def _ends(values: Floats, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise DataError(f"level must be between 0 and 1, for example 0.95; got {level}")
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
