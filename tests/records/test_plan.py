"""The plan of a comparison against records on disk: what is there, what is missing, at which rate."""

from collections.abc import Callable

import pytest

from qpeft.records import Comparison, MethodSpec, RunRecord, RunSpec, select

Make = Callable[..., RunRecord]


@pytest.fixture
def comparison() -> Comparison:
    runs = (
        RunSpec(method=MethodSpec(name="base"), label="base"),
        RunSpec(method=MethodSpec(name="lora"), label="lora"),
    )
    return Comparison(name="c", title="c", baseline="base", runs=runs, seeds=(0, 1), learning_rates=(0.1, 0.01))


def tuned(make: Make, comparison: Comparison, perplexities: list[float]) -> list[RunRecord]:
    specs = comparison.tune_specs(comparison.runs[1])
    metric = {"name": "perplexity", "split": "valid", "signature": "s"}
    return [make(spec=s, metrics=[{**metric, "value": v}]) for s, v in zip(specs, perplexities, strict=True)]


def test_finals_are_looked_for_at_the_best_rate_only(make: Make, comparison: Comparison) -> None:
    tune = tuned(make, comparison, [30.0, 20.0])
    best = [make(spec=spec) for spec in comparison.final_specs(comparison.runs[1], 0.01)]
    other = [make(spec=spec) for spec in comparison.final_specs(comparison.runs[1], 0.1)]
    base = make(spec=comparison.runs[0])
    found = select(comparison, [*other, *best, base, *tune])
    assert found.records == [base, *tune, *best]
    assert found.missing == []
    assert len(select(comparison, [*tune, *other]).missing) == 3  # the base, and two runs at the best rate


def test_without_all_tuning_runs_the_final_ones_are_missing(make: Make, comparison: Comparison) -> None:
    tune = tuned(make, comparison, [30.0, 20.0])[:1]
    best = [make(spec=spec) for spec in comparison.final_specs(comparison.runs[1], 0.1)]
    found = select(comparison, [*tune, *best])
    assert found.records == tune
    assert [spec.purpose for spec in found.missing] == ["final", "tune", "final", "final"]


def test_a_rate_that_diverged_is_not_chosen(make: Make, comparison: Comparison) -> None:
    tune = tuned(make, comparison, [float("inf"), 20.0])
    assert {spec.train.learning_rate for spec in select(comparison, tune).missing[1:]} == {0.01}
