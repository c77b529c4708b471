"""A comparison: tune every method on the same grid, run every seed, skip what is done, go on after a failure."""

import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from qpeft.errors import ConfigError, LockError
from qpeft.foreign import as_ours
from qpeft.records import (
    Comparison,
    RunRecord,
    RunSpec,
    best_rate,
    finals,
    require_place,
    tunable,
    write_atomically,
)
from qpeft.training.callbacks import Progress, Silent
from qpeft.training.methods import check_method
from qpeft.training.run import train_run
from qpeft.training.trackers import check_trackers

# Seconds between two looks at a run that another process is at work on.
POLL = 2.0


@dataclass
class Outcome:
    """The records of a comparison, and the runs that failed with their messages."""

    records: list[RunRecord] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def run_comparison(
    comparison: Comparison,
    folder: Path,
    progress: "ComparisonProgress | None" = None,
    report_to: Sequence[str] = (),
) -> Outcome:
    """Do every run of a comparison that is not on disk yet.

    The learning rate of a method is the one with the lowest validation perplexity among its tuning runs, whose
    seed no final run uses; the test split is never looked at before.

    Args:
        comparison: Methods, seeds, grid.
        folder: One sub-folder a run; an interrupted comparison goes on here.
        progress: Shows where it stands.
        report_to: Trackers that follow every run; they do not decide its result.

    Returns:
        Records of all runs that succeeded, and the failures.

    Raises:
        ConfigError: Methods of the comparison or trackers cannot be used; nothing was run.
        MissingExtraError: A tracker is not installed; nothing was run.
        StorageError: The folder cannot be written; nothing was run.
    """
    check_trackers(report_to)
    require_place(folder)
    progress = progress or ComparisonProgress()
    outcome = Outcome()
    progress.plan(len(planned(comparison)))
    for run in comparison.runs:
        tune = tunable(comparison, run)
        rate = tuned_rate(comparison, run, folder, outcome, progress, report_to) if tune else None
        attempt_all(finals(comparison, run, rate), folder, outcome, progress, report_to)
    return outcome


class ComparisonProgress:
    """Shows nothing; the command line has one that does."""

    def plan(self, runs: int) -> None:
        """Called once with the number of runs."""

    def start(self, spec: RunSpec) -> Progress:
        """Called before each run."""
        return Silent()

    def end(self, spec: RunSpec, error: str | None) -> None:
        """Called after each run, with its error message if it failed."""


def planned(comparison: Comparison) -> list[RunSpec]:
    """Every run, tuning included; where there is a grid, a final run's learning rate is only known after it.

    Raises:
        ConfigError: Methods of the comparison cannot be used; all of them are named.
    """
    faults = []
    for run in comparison.runs:
        try:
            check_method(run.method)
        except ConfigError as error:
            faults.append(f"methods.{run.label}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    specs: list[RunSpec] = []
    for run in comparison.runs:
        specs += comparison.tune_specs(run) if tunable(comparison, run) else []
        specs += finals(comparison, run, None)
    return specs


def tuned_rate(
    comparison: Comparison,
    run: RunSpec,
    folder: Path,
    outcome: Outcome,
    progress: ComparisonProgress,
    report_to: Sequence[str] = (),
) -> float:
    """The learning rate with the lowest validation perplexity; where every rate diverged, the smallest."""
    return best_rate(comparison, attempt_all(comparison.tune_specs(run), folder, outcome, progress, report_to))


def attempt_all(
    specs: Sequence[RunSpec],
    folder: Path,
    outcome: Outcome,
    progress: ComparisonProgress,
    report_to: Sequence[str] = (),
) -> list[RunRecord]:
    """Several runs that do not wait for each other; those that another process is at work on are left for last.

    So processes with the same folder, on one machine or several, share the work, and each ends with all records.
    """
    found: dict[int, RunRecord | None] = {}
    for number, spec in enumerate(specs):
        with suppress(LockError):
            found[number] = attempt(spec, folder, outcome, progress, report_to)
    for number in set(range(len(specs))) - set(found):
        found[number] = attempt(specs[number], folder, outcome, progress, report_to, patient=True)
    records = [record for _, record in sorted(found.items()) if record]
    outcome.records += records
    return records


def attempt(
    spec: RunSpec,
    folder: Path,
    outcome: Outcome,
    progress: ComparisonProgress,
    report_to: Sequence[str] = (),
    *,
    patient: bool = False,
) -> RunRecord | None:
    """One run; its failure is noted, written beside it, and does not stop the others.

    Raises:
        LockError: Another process is at work on it, and we are not patient.
    """
    place, shown = folder / spec.folder(), progress.start(spec)
    try:
        record = wait_for(spec, place, shown, report_to) if patient else train_run(spec, place, shown, report_to)
    except LockError as error:
        shown.note(f"left for later: {error}")
        raise
    except Exception as error:  # a night of other runs must not end with this one
        error = as_ours(error) or error
        message = f"{type(error).__name__}: {error}"
        outcome.failures[spec.folder()] = message
        with suppress(OSError):  # the disk may be what failed
            write_atomically(place / "error.txt", traceback.format_exc())
        progress.end(spec, message)
        return None
    (place / "error.txt").unlink(missing_ok=True)
    progress.end(spec, None)
    return record


def wait_for(spec: RunSpec, place: Path, shown: Progress, report_to: Sequence[str]) -> RunRecord:
    """The record another process makes; where that process ends without one, the run is done here."""
    while True:
        try:
            return train_run(spec, place, shown, report_to)
        except LockError:
            time.sleep(POLL)
