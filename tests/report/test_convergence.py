"""Endings of training: the test is scipy's, its error rates hold on simulated curves, and words follow it."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from qpeft.records import RunRecord
from qpeft.report import caveats, summarise, write_page
from qpeft.report.convergence import LEAST_CHANGE, ending, last_rates

Make = Callable[..., RunRecord]
RUNS = 2000


def curves(random: np.random.Generator, seeds: int, points: int, noise: float, fall: float = 0.0) -> list[list[float]]:
    """Losses around 3.5 with normal noise; over the last fifth lower by a share ``fall``."""
    level = np.full(points, 3.5)
    level[-(points // 5) :] *= 1 - fall
    return (level + 3.5 * noise * random.standard_normal((seeds, points))).tolist()


def test_one_run_is_scipys_t_test_of_two_samples() -> None:
    (curve,) = curves(np.random.default_rng(0), 1, 50, 0.03, 0.02)
    found = ending([curve])
    assert found is not None
    expected = stats.ttest_ind(curve[-20:-10], curve[-10:], alternative="greater")
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.change == pytest.approx(np.mean(curve[-10:]) / np.mean(curve[-20:-10]) - 1)


def test_levels_of_seeds_do_not_count_as_noise() -> None:
    a = curves(np.random.default_rng(1), 3, 40, 0.01, 0.03)
    moved = [[loss + place for loss in curve] for place, curve in enumerate(a)]
    first, second = ending(a), ending(moved)
    assert first is not None
    assert second is not None
    assert second.p_value == pytest.approx(first.p_value)


@pytest.mark.parametrize(("seeds", "points"), [(1, 20), (3, 20), (3, 40), (5, 200)])
@pytest.mark.parametrize("noise", [0.005, 0.03])
def test_level_curves_are_called_improving_in_at_most_five_per_cent(seeds: int, points: int, noise: float) -> None:
    random = np.random.default_rng([seeds, points])
    called = [ending(curves(random, seeds, points, noise)) for _ in range(RUNS)]
    share = sum(item is not None and item.improving for item in called) / RUNS
    # Three standard errors above 5 %.
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS)


@pytest.mark.parametrize(
    ("seeds", "points", "noise"), [(1, 40, 0.03), (3, 20, 0.03), (3, 40, 0.02), (5, 200, 0.03), (5, 200, 0.01)]
)
def test_the_fall_it_promises_to_find_is_found(seeds: int, points: int, noise: float) -> None:
    random = np.random.default_rng([seeds, points, 1])
    # The promise depends on the scatter; its middle over runs is the one of the true scatter.
    endings = [ending(curves(random, seeds, points, noise)) for _ in range(200)]
    promised = float(np.median([item.found for item in endings if item is not None]))
    assert promised > LEAST_CHANGE
    called = [ending(curves(random, seeds, points, noise, promised)) for _ in range(RUNS)]
    share = sum(item is not None and item.improving for item in called) / RUNS
    assert share == pytest.approx(0.8, abs=0.05)


def test_a_tiny_fall_is_not_called_one_however_sure() -> None:
    found = ending(curves(np.random.default_rng(2), 3, 200, 0.0005, 0.003))
    assert found is not None
    assert found.p_value < 1e-6
    assert not found.improving


@pytest.mark.parametrize("bad", [[], [[]], [[3.0, 2.0] * 4], [[3.0] * 20], [[3.0, 2.9] * 9 + [math.nan]]])
def test_curves_that_say_nothing(bad: list[list[float]]) -> None:
    assert ending(bad) is None


def test_a_rise_is_no_improvement() -> None:
    found = ending(curves(np.random.default_rng(3), 3, 100, 0.01, -0.05))
    assert found is not None
    assert found.change == pytest.approx(0.05, abs=0.01)
    assert not found.improving
    assert found.text.startswith("no clear change (+")


def test_page_marks_what_still_improves_and_names_the_schedule(make: Make, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    runs = []
    for label, fall in (("falling", 0.1), ("level", 0.0)):
        for seed in range(3):
            (losses,) = curves(random, 1, 100, 0.01, fall)
            curve = [
                {"step": i, "loss": loss, "learning_rate": 0.1 * (100 - i) / 100} for i, loss in enumerate(losses)
            ]
            runs.append(make(label, seed=seed, curve=curve))
    (note,) = caveats(runs, summarise(runs))
    assert note.startswith("Still improving at the end of training")
    assert "falling (-1" in note
    assert "level" not in note
    low, high = last_rates(runs) or (0.0, 0.0)
    assert (low, high) == pytest.approx((0.01, 0.01))
    text = write_page(runs, tmp_path / "x.html", "Title").read_text("utf-8")
    assert '<td class="note">still improving (-' in text
    assert "The schedule takes the learning rate down to 1 % of its peak" in text
    assert "a longer schedule could still help" in text


def test_a_constant_rate_is_not_said_to_vanish(make: Make, tmp_path: Path) -> None:
    text = write_page([make("a")], tmp_path / "x.html", "Title").read_text("utf-8")
    assert "End of training compares" in text
    assert "vanishing rate" not in text
