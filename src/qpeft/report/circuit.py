"""What each trained circuit of a comparison was worth against all its twins."""

from collections.abc import Iterable
from dataclasses import dataclass

from qpeft.records import RunRecord
from qpeft.report.verdict import Twin, conclusion, find_twins, twin_verdict


@dataclass(frozen=True, slots=True)
class CircuitVerdict:
    """All that is known about what one trained circuit contributed."""

    label: str
    conclusion: str
    twins: list[Twin]


def circuit_verdicts(records: Iterable[RunRecord]) -> list[CircuitVerdict]:
    """The verdict on every method that trains a circuit, with one sentence for each twin that was run.

    Raises:
        RecordError: there is no final record.
    """
    kept = list(records)
    out = []
    for label, twin_labels in find_twins(kept).items():
        twins = twin_verdict(kept, label, twin_labels)
        out.append(CircuitVerdict(label, conclusion(label, twins), twins))
    return out
