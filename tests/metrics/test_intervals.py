"""Bootstrap intervals: against scipy, against simulated truth, and the pairing."""

import subprocess
import sys

import numpy as np
import pytest

from qpeft.errors import DataError
from qpeft.metrics.intervals import difference_interval, into_blocks, log_perplexity, perplexity_interval


def simulated(seeds: int, blocks: int, spread: tuple[float, float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses around 3 nats a token: spread of the seeds, spread of the blocks; blocks of unequal length."""
    random = np.random.default_rng(seed)
    tokens = np.tile(random.integers(40, 60, blocks), (seeds, 1))
    mean = 3 + spread[0] * random.normal(size=(seeds, 1)) + spread[1] * random.normal(size=(1, blocks))
    return mean * tokens, tokens


def test_one_seed_equals_scipys_percentile_bootstrap() -> None:
    stats = pytest.importorskip("scipy.stats")
    nll, tokens = simulated(1, 60, (0.0, 0.5), 1)

    def statistic(loss: np.ndarray, count: np.ndarray, axis: int) -> np.ndarray:
        return np.exp(loss.sum(axis) / count.sum(axis))

    theirs = stats.bootstrap(
        (nll[0], tokens[0]), statistic, paired=True, vectorized=True, method="percentile", n_resamples=20000, rng=5
    ).confidence_interval
    ours = perplexity_interval(nll, tokens, resamples=20000)
    assert ours == pytest.approx((theirs.low, theirs.high), rel=0.01)


def test_one_block_equals_scipys_bootstrap_over_seeds() -> None:
    stats = pytest.importorskip("scipy.stats")
    nll, tokens = simulated(8, 1, (0.2, 0.0), 2)
    theirs = stats.bootstrap(
        ((nll / tokens)[:, 0],), np.mean, method="percentile", n_resamples=20000, rng=5
    ).confidence_interval
    ours = perplexity_interval(nll, tokens, resamples=20000)
    assert np.log(ours) == pytest.approx((theirs.low, theirs.high), abs=0.01)


@pytest.mark.parametrize(
    ("seeds", "spread", "least", "most"),
    [(8, (0.02, 0.5), 0.90, 0.98), (1, (0.0, 0.5), 0.90, 0.98), (3, (0.2, 0.01), 0.65, 0.85)],
)
def test_coverage_is_what_the_docstring_says(
    seeds: int, spread: tuple[float, float], least: float, most: float
) -> None:
    hits = 0
    for trial in range(300):
        nll, tokens = simulated(seeds, 100, spread, trial)
        low, high = perplexity_interval(nll, tokens, resamples=500, seed=trial)
        hits += low <= np.exp(3) <= high
    assert least < hits / 300 < most


def test_more_text_and_lower_levels_give_narrower_intervals() -> None:
    def width(blocks: int, level: float) -> float:
        low, high = perplexity_interval(*simulated(3, blocks, (0.0, 0.5), 4), level=level)
        return high - low

    assert width(200, 0.95) < width(50, 0.95)
    assert width(50, 0.8) < width(50, 0.95)


def test_pairing_cancels_what_both_methods_share() -> None:
    nll, tokens = simulated(5, 100, (0.3, 0.5), 5)
    noise = np.random.default_rng(6).normal(scale=0.01, size=nll.shape)
    better = nll + (noise - 0.05) * tokens
    found = difference_interval(better, tokens, nll, tokens)
    assert found.nats == pytest.approx(-0.05, abs=0.005)
    assert found.low < found.nats < found.high < 0
    assert found.clear
    assert found.high - found.low < 0.02
    low, high = perplexity_interval(nll, tokens)
    assert np.log(high) - np.log(low) > 0.1
    assert found.ratio == pytest.approx(np.exp(found.nats))
    assert (found.ratio_low, found.ratio_high) == pytest.approx((np.exp(found.low), np.exp(found.high)))


def test_unpaired_seeds_widen_the_difference() -> None:
    nll, tokens = simulated(5, 100, (0.3, 0.1), 5)
    shuffled = difference_interval(nll[[1, 2, 3, 4, 0]], tokens, nll, tokens)
    assert shuffled.nats == pytest.approx(0)
    assert not shuffled.clear
    assert shuffled.high - shuffled.low > 0.1


def test_a_method_does_not_differ_from_itself() -> None:
    nll, tokens = simulated(3, 20, (0.3, 0.5), 7)
    found = difference_interval(nll, tokens, nll, tokens)
    assert (found.nats, found.low, found.high, found.ratio, found.clear) == (0, 0, 0, 1, False)


def test_swapping_the_methods_mirrors_the_interval() -> None:
    (a, tokens), (b, _) = simulated(4, 50, (0.1, 0.3), 8), simulated(4, 50, (0.1, 0.3), 9)
    there, back = difference_interval(a, tokens, b, tokens), difference_interval(b, tokens, a, tokens)
    assert (there.nats, there.low, there.high) == pytest.approx((-back.nats, -back.high, -back.low))


def test_equal_seeds_give_equal_intervals() -> None:
    data = simulated(3, 20, (0.1, 0.3), 10)
    assert perplexity_interval(*data, seed=1) == perplexity_interval(*data, seed=1)
    assert perplexity_interval(*data, seed=1) != perplexity_interval(*data, seed=2)


@pytest.mark.parametrize(("rows", "count"), [(1, 200), (7, 3), (200, 200), (401, 200), (4358, 200)])
def test_blocks_keep_sums_and_order(rows: int, count: int) -> None:
    random = np.random.default_rng(0)
    nll, tokens = random.random(rows), random.integers(0, 9, rows)
    sums, counts = into_blocks(nll, tokens, count)
    assert len(sums) == len(counts) == min(rows, count)
    assert sums.sum() == pytest.approx(nll.sum())
    assert counts.sum() == tokens.sum()
    assert counts.dtype == np.int64
    sizes, _ = into_blocks(np.ones(rows), tokens, count)
    assert sizes.max() - sizes.min() <= 1
    assert sums[0] == pytest.approx(nll[: int(sizes[0])].sum())


def test_log_perplexity_is_the_mean_over_seeds() -> None:
    assert log_perplexity([[1.0, 2.0], [3.0, 3.0]], [[1, 2], [1, 1]]) == pytest.approx((1 + 3) / 2)


def test_blocks_without_tokens_do_no_harm() -> None:
    low, high = perplexity_interval([[0.0, 20.0, 30.0]], [[0, 10, 10]], resamples=500)
    assert np.exp(2) - 1e-9 <= low < high <= np.exp(3) + 1e-9


def test_faults() -> None:
    with pytest.raises(DataError, match=r"shape \(seeds, blocks\); got \(2,\), \(2,\)"):
        perplexity_interval([1.0, 2.0], [1, 1])
    with pytest.raises(DataError, match="every seed must have a block with counted tokens"):
        perplexity_interval([[1.0], [0.0]], [[1], [0]])
    with pytest.raises(DataError, match=r"same seeds and blocks for both; got shapes \(1, 1\), \(1, 2\)"):
        difference_interval([[1.0]], [[1]], [[1.0, 2.0]], [[1, 1]])
    with pytest.raises(DataError, match="level must be between 0 and 1"):
        perplexity_interval([[1.0]], [[1]], level=95)
    with pytest.raises(DataError, match="two filled vectors of equal length"):
        into_blocks([1.0], [1, 2])


def test_intervals_need_no_torch() -> None:
    code = "import sys, qpeft.metrics.intervals; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
