"""Checkpoints on disk: complete with a list of files and digests, checked before use, the last two kept."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from qpeft.records import write_atomically

# The list of files; it is written last and removed first, so that a folder with it was once complete.
COMPLETE = "complete"
KEPT = 2


def mark(folder: Path) -> None:
    """Mark a checkpoint complete: write the list of its files, with sizes in bytes and sha256 digests."""
    files = {str(path.relative_to(folder)): [path.stat().st_size, digest(path)] for path in files_of(folder)}
    write_atomically(folder / COMPLETE, json.dumps({"files": files}, indent=1))


def files_of(folder: Path) -> list[Path]:
    """Every file of a checkpoint but the mark and its drafts."""
    own = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in own if path.name != COMPLETE and not path.name.startswith("."))


def digest(path: Path) -> str:
    """Sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def faults(folder: Path) -> list[str]:
    """What is wrong with a checkpoint, one phrase a fault; none where it is complete and as it was written."""
    if not (folder / COMPLETE).exists():
        return ["it was not finished"]
    try:
        files = json.loads((folder / COMPLETE).read_text("utf-8"))["files"]
        listed = [(str(name), int(size), str(expected)) for name, (size, expected) in files.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["it has no list of its files"]
    found = []
    for name, size, expected in listed:
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != size:
            found.append(f"{name} has {path.stat().st_size:,} bytes instead of {size:,}")
        elif digest(path) != expected:
            found.append(f"{name} has other bytes than were written")
    return found


def discard(folder: Path) -> None:
    """Delete a checkpoint; the mark goes first, so that a kill leaves none that looks complete."""
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def rotate(folder: Path) -> None:
    """Keep the newest two checkpoints; called once the newest is marked."""
    for old in checkpoints(folder)[:-KEPT]:
        discard(old)


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run, complete or not, in the order of their steps."""
    found = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.name.rpartition("-")[2].isdigit()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def resume_point(folder: Path, note: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that is as it was written, or None; those after it are removed.

    Args:
        folder: Of a run's checkpoints.
        note: Is told of every checkpoint that is removed, with what is wrong with it.
    """
    bad: list[Path] = []
    good = None
    for path in reversed(checkpoints(folder)):
        wrong = faults(path)
        if not wrong:
            good = path
            break
        note(f"{path.name} cannot be used and is removed: {', '.join(wrong)}")
        bad.append(path)
    if bad:
        note(f"going on from {good.name}" if good else "no checkpoint is left; beginning anew")
    for path in bad:
        discard(path)
    return good
