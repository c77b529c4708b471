"""Equal wall-clock: a second comparison, in which every method trains for as long as the baseline did."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from pydantic import Field, ValidationError

from qpeft.errors import LockError, RecordError
from qpeft.records import (
    LOCK,
    PLAN,
    RECORD,
    Comparison,
    RunRecord,
    RunSpec,
    best_rate,
    finals,
    holding,
    tunable,
    write_atomically,
)
from qpeft.records.spec import Strict
from qpeft.training.compare import ComparisonProgress, Outcome, planned, run_comparison

FOLDER = "equal-time"


class Share(Strict):
    """The steps of one method that fit into the time."""

    label: str
    of: str = Field(description="identity of the method's row in the ordinary comparison")
    step_time: float = Field(ge=0, description="seconds, median of its final runs; 0: it does not train")
    steps_before: int = Field(ge=1, description="of the ordinary comparison")
    steps: int = Field(ge=1)


class TimePlan(Strict):
    """What was decided from measured times; kept on disk, because the next measurement would be another one."""

    reference: str = Field(description="label of the method whose training time all get")
    of: str = Field(description="identity of its row in the ordinary comparison")
    seconds: float = Field(gt=0, description="its training time: its steps times the median of its step times")
    shares: tuple[Share, ...]


def equal_time(comparison: Comparison, records: Sequence[RunRecord], plan: TimePlan | None = None) -> Comparison:
    """The comparison in which every trained method gets the steps that fit into the baseline's training time.

    Learning rates stay as they were tuned, the schedule is planned anew for the new number of steps, warm-up keeps
    its share of them. A method that does not train is left as it is, one without a finished final run left out.

    Args:
        comparison: The ordinary one.
        records: Its finished runs; others among them are not looked at.
        plan: What was decided before; decided now from the records by default.

    Returns:
        Final runs only: nothing is tuned again.

    Raises:
        RecordError: No final run of the baseline is finished, or nothing was trained.
    """
    plan = plan or time_plan(comparison, records)
    shares = {share.label: share for share in plan.shares}
    runs = []
    for run in comparison.runs:
        share = shares.get(run.label)
        if share is None:
            continue
        rate = tuned(comparison, run, records)
        warmup = round(run.train.warmup_steps * share.steps / run.train.steps)
        train = run.train.model_copy(
            update={"steps": share.steps, "warmup_steps": warmup, "learning_rate": rate or run.train.learning_rate}
        )
        runs.append(run.model_copy(update={"train": train}))
    return comparison.model_copy(
        update={
            "name": f"{comparison.name}-{FOLDER}",
            "title": f"{comparison.title}: equal training time, the {plan.seconds:.3g} s of {plan.reference}",
            "runs": tuple(runs),
            "learning_rates": (),
        }
    )


def time_plan(comparison: Comparison, records: Sequence[RunRecord], before: TimePlan | None = None) -> TimePlan:
    """How many steps of each method fit into the baseline's training time; where that does not train, the slowest's.

    Args:
        comparison: The ordinary one.
        records: Its finished runs.
        before: An earlier plan; what it decided about rows that are still the same stays.

    Raises:
        RecordError: No final run of the baseline is finished, or nothing was trained.
    """
    rows = {run.label: run for run in comparison.runs}
    times = {label: time for label, run in rows.items() if (time := step_time(comparison, run, records)) is not None}
    reference = choose_reference(comparison, times)
    if before is not None and not still_holds(before, comparison, times):
        before = None
    if before is not None:
        reference = before.reference
    total = before.seconds if before else times[reference] * rows[reference].train.steps
    kept = {(share.label, share.of): share for share in before.shares} if before else {}
    shares = [
        kept.get((label, rows[label].identity())) or share_of(rows[label], time, total)
        for label, time in times.items()
    ]
    return TimePlan(reference=reference, of=rows[reference].identity(), seconds=total, shares=tuple(shares))


def still_holds(before: TimePlan, comparison: Comparison, times: dict[str, float]) -> bool:
    """Whether the method an earlier plan measured the time of is still the same, and the one to choose."""
    row = next((run for run in comparison.runs if run.label == before.reference), None)
    same = row is not None and row.identity() == before.of
    return same and (before.reference == comparison.baseline or not times[comparison.baseline])


def choose_reference(comparison: Comparison, times: dict[str, float]) -> str:
    """The method whose training time all get: the baseline; where that does not train, the slowest.

    Raises:
        RecordError: No final run of the baseline is finished, or nothing was trained.
    """
    if comparison.baseline not in times:
        raise RecordError(
            f"equal time needs a finished final run of the baseline {comparison.baseline!r}; finish the comparison"
        )
    steps = {run.label: run.train.steps for run in comparison.runs}
    longest = max(times, key=lambda label: times[label] * steps[label])
    if not times[longest]:
        raise RecordError(f"equal time needs a method that trains; {comparison.name} has {', '.join(times)}")
    return comparison.baseline if times[comparison.baseline] else longest


def share_of(run: RunSpec, time: float, total: float) -> Share:
    """The whole steps of a method that fit into ``total`` seconds, at least one."""
    # A hair more than the quotient, so that the reference keeps its own number of steps.
    steps = max(1, int(total / time * (1 + 1e-9))) if time else run.train.steps
    return Share(label=run.label, of=run.identity(), step_time=time, steps_before=run.train.steps, steps=steps)


def step_time(comparison: Comparison, run: RunSpec, records: Sequence[RunRecord]) -> float | None:
    """Median seconds of a step over a method's own final runs; 0 where it does not train, None without such runs."""
    own = {spec.identity() for spec in finals(comparison, run, tuned(comparison, run, records))}
    times = [record.train_info.step_time_median for record in records if record.identity in own]
    return median(times) if times else None


