"""The plan of a comparison: which runs it asks for, and which of them a folder of records already holds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from qpeft.records.record import RunRecord
from qpeft.records.spec import Comparison, RunSpec


@dataclass
class Selection:
    """The records of one comparison, and what is not there yet."""

    records: list[RunRecord] = field(default_factory=list)
    missing: list[RunSpec] = field(default_factory=list)


def tunable(comparison: Comparison, run: RunSpec) -> bool:
    """Whether a method has a learning rate to choose."""
    return bool(comparison.learning_rates) and run.method.name != "base"


def finals(comparison: Comparison, run: RunSpec, rate: float | None) -> list[RunSpec]:
    """The final runs of a method; the base model depends on no seed and runs once."""
    specs = comparison.final_specs(run, rate)
    return specs[:1] if run.method.name == "base" else specs


def best_rate(comparison: Comparison, tuned: Sequence[RunRecord]) -> float:
    """The learning rate of the best of one method's tuning records; where every rate diverged, the smallest."""
    measured = [(record.metric("perplexity", "valid"), record.spec.train.learning_rate) for record in tuned]
    finite = [(value, rate) for value, rate in measured if value is not None and math.isfinite(value)]
    return min(finite)[1] if finite else min(comparison.learning_rates)


def select(comparison: Comparison, records: Iterable[RunRecord]) -> Selection:
    """The records that a comparison asks for, found by identity among any others.

    Args:
        comparison: What is asked for.
        records: Of this comparison and of others.

    Returns:
        Tuning and final records in the order of the rows; the final runs of a method whose tuning is not complete
        count as missing, at the rate of its row.

    >>> from qpeft.records import MethodSpec
    >>> run = RunSpec(method=MethodSpec(name="base"), label="base")
    >>> select(Comparison(name="x", title="x", baseline="base", runs=(run,)), []).missing == [run]
    True
    """
    known = {record.identity: record for record in records}
    found = Selection()
    for run in comparison.runs:
        tuning = comparison.tune_specs(run) if tunable(comparison, run) else []
        tuned = [known[spec.identity()] for spec in tuning if spec.identity() in known]
        complete = len(tuned) == len(tuning)
        rate = best_rate(comparison, tuned) if tuning and complete else None
        for spec in (*tuning, *finals(comparison, run, rate)):
            record = known.get(spec.identity()) if complete or spec.purpose == "tune" else None
            if record is None:
                found.missing.append(spec)
            else:
                found.records.append(record)
    return found
