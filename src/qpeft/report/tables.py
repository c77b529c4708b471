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
    over_seeds,
    seconds,
    seed_list,
    short,
    size,
    table_digits,
)
from qpeft.report.groups import flat
from qpeft.report.summary import ANSWERS, ENOUGH_SEEDS, Row, measured_answers
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
    columns = ["Method", "Test perplexity", "95 % interval", "Trainable numbers", "End of training", "Seeds", "Padded"]
    out = [
        [
            row.label,
            over_seeds(row.perplexity, row.seed_perplexities, digits),
            bounds(row.low, row.high, digits),
            count(row.trainable),
            MISSING if row.ending is None else row.ending.text,
            seed_list(row.seeds),
            over_seeds(row.padded, row.seed_padded, digits),
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


def endings(rows: Iterable[Row], rates: tuple[float, float] | None) -> str:
    """What the last column of the comparison means, and what a level end does not show; empty without any."""
    known = [row.ending for row in rows if row.ending is not None]
    if not known:
        return ""
    found = sorted(100 * item.found for item in known)
    text = (
        "End of training compares the mean training loss of the last fifth of the logged curve with the fifth before, "
        "over all seeds. A method is marked as still improving where the loss fell by at least 0.5 % and a one-sided "
        "t test on the scatter of the logged losses finds a fall at 5 %; at most 5 % of level methods are marked. "
        f"A fall of {found[0]:.1f} % (the method with the least scatter) to {found[-1]:.1f} % (the one with the most) "
        "would be found in 80 % of cases. Runs of one seed see the same batches, so that hard batches move "
        "all methods together."
    )
    if rates is None or rates[0] >= 1:
        return text
    return (
        f"{text} The schedule takes the learning rate down to {100 * rates[0]:.2g} % of its peak: a loss that is "
        "level under a vanishing rate is no proof of convergence, and a longer schedule could still help."
    )


def answers(rows: Sequence[Row]) -> Table | None:
    """Scores of written answers and of single tokens; None where nothing of the kind was measured."""
    names = measured_answers(rows)
    out = [
        [row.label, *(row.answers[name].shown() if name in row.answers else MISSING for name in names)]
        for row in rows
        if row.answers
    ]
    what = "Answers to the prompts of the test split" if names != ["token_accuracy"] else "Tokens of the test split"
    caption = f"{what}, 0 to 100, higher is better; ± is the 95 % t interval over seeds alone"
    return Table(caption, ("Method", *(ANSWERS[name] for name in names)), out) if names else None


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


def cost(rows: Sequence[Row]) -> Table:
    """Time, speed, bytes and circuit evaluations; the optimizer's share of a step where it was timed."""
    columns = [
        "Method",
        "One step",
        "Tokens per second",
        "Training",
        "Effective numbers",
        "Adapter file",
        "Peak memory",
        "Circuit evaluations",
    ]
    out = [
        [
            row.label,
            seconds(row.step_seconds or None),
            decimal(row.tokens_per_second, 0),
            seconds(row.train_seconds or None),
            count(row.effective),
            size(row.file_size),
            size(row.memory_bytes),
            count(row.executions),
        ]
        for row in rows
    ]
    if any(row.optimizer_share is not None for row in rows):
        columns.insert(2, "Optimizer and generator")
        for cells, row in zip(out, rows, strict=True):
            cells.insert(2, MISSING if row.optimizer_share is None else f"{100 * row.optimizer_share:.1f} %")
    if any(row.shots is not None for row in rows):
        columns.append("Shots")
        for cells, row in zip(out, rows, strict=True):
            cells.append(count(row.shots))
    caption = "Cost of one run: step time and speed are medians over seeds, training time the mean, memory the largest"
    return Table(caption, tuple(columns), out)


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
