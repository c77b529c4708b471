"""Intervals and tests: against scipy, against simulated truth, and the pairing."""

import subprocess
import sys

import numpy as np
import pytest

from qpeft.errors import DataError
from qpeft.metrics.blocks import into_blocks, join_dependent
from qpeft.metrics.intervals import (
    difference_interval,
    holm,
    log_perplexity,
    perplexity_interval,
    smallest_effect,
)

TRIALS = 400


def simulated(seeds: int, blocks: int, spread: tuple[float, float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses around 3 nats a token: spread of the seeds, spread of the blocks; blocks of unequal length."""
    random = np.random.default_rng(seed)
    tokens = np.tile(random.integers(40, 60, blocks), (seeds, 1))
    own = 0.02 * random.normal(size=(seeds, blocks))
    mean = 3 + spread[0] * random.normal(size=(seeds, 1)) + spread[1] * random.normal(size=(1, blocks)) + own
    return mean * tokens, tokens


def test_one_seed_agrees_with_scipys_bca_bootstrap_of_skewed_text() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(1)
    tokens = random.integers(40, 60, 100)
    # Light and heavy blocks take turns: no neighbours to be joined, which the bootstrap knows nothing of.
    rates = np.sort(2 + random.exponential(size=100)).reshape(2, 50).T.ravel()
    nll = tokens * rates

    def statistic(loss: np.ndarray, count: np.ndarray, axis: int) -> np.ndarray:
        return loss.sum(axis) / count.sum(axis)

    found = stats.bootstrap((nll, tokens), statistic, paired=True, vectorized=True, n_resamples=5000, rng=5)
    theirs = found.confidence_interval
    low, high = np.log(perplexity_interval([nll], [tokens]))
    middle = nll.sum() / tokens.sum()
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.04 * (high - low))
    # Skewed text makes the upper side longer, for both of them by the same share.
    ours_ratio, their_ratio = (high - middle) / (middle - low), (theirs.high - middle) / (middle - theirs.low)
    assert ours_ratio > 1.1
    assert ours_ratio == pytest.approx(their_ratio, abs=0.15)


def test_one_block_is_students_paired_t_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    (a, tokens), (b, _) = simulated(4, 1, (0.2, 0.0), 2), simulated(4, 1, (0.2, 0.0), 3)
    b = b / tokens.mean() * tokens
    theirs = stats.ttest_rel((a / tokens)[:, 0], (b / tokens)[:, 0])
    found = difference_interval(a, tokens, b, tokens)
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert [freedom for _, freedom in found.parts] == [3]


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", [(0.2, 0.05), (0.1, 0.5), (0.005, 0.4)], ids=["seeds", "alike", "text"])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds: int, spread: tuple[float, float]) -> None:
    single = paired = 0
    for trial in range(TRIALS):
        nll, tokens = simulated(seeds, 40, spread, trial)
        low, high = perplexity_interval(nll, tokens)
        single += low <= np.exp(3) <= high
        # Both methods meet the same hard text and lucky seeds; a's own deviations have the mean zero.
        shared = np.random.default_rng(trial + TRIALS).normal(3, 0.5, (seeds, 1)) * tokens
        paired += not difference_interval(shared + nll - 3 * tokens, tokens, shared, tokens).clear
    # Three standard errors of a share of 400 trials are 3.3 %.
    assert 0.917 < single / TRIALS < 0.983
    assert 0.917 < paired / TRIALS < 0.983


def test_an_interval_leaves_out_zero_exactly_where_its_test_says_so() -> None:
    clear = 0
    for trial in range(200):
        nll, tokens = simulated(3, 30, (0.1, 0.3), trial)
        found = difference_interval(nll, tokens, 2.8 * tokens, tokens)
        clear += found.clear
        assert found.clear == (found.p_value < 0.05)
        shifted = difference_interval(nll - found.low * tokens, tokens, 2.8 * tokens, tokens)
        assert shifted.p_value == pytest.approx(0.05)
    assert 20 < clear < 180


def test_the_test_keeps_its_error_far_out_where_few_seeds_meet_some_text() -> None:
    # A tenth of the variance from text: with Satterthwaite's degrees of freedom 3.4 % fell below 0.01.
    random, tokens = np.random.default_rng(5), np.full((3, 40), 10.0)
    zero, low = 3 * tokens, 0
    for _ in range(1500):
        rate = random.normal(3, np.sqrt(0.9 * 3), (3, 1)) + random.normal(0, np.sqrt(0.1 * 40), (1, 40))
        low += difference_interval(rate * tokens, tokens, zero, tokens).p_value < 0.01
    # 1 % and three standard errors are 1.8 %.
    assert low / 1500 < 0.018


def test_holm_agrees_with_its_definition() -> None:
    random = np.random.default_rng(3)
    for size in (0, 1, 2, 7):
        p_values = list(random.random(size) ** 3)
        order = np.argsort(p_values)
        steps = np.maximum.accumulate([min(1.0, (size - i) * p_values[j]) for i, j in enumerate(order)])
        assert holm(p_values) == pytest.approx([steps[list(order).index(j)] for j in range(size)])


def test_smallest_effect_is_what_four_of_five_t_tests_find() -> None:
    random = np.random.default_rng(4)
    effect = smallest_effect([(1 / 5, 4)])
    draws = random.normal(effect, 1, (20000, 5))
    t = draws.mean(1) / (draws.std(1, ddof=1) / np.sqrt(5))
    assert (t > 2.776).mean() == pytest.approx(0.8, abs=0.01)
    assert smallest_effect([(1.0, 4)], alpha=0.01) > smallest_effect([(1.0, 4)])


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


def test_unpaired_seeds_widen_the_difference() -> None:
    nll, tokens = simulated(5, 100, (0.3, 0.1), 5)
    shuffled = difference_interval(nll[[1, 2, 3, 4, 0]], tokens, nll, tokens)
    assert shuffled.nats == pytest.approx(0)
    assert not shuffled.clear
    assert shuffled.high - shuffled.low > 0.1


def test_a_method_does_not_differ_from_itself() -> None:
    nll, tokens = simulated(3, 20, (0.3, 0.5), 7)
    found = difference_interval(nll, tokens, nll, tokens)
    assert (found.nats, found.low, found.high, found.ratio, found.clear, found.p_value) == (0, 0, 0, 1, False, 1)


def test_swapping_the_methods_mirrors_the_interval() -> None:
    (a, tokens), (b, _) = simulated(4, 50, (0.1, 0.3), 8), simulated(4, 50, (0.1, 0.3), 9)
    there, back = difference_interval(a, tokens, b, tokens), difference_interval(b, tokens, a, tokens)
    assert (there.nats, there.low, there.high) == pytest.approx((-back.nats, -back.high, -back.low))


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


def test_blocks_of_one_document_count_as_one() -> None:
    """Ten blocks of each document, all alike: the interval is that of the documents."""
    random = np.random.default_rng(12)
    rates = np.sort(random.normal(3, 0.2, 20)).reshape(2, 10).T.ravel()
    apart = perplexity_interval([100 * rates], [np.full(20, 100)])
    cut = perplexity_interval([np.repeat(10 * rates, 10)], [np.full(200, 10)])
    # 200 halve to 25 and 12 but not to 20, so that some neighbours share a document.
    assert np.log(cut[1] / cut[0]) == pytest.approx(np.log(apart[1] / apart[0]), rel=0.35)
    joined, left = join_dependent(np.repeat(rates, 8)[None])
    assert joined[0] == pytest.approx(rates)
    assert left == 0


def test_independent_blocks_are_seldom_joined() -> None:
    random = np.random.default_rng(13)
    kept = [join_dependent(random.normal(size=(3, 100)))[0].shape[1] for _ in range(500)]
    # One in five, and three standard errors.
    assert 0.146 < np.mean(np.array(kept) < 100) < 0.254


def test_what_stays_after_the_last_join_widens_the_interval() -> None:
    """Twelve blocks cannot be joined."""
    slope = np.linspace(-1, 1, 12)
    joined, left = join_dependent(slope[None])
    assert joined.shape == (1, 12)
    assert left == 0.6
    low, high = perplexity_interval([10 * (3 + slope)], [np.full(12, 10)])
    standard = slope.std(ddof=1) / np.sqrt(12)
    assert np.log(high) - np.log(low) == pytest.approx(2 * 2.630 * 2 * standard, rel=0.01)
    few = perplexity_interval([10 * (3 + slope[:7])], [np.full(7, 10)])
    assert np.log(few[1] / few[0]) == pytest.approx(2 * 2.447 * slope[:7].std(ddof=1) / np.sqrt(7), rel=0.01)


def test_blocks_without_tokens_do_no_harm() -> None:
    nll, tokens = simulated(3, 100, (0.1, 0.5), 11)
    empty = np.zeros((3, 1))
    more = perplexity_interval(np.hstack([nll, empty]), np.hstack([tokens, empty]))
    assert more == pytest.approx(perplexity_interval(nll, tokens), rel=0.001)


def test_faults() -> None:
    with pytest.raises(DataError, match=r"shape \(seeds, blocks\); got \(2,\), \(2,\)"):
        perplexity_interval([1.0, 2.0], [1, 1])
    with pytest.raises(DataError, match="every seed must have a block with counted tokens"):
        perplexity_interval([[1.0], [0.0]], [[1], [0]])
    with pytest.raises(DataError, match=r"same seeds and blocks for both; got shapes \(1, 1\), \(1, 2\)"):
        difference_interval([[1.0]], [[1]], [[1.0, 2.0]], [[1, 1]])
    with pytest.raises(DataError, match="level must be between 0 and 1"):
        perplexity_interval([[1.0, 2.0]], [[1, 1]], level=95)
    with pytest.raises(DataError, match="at least two seeds or two blocks of text"):
        perplexity_interval([[1.0]], [[1]])
    with pytest.raises(DataError, match="two filled vectors of equal length"):
        into_blocks([1.0], [1, 2])


def test_intervals_need_no_torch() -> None:
    code = "import sys, qpeft.metrics.intervals; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
