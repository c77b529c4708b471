"""The tables of the page as plain text cells; the template gives them their markup."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qpeft.records import RunRecord
from qpeft.report.format import (
    MISSING,
    bounds,
    count,
    decimal,
    interval_digits,
    seconds,
    seed_list,
    short,
    size,
    table_digits,
)
from qpeft.report.groups import flat
from qpeft.report.summary import ENOUGH_SEEDS, Row
from qpeft.report.verdict import Difference

LONGEST_VALUE = 120
CIRCUIT_COLUMNS = {
    "source": "Source",
    "preset": "Preset",
    "n_qubits": "Qubits",
    "depth": "Depth",
    "ansatz": "Ansatz",
    "entangler": "Entangler",
    "n_angles": "Angles",
    "n_generated": "Generated numbers",
    "n_chunks": "Chunks",
    "n_mlp": "Chunk size",
    "backend": "Backend",
    "shots": "Shots",
    "noise": "Noise",
    "grad_method": "Gradient",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, column names, and rows of text; the first cell of a row names it."""

    caption: str
    columns: tuple[str, ...]
    rows: list[list[str]]


def comparison(rows: Sequence[Row], compared: Iterable[Difference], baseline: str | None) -> Table:
    """Perplexity with intervals, and the difference from the baseline."""
    digits = table_digits(rows)
    by_label = {difference.label: difference for difference in compared}
    narrowest = [
        interval_digits(d.low, d.high, 3) for d in by_label.values() if d.low is not None and d.high is not None
    ]
    columns = ["Method", "Test perplexity", "95 % interval", "Padded", "Trainable numbers", "Seeds"]
    out = [
        [
            row.label,
            decimal(row.perplexity, digits),
            bounds(row.low, row.high, digits),
            decimal(row.padded, digits),
            count(row.trainable),
            seed_list(row.seeds),
        ]
        for row in rows
    ]
    if baseline is not None:
        columns[3:3] = ["Difference from baseline, nats per token", "p_Holm", "Verdict"]
        for cells, row in zip(out, rows, strict=True):
            cells[3:3] = _compared(row.label, by_label, baseline, max(narrowest, default=3))
    return Table("Test perplexity, lowest first; lower is better", tuple(columns), out)


def _compared(label: str, by_label: Mapping[str, Difference], baseline: str, digits: int) -> list[str]:
    if label == baseline:
        return [MISSING, MISSING, "the baseline"]
    difference = by_label.get(label)
    if difference is None:
        return [MISSING, MISSING, MISSING]
    if difference.reason:
        return [MISSING, MISSING, f"{difference.verdict}: {difference.reason}"]
    alone = ", the text alone" * (difference.seeds == 1)
    few = f" ({difference.seeds} of {ENOUGH_SEEDS} seeds{alone})" if difference.seeds < ENOUGH_SEEDS else ""
    return [
        difference.shown(digits),
        difference.p_text.removeprefix("p_Holm ").removeprefix("= "),
        difference.verdict + few,
    ]


def sizes(rows: Iterable[Row]) -> Table:
    """What each method trains and by which settings."""
    columns = (
        "Method",
        "Kind",
        "Trainable numbers",
        "Effective numbers",
        "Adapter numbers",
        "Qubits",
        "Source",
        "Preset",
        "Learning rate",
        "Tuning runs",
        "Final training loss",
    )
    return Table(
        "Sizes and settings",
        columns,
        [
            [
                row.label,
                row.method,
                count(row.trainable),
                count(row.effective),
                count(row.adapter),
                count(row.qubits),
                short(row.source),
                short(row.preset),
                short(row.learning_rate),
                count(row.tuning_runs),
                decimal(row.final_loss, 4),
            ]
            for row in rows
        ],
    )


def cost(rows: Iterable[Row]) -> Table:
    """Time, bytes and circuit executions."""
    columns = ("Method", "One step", "Training", "Peak memory", "Adapter file", "Circuit executions")
    return Table(
        "Cost of one run: step time is the median over seeds, training time the mean, memory the largest",
        columns,
        [
            [
                row.label,
                seconds(row.step_seconds),
                seconds(row.train_seconds),
                size(row.memory_bytes),
                size(row.file_size),
                count(row.executions),
            ]
            for row in rows
        ],
    )


def circuits(heads: Mapping[str, RunRecord]) -> Table | None:
    """The circuit of each method that has one; None where none has."""
    rows = []
    for label, run in heads.items():
        if run.quantum is not None:
            values = run.quantum.model_dump(mode="json")
            rows.append([label, *(_text(values[key]) for key in CIRCUIT_COLUMNS)])
    columns = ("Method", *CIRCUIT_COLUMNS.values())
    return Table("Circuits and what stood in their place", columns, rows) if rows else None


def tuning_runs(groups: Mapping[str, Sequence[RunRecord]]) -> Table | None:
    """Every tuning run, the ones without a result too."""
    rows = [
        [
            label,
            short(run.spec.train.learning_rate),
            str(run.seed),
            decimal(run.metric("perplexity", "valid"), 3),
            run.train_info.status,
        ]
        for label, runs in groups.items()
        for run in runs
    ]
    columns = ("Method", "Learning rate", "Seed", "Validation perplexity", "Status")
    return Table("Tuning runs", columns, rows) if rows else None


def signatures(records: Iterable[RunRecord]) -> Table:
    """The definition of every metric, and how many methods were measured by it."""
    labels: dict[tuple[str, str, str], set[str]] = {}
    for record in records:
        for metric in record.metrics:
            labels.setdefault((metric.name, metric.split, metric.signature), set()).add(record.spec.label)
    rows = [[name, split, text, str(len(labels[name, split, text]))] for name, split, text in sorted(labels)]
    return Table("How each number was measured", ("Metric", "Split", "Definition", "Methods"), rows)


def environment(records: Iterable[RunRecord]) -> Table:
    """Packages, machine, model and data; several values where the runs differ."""
    values: dict[str, list[str]] = {}
    for record in records:
        meta = record.meta_info.model_dump(mode="json")
        parts = {"model": meta["model_info"], "data": meta["dataset_info"], "system": meta["system_info"]}
        for key, value in flat({**parts, "package": meta["package_info"]}).items():
            text = _text(value)
            if text not in values.setdefault(key, []):
                values[key].append(text)
    rows = [[key, "; ".join(texts)] for key, texts in values.items()]
    return Table("Environment of the runs", ("Name", "Value"), rows)


def _text(value: object) -> str:
    """One short line for any JSON value."""
    if value is None or value == {}:
        return MISSING
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} ..."
