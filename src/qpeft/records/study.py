"""StudyRecord: what a measurement was asked for and what it found; written once, never changed."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from qpeft.errors import RecordError
from qpeft.records.record import MetaInfo
from qpeft.records.spec import Strict
from qpeft.records.store import write_atomically

STUDY_VERSION = 1
# A cell that could not be measured is None, so that the file is plain JSON.
Cell = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str | None
StudyRow = dict[str, Cell]


class StudySpec(Strict):
    """A study and its settings, which decide everything but the machine."""

    study: str = Field(description="a name of `qpeft.training.studies.STUDIES`")
    settings: dict[str, Any] = Field(description="every field of the study's settings, defaults included")

    def identity(self) -> str:
        """Sixteen hex digits of the sha256 of the canonical JSON; equal specs have equal identities.

        >>> a = StudySpec(study="counts", settings={"rank": 4, "depth": 8})
        >>> a.identity() == StudySpec(study="counts", settings={"depth": 8, "rank": 4}).identity()
        True
        """
        body = {"version": STUDY_VERSION, **self.model_dump(mode="json")}
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class StudyRecord(Strict):
    """Everything one study found."""

    version: Literal[1] = 1
    study: str
    title: str = ""
    settings: dict[str, Any]
    paper: dict[str, Any] | None = Field(None, description="paper id, item, what it says")
    identity: str
    created_at: str
    total_time: float = Field(description="seconds")
    environment: MetaInfo
    rows: list[StudyRow] = Field(description="one measured point each")
    fits: list[StudyRow] = Field(default_factory=list, description="what was fitted to the rows")
    notes: list[str] = Field(default_factory=list, description="what a reader has to know beside the numbers")

    @property
    def spec(self) -> StudySpec:
        """What was asked for."""
        return StudySpec(study=self.study, settings=self.settings)


def write_study(record: StudyRecord, path: Path) -> None:
    """Write a record as JSON.

    Raises:
        RecordError: the file holds a record of other settings, or something else.
    """
    if path.exists():
        kept_study(record.spec, path)
        return
    write_atomically(path, record.model_dump_json(indent=1) + "\n")


def read_study(path: Path) -> StudyRecord:
    """Read a record.

    Raises:
        RecordError: the file is missing, is no record of a study, or its settings were changed by hand.
    """
    try:
        record = StudyRecord.model_validate_json(path.read_text("utf-8"))
    except OSError as error:
        raise RecordError(f"a study's record was expected at {path}: {error.strerror}; run `qpeft study`") from error
    except (ValidationError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise RecordError(f"{path} must be the record of a study, version {STUDY_VERSION}: {reason}") from error
    if record.identity != record.spec.identity():
        raise RecordError(
            f"{path} says identity {record.identity}, its settings have {record.spec.identity()}: the file was changed"
        )
    return record


def kept_study(spec: StudySpec, path: Path) -> StudyRecord | None:
    """The record at a path if it is of this spec, None if there is no file.

    Raises:
        RecordError: the file is a record of other settings, or no record.
    """
    if not path.exists():
        return None
    record = read_study(path)
    if record.identity != spec.identity():
        raise RecordError(
            f"{path} holds the record of study {record.study!r} with other settings (identity {record.identity}, "
            f"asked for {spec.identity()}); records are never overwritten: name another file"
        )
    return record
