"""Intervals and paired tests for perplexities and their differences, over training seeds and text; numpy and scipy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from qpeft.errors import DataError
from qpeft.metrics.blocks import Floats, join_dependent

Part = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """Method a minus method b.

    Attributes:
        nats: difference of the mean log-perplexities, nats a token; negative where a is better.
        low: lower end of its interval.
        high: upper end of its interval.
        parts: (variance, degrees of freedom) of nats from seeds and from text; one where one seed or block is.
        p_value: of the test that the true difference is zero; below 1 - level where the interval leaves out zero.
    """

    nats: float
    low: float
    high: float
    parts: tuple[Part, ...]
    p_value: float

    @property
    def ratio(self) -> float:
        """Perplexity of a over perplexity of b, exp(nats); below 1 where a is better."""
        return math.exp(self.nats)

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


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


def perplexity_interval(nll: ArrayLike, tokens: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of a perplexity over training seeds and text.

    It is about other training seeds and other text of the same kind. Seeds and blocks are crossed: every seed is
    measured on the same text. Neighbouring blocks that are not independent are joined (`qpeft.metrics.blocks`); of the
    influences z_sk of block k on the log-perplexity of seed s, let A, B, E be the mean squares of seed means, block
    means and remainders; then A/S is the variance from seeds and max(0, B/K - E/(S K)) that from text. The interval
    reaches the root of t^2_(S-1) A/S + t^2_(K-1) max(0, B/K - E/(S K)), t being Student's quantiles (each part's own
    interval, added in squares: Zou and Donner 2008). Satterthwaite's degrees of freedom would be narrower and wrong:
    with 3 seeds their tests at 1 % erred in up to 3.4 %, these in at most 1.0 %, which Holm's correction needs.
    A correlation r that the joined blocks still show multiplies B by (1 + r) / (1 - r) and leaves
    K (1 - r^2) / (1 + r^2) - 1 degrees of freedom (Bayley and Hammersley 1946).
    One seed leaves the text's part: the interval then describes the text alone. The ends carry the acceleration over
    blocks of a BCa bootstrap through Hall's transformation (1992, equal to second order); on one seed they agree
    with scipy's BCa interval.

    Why nothing is resampled: a bootstrap over S seeds never leaves the range of the S results, which misses the
    truth in 2^(1-S) of all cases where seeds dominate, 25 % with 3 seeds, whichever percentiles are taken.

    docs/intervals.md has the coverage for dependent text. For independent draws from the 200 blocks of
    results/wikitext2 it was, of nominal 95 % intervals in % for 3, 5, 10 seeds (4000 each; the two right columns are
    two-level bootstraps of the perplexity, 400 each):

    ===================  ==========  ==========  ============  ==========
    cause of the spread  perplexity  difference  percentile    BCa
    ===================  ==========  ==========  ============  ==========
    seeds                95, 96, 95  95, 96, 94  74, 82, 92    72, 82, 91
    both alike           98, 96, 96  97, 96, 96  92, 94, 93    91, 94, 92
    text                 97, 96, 95  95, 96, 94  94, 96, 96    94, 95, 96
    ===================  ==========  ==========  ============  ==========

    Args:
        nll: (S, K) summed loss of each seed's run on each block, nats.
        tokens: (S, K) counted tokens.
        level: nominal coverage, in (0, 1).

    Returns:
        The low and high ends, perplexities.

    Raises:
        DataError: for arrays that are not (S, K), differ in shape, count no token, or hold one number only.

    >>> low, high = perplexity_interval([[20.0, 30.0, 25.0], [21.0, 31.0, 26.0]], [[10, 10, 10]] * 2)
    >>> bool(low < np.exp(2.55) < high)
    True
    """
    losses, counts = _checked(nll, tokens)
    low, high = _ends(_spread(_influences(losses, counts)), level)
    # A few short blocks can give an end beyond the largest number there is.
    with np.errstate(over="ignore"):
        return float(np.exp(low)), float(np.exp(high))


