"""Ranks over seeds: known tables, published values of Nemenyi's distance, error rates with few seeds, the figure."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from qpeft.records import MethodSpec, RunRecord
from qpeft.report import summarise
from qpeft.report.drawing import looks
from qpeft.report.figures import mean_ranks
from qpeft.report.gallery import gallery
from qpeft.report.ranks import rank_test, ranks

Make = Callable[..., RunRecord]
TRIES = 2000


@pytest.mark.parametrize(("methods", "quantile"), [(3, 2.343), (5, 2.728), (10, 3.164)])
def test_distance_is_demsars_table(methods: int, quantile: float) -> None:
    """Demsar 2006, table 5 (a): critical values of the two-tailed Nemenyi test at 0.05."""
    values = np.random.default_rng(0).standard_normal((methods, 7))
    _, _, distance = rank_test(values)
    assert distance / math.sqrt(methods * (methods + 1) / (6 * 7)) == pytest.approx(quantile, abs=2e-3)


def test_friedman_of_demsars_example() -> None:
    """Demsar 2006, table 6: average ranks of four classifiers on 14 data sets; chi2_F = 9.28, CD = 1.25."""
    auc = [
        [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.000, 0.940, 0.619, 0.972, 0.957],
        [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.000, 0.962, 0.666, 0.981, 0.978],
        [0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.000, 0.965, 0.614, 0.9751, 0.946],
        [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.000, 0.962, 0.669, 0.975, 0.970],
    ]
    placed, p_value, distance = rank_test(-np.asarray(auc))
    assert placed.mean(axis=1) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=2e-3)
    squares = float((placed.mean(axis=1) ** 2).sum())
    statistic = 12 * 14 / (4 * 5) * (squares - 4 * 5**2 / 4)
    assert statistic == pytest.approx(9.28, abs=0.01)
    # The paper leaves the ties in; scipy's correction for them can only lower the p-value.
    assert 0.01 < p_value < stats.chi2.sf(statistic, 3)
    assert distance == pytest.approx(1.25, abs=0.01)


@pytest.mark.parametrize("methods", [3, 6, 13])
@pytest.mark.parametrize("seeds", [3, 5])
def test_methods_that_are_alike_are_rarely_told_apart(methods: int, seeds: int) -> None:
    random = np.random.default_rng([methods, seeds])
    _, _, distance = rank_test(random.standard_normal((methods, seeds)))
    orders = random.standard_normal((TRIES, methods, seeds)).argsort(axis=1).argsort(axis=1).mean(axis=2)
    apart = (orders.max(axis=1) - orders.min(axis=1)) > distance
    assert apart.mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / TRIES)
    called = [rank_test(random.standard_normal((methods, seeds)))[1] < 0.05 for _ in range(200)]
    assert np.mean(called) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_ties_share_a_rank_and_all_ties_say_nothing() -> None:
    placed, p_value, _ = rank_test(np.asarray([[1.0] * 3, [1.0] * 3, [1.0] * 3]))
    assert placed.tolist() == [[2.0] * 3] * 3
    assert p_value == 1.0


def test_ranks_are_of_trained_methods_on_common_seeds(make: Make) -> None:
    runs = [
        make(label, seed=s, level=level) for s in range(3) for label, level in (("a", 2.5), ("b", 2.6), ("c", 2.7))
    ]
    runs += [make("b", seed=3, level=2.0), make("base", MethodSpec(name="frozen"), level=1.0, trainable=0)]
    found = ranks(runs)
    assert found is not None
    assert found.seeds == (0, 1, 2)
    assert found.means == {"a": 1.0, "b": 2.0, "c": 3.0}
    # Three seeds of three methods in one order: chi2 = 6 with 2 degrees of freedom.
    assert found.p_value == pytest.approx(math.exp(-3))


def test_too_few_methods_or_seeds_have_no_ranks(make: Make) -> None:
    few = [make(label, seed=seed) for label in "abc" for seed in range(2)]
    assert ranks(few) is None
    assert ranks([make(label, seed=seed) for label in "ab" for seed in range(3)]) is None
    assert "ranks" not in {drawing.name for drawing in gallery(few, summarise(few), [])}


def test_figure_bars_touch_exactly_within_the_distance(comparison: list[RunRecord]) -> None:
    found = ranks(comparison)
    assert found is not None
    figure = mean_ranks(found, looks(found.ranks))
    full = [trace for trace in figure.data if trace.error_x.array is not None]
    assert {trace.name: trace.x[0] for trace in full} == found.means
    assert all(trace.error_x.array[0] == pytest.approx(found.distance / 2) for trace in full)
    drawing = next(one for one in gallery(comparison, summarise(comparison), []) if one.name == "ranks")
    assert "The unit of replication is the training seed, of which there are 3" in drawing.caption
