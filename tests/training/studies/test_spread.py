"""Variances and slopes against numpy, scipy and known distributions."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from qpeft.training.studies.spread import fit_slope, mean_variance

DRAWS = np.random.default_rng(1).normal(size=(200, 3)) * [1.0, 2.0, 3.0] + [5.0, 0.0, -7.0]


def test_variance_is_numpys_averaged_over_columns() -> None:
    assert mean_variance(DRAWS).value == pytest.approx(DRAWS.var(axis=0, ddof=1).mean(), rel=1e-12)


def test_interval_is_scipys_percentile_bootstrap() -> None:
    ours = mean_variance(DRAWS, resamples=20000)
    theirs = bootstrap(
        (np.arange(len(DRAWS)),),
        lambda rows: DRAWS[rows].var(axis=0, ddof=1).mean(),
        vectorized=False,
        method="percentile",
        n_resamples=20000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, rel=0.01)
    assert ours.high == pytest.approx(theirs.high, rel=0.01)


def test_interval_covers_the_variance_of_normal_draws() -> None:
    """About 93 % for 100 normal draws; fewer than 85 of 100 has a chance below 1 in 100."""
    random = np.random.default_rng(2)
    found = [mean_variance(random.normal(size=(100, 1)), 400, seed) for seed in range(100)]
    assert sum(one.low <= 1 <= one.high for one in found) >= 85


def test_one_outlier_shows_in_its_share() -> None:
    assert mean_variance(DRAWS).largest_share < 0.05
    heavy = DRAWS.copy()
    heavy[7] = 1000
    assert mean_variance(heavy).largest_share > 0.9
    assert mean_variance(np.ones((5, 2))).largest_share == 0


def test_slope_of_a_line_and_its_interval() -> None:
    x = np.arange(6.0)
    noise = np.random.default_rng(0).normal(size=6) / 10
    line = fit_slope(list(x), list(3 * x + noise))
    assert line is not None
    assert line.low is not None
    assert line.high is not None
    design = np.stack([x, np.ones(6)], 1)
    solution, residual, *_ = np.linalg.lstsq(design, 3 * x + noise, rcond=None)
    half = 2.776445 * np.sqrt(residual[0] / 4 / ((x - x.mean()) ** 2).sum())  # t of 4 degrees, 97.5 %
    assert line.slope == pytest.approx(solution[0])
    assert line.high - line.slope == pytest.approx(half, rel=1e-5)
    assert line.slope - line.low == pytest.approx(half, rel=1e-5)


def test_too_few_points() -> None:
    assert fit_slope([1.0], [2.0]) is None
    assert fit_slope([1.0, 1.0], [2.0, 3.0]) is None
    two = fit_slope([0.0, 1.0], [2.0, 3.0])
    assert two is not None
    assert (two.slope, two.low, two.points) == (1.0, None, 2)