def tuned(comparison: Comparison, run: RunSpec, records: Sequence[RunRecord]) -> float | None:
    """The learning rate that the tuning runs among the records chose; None where there was nothing to choose."""
    if not tunable(comparison, run):
        return None
    own = {spec.identity() for spec in comparison.tune_specs(run)}
    return best_rate(comparison, [record for record in records if record.identity in own])


def read_plan(folder: Path) -> TimePlan | None:
    """The plan kept in a folder of equal-time runs, or None.

    Raises:
        RecordError: The file is damaged.
    """
    path = folder / PLAN
    try:
        return TimePlan.model_validate_json(path.read_text("utf-8")) if path.exists() else None
    except (ValidationError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is no plan of an equal-time comparison; delete it to plan anew") from error


def run_equal_time(
    comparison: Comparison,
    records: Sequence[RunRecord],
    folder: Path,
    progress: ComparisonProgress | None = None,
    report_to: Sequence[str] = (),
) -> tuple[Comparison, TimePlan, Outcome]:
    """Plan the equal-time comparison of a finished one, or take up its plan, and do its runs.

    Args:
        comparison: The ordinary one.
        records: Its finished runs.
        folder: Of the ordinary comparison; the runs and ``plan.json`` go to ``equal-time/`` in it.
        progress: Shows where it stands.
        report_to: Trackers.

    Returns:
        The derived comparison, what was decided, records and failures.

    Raises:
        RecordError: As `time_plan`, or a plan on disk is damaged.
    """
    place = folder / FOLDER
    plan = time_plan(comparison, records, read_plan(place))
    write_atomically(place / PLAN, plan.model_dump_json(indent=1) + "\n")
    derived = equal_time(comparison, records, plan)
    for spec in planned(derived):
        take_over(spec, folder, place)
    return derived, plan, run_comparison(derived, place, progress, report_to)


def take_over(spec: RunSpec, folder: Path, place: Path) -> None:
    """Copy a run that the ordinary comparison did with the same spec: the baseline and what does not train."""
    source, target = folder / spec.folder(), place / spec.folder()
    if not (source / RECORD).exists() or (target / RECORD).exists():
        return
    with suppress(LockError), holding(target):  # held: another process copies it
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(RECORD, f"{LOCK}*"), dirs_exist_ok=True)
        write_atomically(target / RECORD, (source / RECORD).read_text("utf-8"))


def actual_times(plan: TimePlan, records: Sequence[RunRecord]) -> list[tuple[Share, float | None]]:
    """Each method's share with the median seconds its final runs really trained; None without runs."""
    found: dict[str, list[float]] = {}
    for record in records:
        found.setdefault(record.spec.label, []).append(record.train_info.train_time)
    return [(share, median(found[share.label]) if share.label in found else None) for share in plan.shares]
