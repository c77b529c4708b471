"""Rows: the right numbers from the right runs, and a clear answer where there are none."""

import math
from collections.abc import Callable
from statistics import fmean

import pytest

from qpeft.errors import RecordError
from qpeft.records import Metric, RunRecord
from qpeft.report import Row, summarise
from qpeft.report.tables import cost

Make = Callable[..., RunRecord]


def by_label(records: list[RunRecord]) -> dict[str, Row]:
    return {row.label: row for row in summarise(records)}


def test_rows_are_sorted_by_perplexity_and_tuning_runs_make_none(comparison: list[RunRecord]) -> None:
    rows = summarise(comparison)
    assert [row.label for row in rows] == ["LoRA", "QPA table", "QPA", "QPA frozen", "QPA none", "base"]
    assert [row.tuning_runs for row in rows] == [3, 0, 3, 0, 0, 0]


def test_perplexity_is_exp_of_the_mean_over_seeds(comparison: list[RunRecord]) -> None:
    row = by_label(comparison)["LoRA"]
    values = [r.metric("perplexity") for r in comparison if r.spec.label == "LoRA" and r.spec.purpose == "final"]
    expected = math.exp(fmean(math.log(v) for v in values if v is not None))
    assert row.perplexity == pytest.approx(expected)
    assert row.padded == pytest.approx(expected / 2)
    assert row.low is not None
    assert row.high is not None
    assert row.low < expected < row.high
    assert row.seeds == (0, 1, 2)


def test_sizes_costs_and_circuit_come_from_the_records(comparison: list[RunRecord]) -> None:
    rows = by_label(comparison)
    row = rows["QPA"]
    assert (row.trainable, row.adapter, row.effective, row.total) == (2_000, 9_000, None, 1_000_000)
    assert (row.qubits, row.source, row.preset, row.executions) == (8, "circuit", "recommended", 400)
    assert (row.learning_rate, row.file_size, row.step_seconds) == (0.01, 36_000, 0.1)
    assert row.method == "qpa over peft"
    assert rows["LoRA"].qubits is None


def test_step_time_is_the_median_over_seeds(make: Make) -> None:
    runs = [make("a", seed=i, info={"step_time_median": t}) for i, t in enumerate((0.1, 0.2, 9.0))]
    assert summarise(runs)[0].step_seconds == 0.2


def test_speed_and_optimizer_share_are_medians_of_the_timed_runs(make: Make) -> None:
    runs = [make("a", seed=0, info={"optimizer_time_median": 0.02}), make("a", seed=1)]
    row = summarise(runs)[0]
    assert row.optimizer_share == pytest.approx(0.2)
    assert row.tokens_per_second == pytest.approx(100_000 / 20)
    table = cost([row])
    assert table.columns[2] == "Optimizer and generator"
    assert table.rows[0][2:4] == ["20.0 %", "5,000"]
    assert "Optimizer and generator" not in cost(summarise(runs[1:])).columns


def test_what_does_not_train_has_no_speed(make: Make) -> None:
    row = summarise([make("base", info={"train_time": 0.0, "step_time_median": 0.0, "optimizer_time_median": 0.0})])[0]
    assert (row.optimizer_share, row.tokens_per_second) == (None, None)


def test_final_loss_is_the_mean_of_the_last_tenth(make: Make) -> None:
    curve = [{"step": i, "loss": float(i), "learning_rate": 0.1} for i in range(40)]
    assert summarise([make("a", curve=curve)])[0].final_loss == pytest.approx((36 + 37 + 38 + 39) / 4)
    assert summarise([make("a", curve=[])])[0].final_loss is None


def test_one_seed_still_has_an_interval_over_text(make: Make) -> None:
    row = summarise([make("a")])[0]
    assert row.seeds == (0,)
    assert row.low is not None


def test_without_blocks_there_is_no_interval(make: Make) -> None:
    row = summarise([make("a", seed=seed, blocks=[]) for seed in range(3)])[0]
    assert row.perplexity is not None
    assert (row.low, row.high) == (None, None)


def test_failed_and_diverged_runs_are_counted_and_left_out(make: Make) -> None:
    diverged = [Metric(name="perplexity", split="test", value=math.inf, signature="")]
    runs = [make("a"), make("a", seed=1, info={"status": "failed"}), make("a", seed=2, metrics=diverged)]
    row = summarise(runs)[0]
    assert (row.seeds, row.failed) == ((0,), 2)
    assert row.perplexity == runs[0].metric("perplexity")


def test_a_method_of_which_every_run_failed_keeps_its_row(make: Make) -> None:
    rows = summarise([make("bad", info={"status": "failed"}), make("good")])
    assert [row.label for row in rows] == ["good", "bad"]
    assert (rows[1].perplexity, rows[1].step_seconds, rows[1].failed) == (None, None, 1)


def test_the_same_run_read_twice_counts_once(make: Make) -> None:
    assert summarise([make("a"), make("a"), make("a", seed=1)])[0].seeds == (0, 1)


def test_no_final_runs_says_how_to_go_on(make: Make) -> None:
    with pytest.raises(RecordError, match="finish the comparison first"):
        summarise([make("a", purpose="tune")])


def test_one_label_with_two_specs_is_refused(make: Make) -> None:
    with pytest.raises(RecordError, match=r"'a' has train\.steps: 200, 400; give one of them another label"):
        summarise([make("a"), make("a", seed=1, train={"steps": 400})])
