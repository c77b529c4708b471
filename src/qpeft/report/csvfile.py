"""Every run as one line of a CSV file, for other people's figures."""

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from qpeft.errors import RecordError
from qpeft.records import RunRecord, write_atomically
from qpeft.report.groups import flat
from qpeft.report.summary import final_loss

SPEC = ("label", "seed", "purpose", "method.name", "method.over.name", "model.name", "data.name")
TRAIN = ("steps", "batch_size", "gradient_accumulation", "learning_rate", "optimizer", "scheduler")
INFO = (
    "status",
    "num_trainable_params",
    "num_adapter_params",
    "effective_params",
    "num_total_params",
    "train_time",
    "step_time_median",
    "optimizer_time_median",
    "train_tokens",
    "file_size",
    "accelerator_memory_max",
    "process_memory_max",
)
QUANTUM = (
    "source",
    "preset",
    "n_qubits",
    "depth",
    "ansatz",
    "entangler",
    "n_angles",
    "n_generated",
    "backend",
    "shots",
    "noise",
    "grad_method",
    "circuit_executions",
    "shots_spent",
)


def write_csv(records: Iterable[RunRecord], path: Path) -> Path:
    """Write one row a run, tuning runs and failed runs included; a cell is empty where nothing was measured.

    Args:
        records: the runs.
        path: the file to write.

    Returns:
        The path.

    Raises:
        RecordError: there are no records.
    """
    kept = sorted(records, key=lambda r: (r.spec.label, r.spec.purpose, r.spec.train.learning_rate, r.seed))
    if not kept:
        raise RecordError("a table needs at least one record, got none; run a comparison first")
    names = sorted({f"{metric.split}.{metric.name}" for record in kept for metric in record.metrics})
    rows = [_cells(record) for record in kept]
    text = StringIO()
    fields = [*dict.fromkeys(key for row in rows for key in row if key not in names), *names]
    writer = csv.DictWriter(text, fields, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
    return path


def _cells(record: RunRecord) -> dict[str, Any]:
    spec = flat(record.spec.model_dump(mode="json"))
    info = record.train_info.model_dump(mode="json")
    quantum = record.quantum.model_dump(mode="json") if record.quantum else {}
    return {
        "identity": record.identity,
        "created_at": record.run_info.created_at,
        **{key: spec.get(key) for key in SPEC},
        **{f"train.{key}": spec.get(f"train.{key}") for key in TRAIN},
        **{key: info.get(key) for key in INFO},
        **{f"quantum.{key}": quantum.get(key) for key in QUANTUM},
        "final_loss": final_loss(record),
        **{f"{metric.split}.{metric.name}": metric.value for metric in record.metrics},
    }
