"""One row a method: perplexity with its interval, sizes and cost, over all seeds of its final runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from qpeft.metrics.intervals import perplexity_interval
from qpeft.records import RunRecord
from qpeft.report.convergence import Ending, ending_of
from qpeft.report.groups import ENOUGH_SEEDS as ENOUGH_SEEDS
from qpeft.report.groups import block_arrays, final_groups, finite_metric, measured, tune_groups
from qpeft.report.means import Mean, geometric_mean, mean_over_seeds

CURVE_TAIL = 0.1
# Metrics of written answers and of single tokens, all on the scale of 0 to 100 where higher is better.
ANSWERS = {
    "bleu": "BLEU",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "bertscore_f1": "BERTScore F1",
    "token_accuracy": "Token accuracy, %",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One method of a comparison.

    ``None`` means "not measured". Perplexities are of the test split, and geometric means over seeds; ``low`` and
    ``high`` bound the 95 % interval of ``perplexity``; ``final_loss`` is in nats per token. ``answers`` holds the
    names of ``ANSWERS`` that were measured on the test split; ``ending`` is None where the curves are too short;
    ``optimizer_share`` is in [0, 1].
    """

    label: str
    method: str
    seeds: tuple[int, ...]
    failed: int
    perplexity: float | None
    low: float | None
    high: float | None
    seed_perplexities: tuple[float, ...]
    padded: float | None
    seed_padded: tuple[float, ...]
    final_loss: float | None
    trainable: int
    adapter: int
    effective: int | None
    total: int
    step_seconds: float | None
    optimizer_share: float | None
    tokens_per_second: float | None
    train_seconds: float | None
    memory_bytes: int | None
    file_size: int
    executions: int | None
    shots: int | None
    qubits: int | None
    source: str | None
    preset: str | None
    learning_rate: float
    tuning_runs: int
    answers: Mapping[str, Mean]
    ending: Ending | None


def summarise(records: Iterable[RunRecord]) -> list[Row]:
    """One row a label, lowest test perplexity first, labels without one last.

    Only records with purpose ``final`` become rows; tuning runs are counted. Runs that failed or
    have no finite test perplexity are counted in ``failed`` and left out of every mean.

    Args:
        records: records of one comparison, in any order.

    Returns:
        The rows.

    Raises:
        RecordError: there is no final record, or one label holds runs of different specs.

    >>> summarise([])
    Traceback (most recent call last):
    ...
    qpeft.errors.RecordError: a report needs records with purpose 'final', got none; finish the comparison first
    """
    kept = list(records)
    tuned = tune_groups(kept)
    rows = [_row(label, runs, len(tuned.get(label, []))) for label, runs in final_groups(kept).items()]
    return sorted(rows, key=lambda row: (row.perplexity is None, row.perplexity or 0.0, row.label))


def final_loss(run: RunRecord) -> float | None:
    """Mean of the last tenth of the training curve, nats per token; None without a curve."""
    if not run.curve:
        return None
    tail = run.curve[-max(1, math.ceil(CURVE_TAIL * len(run.curve))) :]
    return fmean(point.loss for point in tail)


def _row(label: str, runs: Sequence[RunRecord], tuning_runs: int) -> Row:
    good = measured(runs)
    shown = good[0] if good else runs[0]
    info, quantum = shown.train_info, shown.quantum
    perplexities = _values(finite_metric(run, "perplexity", "test") for run in good)
    padded = _values(finite_metric(run, "perplexity_padded", "test") for run in good)
    low, high = _interval(good)
    over = shown.spec.method.over
    return Row(
        label=label,
        method=shown.spec.method.name + (f" over {over.name}" if over else ""),
        seeds=tuple(run.seed for run in good),
        failed=len(runs) - len(good),
        perplexity=geometric_mean(perplexities),
        low=low,
        high=high,
        seed_perplexities=tuple(perplexities),
        padded=geometric_mean(padded),
        seed_padded=tuple(padded),
        final_loss=_mean(_values(final_loss(run) for run in good)),
        trainable=info.num_trainable_params,
        adapter=info.num_adapter_params,
        effective=info.effective_params,
        total=info.num_total_params,
        step_seconds=median([run.train_info.step_time_median for run in good]) if good else None,
        optimizer_share=_median([_optimizer_share(run) for run in good]),
        tokens_per_second=_median([_speed(run) for run in good]),
        train_seconds=_mean([run.train_info.train_time for run in good]),
        memory_bytes=max((_memory(run) for run in good), default=None),
        file_size=info.file_size,
        executions=quantum.circuit_executions if quantum else None,
        shots=quantum.shots_spent if quantum else None,
        qubits=quantum.n_qubits if quantum else None,
        source=quantum.source if quantum else None,
        preset=quantum.preset if quantum else None,
        learning_rate=shown.spec.train.learning_rate,
        tuning_runs=tuning_runs,
        answers=_answers(good),
        ending=ending_of(good),
    )


def measured_answers(rows: Iterable[Row]) -> list[str]:
    """The names of ``ANSWERS`` that at least one row has, in the order of tables."""
    found = {name for row in rows for name in row.answers}
    return [name for name in ANSWERS if name in found]


def _answers(runs: Sequence[RunRecord]) -> dict[str, Mean]:
    means = {name: mean_over_seeds(_values(finite_metric(run, name, "test") for run in runs)) for name in ANSWERS}
    return {name: mean for name, mean in means.items() if mean is not None}


def _interval(runs: Sequence[RunRecord]) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval over seeds and blocks; none where one number is all there is."""
    arrays = block_arrays(runs)
    if arrays is None or arrays[0].size < 2:
        return None, None
    return perplexity_interval(*arrays)


def _optimizer_share(run: RunRecord) -> float | None:
    """The optimizer's share of a step, a generator's time included; None where it was not timed."""
    took, step = run.train_info.optimizer_time_median, run.train_info.step_time_median
    return None if took is None or step <= 0 else took / step


def _speed(run: RunRecord) -> float | None:
    """Trained tokens a second; None for what does not train."""
    info = run.train_info
    return info.train_tokens / info.train_time if info.train_time > 0 and info.train_tokens > 0 else None


def _memory(run: RunRecord) -> int:
    return run.train_info.accelerator_memory_max or run.train_info.process_memory_max


def _values(numbers: Iterable[float | None]) -> list[float]:
    return [number for number in numbers if number is not None]


def _median(numbers: Iterable[float | None]) -> float | None:
    known = _values(numbers)
    return median(known) if known else None


def _mean(numbers: Sequence[float]) -> float | None:
    return fmean(numbers) if numbers else None
