"""Runs that trained nothing: at the end they compute what the base model does."""

from collections.abc import Iterable
from math import log

from qpeft.records import RunRecord
from qpeft.report.groups import finite_metric

# Nats a token. In the committed records one run lies within 2e-5 of its base, the next nearest at 6e-3.
SAME = 1e-3


def untrained(records: Iterable[RunRecord]) -> list[RunRecord]:
    """The final runs whose test loss is the base model's, within ``SAME``; none where no run of the base is there.

    Args:
        records: Of one comparison; a run is held against the base on the same rows in the same dtype.
    """
    finals = [record for record in records if record.spec.purpose == "final"]
    bases = {_ground(record): loss for record in finals if _is_base(record) and (loss := _loss(record)) is not None}
    return [
        record
        for record in finals
        if not _is_base(record)
        and (loss := _loss(record)) is not None
        and abs(loss - bases.get(_ground(record), float("inf"))) < SAME
    ]


def untrained_note(records: Iterable[RunRecord]) -> str:
    """One sentence that names them; empty where there is none."""
    found = [f"{record.spec.label} (seed {record.seed})" for record in untrained(records)]
    return (
        f"Ended where the base model is, so did not train: {', '.join(found)}. "
        "Its numbers tell about that failure, not about the method."
    ) * bool(found)


def _is_base(record: RunRecord) -> bool:
    return record.spec.method.name == "base"


def _loss(record: RunRecord) -> float | None:
    perplexity = finite_metric(record, "perplexity", "test")
    return log(perplexity) if perplexity else None


def _ground(record: RunRecord) -> tuple[object, ...]:
    """What two runs must share for their losses to be compared."""
    data, model = record.meta_info.dataset_info, record.spec.model
    return model.name, model.dtype, data.get("rows_sha256"), record.spec.data.max_length, record.spec.eval.stride
