"""The record store: one JSON file a run, written once, atomically; a rerun finds it by identity."""

import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from qpeft.errors import RecordError
from qpeft.foreign import ours
from qpeft.records.drafts import draft_prefix, sweep
from qpeft.records.record import RunRecord

RECORD = "record.json"
# A folder with such a file holds a comparison of its own, with the plan of its runs.
PLAN = "plan.json"


def write_atomically(path: Path, text: str) -> None:
    """Write text to a draft in the same folder, flush it to disk, rename it; drafts of killed processes go first.

    Raises:
        StorageError: the disk is full or read-only, or no file can have this name.
    """
    with ours(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, [path.name])
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=draft_prefix(path))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_record(record: RunRecord, path: Path) -> None:
    """Write one record as JSON."""
    write_atomically(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path) -> RunRecord:
    """Read one record.

    Raises:
        RecordError: the file is missing, is no JSON, is of another version, or lacks a record's fields.
    """
    try:
        return RunRecord.model_validate_json(path.read_text("utf-8"))
    except OSError as error:
        raise RecordError(f"a record was expected at {path}: {error.strerror}; run the comparison first") from error
    except UnicodeDecodeError as error:
        raise RecordError(
            f"{path} is no qpeft record: byte {error.start} is no text; delete it to run again"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RecordError(f"{path} is no qpeft record: {where}: {first['msg']}; delete it to run again") from error


def find_records(folder: Path) -> list[RunRecord]:
    """All records at or below a folder, in order of label, purpose and seed.

    A folder below it that has a plan of its own, such as ``equal-time``, is another comparison and left out.

    Raises:
        RecordError: the folder does not exist, or a record in it is damaged.
    """
    if not folder.is_dir():
        raise RecordError(f"a folder with records was expected, got {folder}")
    paths = {*folder.rglob(RECORD), *folder.rglob("*.record.json")}
    others = {path.parent for path in folder.rglob(PLAN)} - {folder}
    records = [read_record(path) for path in sorted(paths) if others.isdisjoint(path.parents)]
    return sorted(records, key=lambda r: (r.spec.label, r.spec.purpose, r.seed))
