"""The first answers of each method side by side: read from beside the records, never kept in them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from qpeft.errors import RecordError
from qpeft.records import RECORD, RunRecord, read_record
from qpeft.records.spec import Strict

SAMPLES = "samples.json"
MOST_PROMPTS = 4


class Sample(Strict):
    """One prompt, its true answer and a method's, and whether the method ended it by itself."""

    prompt: str
    reference: str
    output: str
    ended: bool


class Samples(Strict):
    """The file beside a run's record."""

    data: str
    split: str
    signature: str
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One prompt: its reference and, for each label, the answer; an answer is None where a label has none."""

    prompt: str
    reference: str
    answers: list[tuple[str, Sample | None]]


def read_samples(path: Path) -> Samples:
    """Read one file of samples.

    Raises:
        RecordError: it is none.
    """
    try:
        return Samples.model_validate(json.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, ValidationError) as error:
        raise RecordError(
            f"{path} must hold the samples that a run wrote beside its record; delete it to report without them"
        ) from error


def find_samples(folder: Path, records: Iterable[RunRecord]) -> dict[str, Samples]:
    """The samples of each label's first seed, from below a folder.

    Args:
        folder: where the runs are.
        records: whose samples are wanted; files of other runs and of tuning runs are passed over.

    Returns:
        label -> its samples, in the order of the records; empty where no run wrote any.

    Raises:
        RecordError: a record or a file of samples is damaged.
    """
    paths: dict[str, Path] = {}
    for path in sorted(folder.rglob(SAMPLES)):
        if (path.parent / RECORD).is_file():
            paths.setdefault(read_record(path.parent / RECORD).identity, path)
    first: dict[str, RunRecord] = {}
    for record in records:
        if record.spec.purpose == "final" and record.identity in paths:
            known = first.setdefault(record.spec.label, record)
            first[record.spec.label] = record if record.seed < known.seed else known
    return {label: read_samples(paths[record.identity]) for label, record in first.items()}


def side_by_side(samples: Mapping[str, Samples], most: int = MOST_PROMPTS) -> list[SideBySide]:
    """The first prompts with every label's answer to the same prompt and reference.

    Args:
        samples: label -> its samples.
        most: how many prompts at most.

    Returns:
        The prompts, in the order they first appear.
    """
    found: dict[tuple[str, str], dict[str, Sample]] = {}
    for label, held in samples.items():
        for sample in held.samples:
            found.setdefault((sample.prompt, sample.reference), {})[label] = sample
    return [
        SideBySide(prompt, reference, [(label, answers.get(label)) for label in samples])
        for (prompt, reference), answers in list(found.items())[:most]
    ]
