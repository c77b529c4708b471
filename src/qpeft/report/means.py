"""Means over seeds: of perplexities, and with Student's interval of numbers that are known a run, without parts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import special

# Seeds this many times apart have no mean worth reading alone.
APART = 10.0


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds, and half the width of its 95 % interval; None from one seed.

    The interval covers other training seeds only: the same text is measured by every seed, so that other text may
    give another number altogether.
    """

    value: float
    half: float | None

    @property
    def low(self) -> float | None:
        """The lower end of the interval."""
        return None if self.half is None else self.value - self.half

    @property
    def high(self) -> float | None:
        """The upper end of the interval."""
        return None if self.half is None else self.value + self.half

    def shown(self, digits: int = 2) -> str:
        """The mean and half the interval's width, as tables print them.

        >>> Mean(31.4159, 0.271).shown(), Mean(31.4159, None).shown()
        ('31.42 ± 0.27', '31.42')
        """
        return f"{self.value:.{digits}f}" + ("" if self.half is None else f" ± {self.half:.{digits}f}")


def mean_over_seeds(values: Sequence[float], level: float = 0.95) -> Mean | None:
    """The mean of one number a seed, with Student's interval t_(S-1) s / sqrt(S) from two seeds on.

    Args:
        values: (S,) finite numbers, one a seed.
        level: nominal coverage, in (0, 1).

    Returns:
        The mean; None without values.

    >>> mean_over_seeds([1.0, 2.0, 3.0]).shown(3)
    '2.000 ± 2.484'
    """
    if not values:
        return None
    if len(values) == 1:
        return Mean(values[0], None)
    quantile = float(special.stdtrit(len(values) - 1, (1 + level) / 2))
    return Mean(fmean(values), quantile * stdev(values) / math.sqrt(len(values)))


def geometric_mean(perplexities: Sequence[float]) -> float | None:
    """The one mean of perplexities over seeds: exp of the mean of the negative log-likelihood per token.

    Args:
        perplexities: (S,) positive, one a seed.

    Returns:
        Their geometric mean; None without values.

    >>> geometric_mean([2.0, 8.0])
    4.0
    """
    return math.exp(fmean(math.log(value) for value in perplexities)) if perplexities else None


def far_apart(perplexities: Sequence[float]) -> bool:
    """Whether seeds differ by an order of magnitude, so that they are shown beside their mean.

    >>> far_apart([2.23, 2.26, 35.13]), far_apart([2.0, 19.9]), far_apart([])
    (True, False, False)
    """
    return bool(perplexities) and max(perplexities) >= APART * min(perplexities)
