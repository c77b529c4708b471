"""Study: a measurement - settings in, rows out - and the record of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qpeft.records import (
    StudyRecord,
    StudyRow,
    StudySpec,
    holding_file,
    kept_study,
    require_place,
    write_study,
)
from qpeft.records.spec import Strict
from qpeft.training.environment import meta_info

# Called with the number of points done, and what the next one is.
Tick = Callable[[int, str], None]


def silent(done: int, name: str) -> None:
    """Shows nothing; the command line has a bar."""


@dataclass
class Found:
    """What a study measured.

    Attributes:
        rows: One measured point each.
        fits: What was fitted to the rows.
        notes: What a reader has to know beside the numbers.
        model: The model that was used, for the record.
    """

    rows: list[StudyRow] = field(default_factory=list)
    fits: list[StudyRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """One kind of measurement.

    Attributes:
        settings: What it takes.
        points: What would be measured, one mapping a point.
        measure: Measures it.
    """

    settings: type[Strict]
    points: Callable[[Any], list[StudyRow]]
    measure: Callable[[Any, Tick], Found]


def run_study(
    study: Study,
    spec: StudySpec,
    path: Path,
    tick: Tick = silent,
    title: str = "",
    paper: dict[str, Any] | None = None,
) -> StudyRecord:
    """Measure, unless the record of the same settings is on disk.

    Args:
        study: What to measure.
        spec: Its name and complete settings.
        path: The record's file.
        tick: Shows where it stands.
        title: One line for tables and pages.
        paper: What the paper says about it.

    Returns:
        The record, new or as it lay there.

    Raises:
        RecordError: The file holds a record of other settings, or no record.
        LockError: Another process is measuring it.
    """
    kept = kept_study(spec, path)
    if kept is not None:
        return kept
    require_place(path.parent)
    with holding_file(path) as lock:
        kept = kept_study(spec, path)  # by another process, since the look above
        if kept is not None:
            return kept
        record = new_study(study, spec, tick, title, paper)
        lock.check()
        write_study(record, path)
    return record


def new_study(study: Study, spec: StudySpec, tick: Tick, title: str, paper: dict[str, Any] | None) -> StudyRecord:
    """Measure; the arguments are those of `run_study`."""
    began = time.perf_counter()
    found = study.measure(study.settings.model_validate(spec.settings), tick)
    return StudyRecord(
        study=spec.study,
        title=title,
        settings=spec.settings,
        paper=paper,
        identity=spec.identity(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        total_time=time.perf_counter() - began,
        environment=meta_info(found.model, {}),
        rows=found.rows,
        fits=found.fits,
        notes=found.notes,
    )