def difference_interval(
    a_nll: ArrayLike, a_tokens: ArrayLike, b_nll: ArrayLike, b_tokens: ArrayLike, level: float = 0.95
) -> Difference:
    """Paired interval and test of the difference of two methods' mean log-perplexities.

    As `perplexity_interval` of the differences: run s of a is paired with run s of b, block by block. What both
    share (hard text, a lucky data order) cancels, which makes the interval of a difference narrower than two
    separate ones suggest. An interval that leaves out zero is evidence, not proof; adjust several with `holm`.

    Args:
        a_nll: (S, K) summed loss of method a, nats.
        a_tokens: (S, K) counted tokens of method a.
        b_nll: (S, K) as a_nll, the same seeds and blocks.
        b_tokens: (S, K) as a_tokens.
        level: nominal coverage, in (0, 1).

    Returns:
        The difference a - b in nats a token with its interval, standard error and p-value.

    Raises:
        DataError: for arrays that are not (S, K), differ in shape, count no token, or hold one number only.

    >>> found = difference_interval([[20.0, 30.0]], [[10, 10]], [[22.0, 32.2]], [[10, 10]])
    >>> round(found.nats, 6), found.clear, round(found.p_value, 3)
    (-0.21, True, 0.03)
    """
    a, a_counts = _checked(a_nll, a_tokens)
    b, b_counts = _checked(b_nll, b_tokens)
    if a.shape != b.shape:
        raise DataError(
            f"a paired difference needs the same seeds and blocks for both; got shapes {a.shape}, {b.shape}"
        )
    spread = _spread(_influences(a, a_counts) - _influences(b, b_counts))
    low, high = _ends(spread, level)
    return Difference(spread.mean, low, high, spread.parts, _p_value(spread))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: decisions at 5 % then make a false one in at most 5 % of all families.

    Holm 1979: the i-th smallest of m is multiplied by m - i + 1, and none is below a smaller one's.

    Args:
        p_values: (m,) of the tests that are told together, each in [0, 1].

    Returns:
        (m,) adjusted, in the given order, each in [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def smallest_effect(parts: Sequence[Part], alpha: float = 0.05, power: float = 0.8) -> float:
    """The true difference that a share `power` of two-sided tests at `alpha` would find.

    Args:
        parts: (variance, degrees of freedom) of the difference from the seeds and from the text, as
            `Difference.parts` has them.
        alpha: the test's error, in (0, 1); for m comparisons with Holm's correction alpha / m is on the safe side.
        power: in (0, 1).

    Returns:
        The root of the sum over parts of variance times the squared noncentrality of Student's t; for one part
        2.80 standard errors with many degrees of freedom, 5.65 with 2.

    >>> round(smallest_effect([(1.0, 1e5)]), 2), round(smallest_effect([(1.0, 2)]), 2)
    (2.8, 5.65)
    """
    needed = (special.nctdtrinc(freedom, 1 - power, _student(freedom, alpha)) for _, freedom in parts)
    return math.sqrt(sum(part[0] * float(shift) ** 2 for part, shift in zip(parts, needed, strict=True)))


@dataclass(frozen=True)
class _Spread:
    """A mean with the parts of its variance, and BCa's acceleration over blocks."""

    mean: float
    parts: tuple[Part, ...]
    acceleration: float

    @property
    def error(self) -> float:
        return math.sqrt(sum(variance for variance, _ in self.parts))

    def reach(self, alpha: float) -> float:
        """Half the width of the interval at 1 - alpha, in standard errors, before the acceleration."""
        return math.sqrt(sum(v * _student(freedom, alpha) ** 2 for v, freedom in self.parts)) / self.error


def _student(freedom: float, alpha: float) -> float:
    # By the lower tail, which stays exact where alpha is tiny.
    return -float(special.stdtrit(freedom, alpha / 2))


def _checked(nll: ArrayLike, tokens: ArrayLike) -> tuple[Floats, Floats]:
    losses, counts = np.asarray(nll, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    if losses.ndim != 2 or losses.shape != counts.shape:
        raise DataError(f"nll and tokens must both have the shape (seeds, blocks); got {losses.shape}, {counts.shape}")
    if not losses.size or not (counts.sum(1) > 0).all() or (counts < 0).any():
        raise DataError("every seed must have a block with counted tokens; leave runs without any out")
    return losses, counts


def _influences(nll: Floats, tokens: Floats) -> Floats:
    """(S, K) numbers whose mean over blocks is each seed's log-perplexity, linear in what each block adds to it."""
    rate = nll.sum(1, keepdims=True) / tokens.sum(1, keepdims=True)
    linear: Floats = rate + (nll - rate * tokens) / tokens.mean(1, keepdims=True)
    return linear


def _spread(values: Floats) -> _Spread:
    if values.size < 2:
        raise DataError("an interval needs at least two seeds or two blocks of text; got one number")
    values, left = join_dependent(values)
    seeds, blocks = values.shape
    mean = float(values.mean())
    by_seed, by_block = values.mean(1) - mean, values.mean(0) - mean
    rest = values - mean - by_seed[:, None] - by_block
    # Each is the squared standard error that its part alone would cause; blocks count for fewer where they correlate.
    alike = (1 + left) / (1 - left)
    seed = float((by_seed**2).sum() / (seeds * max(1, seeds - 1)))
    block = alike * float((by_block**2).sum() / (blocks * max(1, blocks - 1)))
    both = float((rest**2).sum() / (max(1, seeds - 1) * max(1, blocks - 1) * values.size))
    # A variance is known from fewer of them as well (Bayley and Hammersley 1946).
    freedom = blocks * (1 - left**2) / (1 + left**2) - 1
    parts = [(seed, seeds - 1), (max(0.0, block - both), freedom)]
    # Seeds are too few to know the skewness of their results, so that theirs is taken as zero.
    cubes = float((by_block**3).sum()) / blocks**3
    acceleration = cubes / (6 * (seed + block) ** 1.5) if seed + block > 0 else 0.0
    return _Spread(mean, tuple(part for part in parts if part[1] > 0), acceleration)


def _ends(spread: _Spread, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise DataError(f"level must be between 0 and 1, for example 0.95; got {level}")
    if spread.error == 0:
        return spread.mean, spread.mean
    reach, a = spread.reach(1 - level), spread.acceleration
    steps = [x if abs(a) < 1e-8 else float(np.cbrt(1 + 6 * a * (x - a)) - 1) / (2 * a) for x in (reach, -reach)]
    return spread.mean - spread.error * steps[0], spread.mean - spread.error * steps[1]


def _p_value(spread: _Spread) -> float:
    """The alpha whose interval just touches zero; `_ends` inverts the transformation used here (Hall 1992)."""
    if spread.error == 0:
        return 1.0 if spread.mean == 0 else 0.0
    ratio, a = spread.mean / spread.error, spread.acceleration
    moved = abs(ratio + 2 * a * ratio**2 + 4 / 3 * a**2 * ratio**3 + a)
    # It lies between the p-values that either part would give if it were all of the variance.
    both = [max(1e-300, 2 * float(special.stdtr(freedom, -moved))) for _, freedom in spread.parts]
    low, high = min(both), max(both)
    for _ in range(60):
        middle = math.sqrt(low) * math.sqrt(high)
        low, high = (low, middle) if spread.reach(middle) < moved else (middle, high)
    return high
