"""Variances with bootstrap intervals, and slopes with t intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import linregress, t

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Variance:
    """Variance over draws, averaged over angles.

    Attributes:
        value: The unbiased estimate.
        low: 2.5 % quantile of the bootstrap over draws.
        high: 97.5 % quantile.
        largest_share: The part of all squared deviations that one draw holds; 1/S where all are alike.
    """

    value: float
    low: float
    high: float
    largest_share: float


def mean_variance(gradients: Floats, resamples: int = 1000, seed: int = 0) -> Variance:
    """Variance over draws of each column, averaged over columns, with a percentile bootstrap over draws.

    Where a few draws hold most of the squares (``largest_share``) the interval is too narrow: a resample cannot hold
    an outlier that was not drawn.

    >>> round(mean_variance(np.array([[0.0], [2.0], [4.0]])).value, 3)
    4.0

    Args:
        gradients: Shape (draws, angles), at least two draws.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    draws = len(gradients)
    centred = gradients - gradients.mean(axis=0)  # variances do not change, and the squares keep their digits
    squares = centred**2
    weights = np.random.default_rng(seed).multinomial(draws, np.full(draws, 1 / draws), size=resamples) / draws
    again = (weights @ squares - (weights @ centred) ** 2).mean(axis=1) * draws / (draws - 1)
    low, high = np.quantile(again, [0.025, 0.975])
    of_draw, total = squares.sum(axis=1), squares.sum()
    share = float(of_draw.max() / total) if total > 0 else 0.0
    return Variance(float(squares.sum(axis=0).mean() / (draws - 1)), float(low), float(high), share)


@dataclass(frozen=True)
class Slope:
    """A straight line's slope with its 95 % interval; no interval for fewer than three points."""

    slope: float
    low: float | None
    high: float | None
    points: int


def fit_slope(x: Sequence[float], y: Sequence[float]) -> Slope | None:
    """Least squares; None for fewer than two different x.

    >>> fit_slope([0, 1, 2], [1.0, 3.0, 5.0])
    Slope(slope=2.0, low=2.0, high=2.0, points=3)
    """
    if len(set(x)) < 2:
        return None
    line = linregress(x, y)
    slope = float(line.slope)
    if len(x) < 3:
        return Slope(slope, None, None, len(x))
    half = float(t.ppf(0.975, len(x) - 2) * line.stderr)
    return Slope(slope, slope - half, slope + half, len(x))
