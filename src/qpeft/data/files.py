"""The splits of a folder: which files are train, valid and test, and whether all of their shards are there."""

import re
from pathlib import Path

from qpeft.data.formats import Record
from qpeft.data.readers import READERS, read_file
from qpeft.errors import DataError

_NAMES = {
    **{"train": "train", "training": "train"},
    **{"valid": "valid", "validation": "valid", "val": "valid", "dev": "valid"},
    "test": "test",
}
# train.txt, wiki.train.tokens, train-00000-of-00002.parquet
_STEM = re.compile(rf"(?:wiki\.)?({'|'.join(_NAMES)})(?:-(\d+)-of-(\d+))?", re.IGNORECASE)


def read_folder(folder: Path) -> dict[str, list[Record]]:
    """The splits of a folder with train, valid (validation, val, dev) and test files.

    Args:
        folder: holds e.g. train.txt, wiki.valid.tokens, test.jsonl; only train is required.

    Returns:
        split -> records; splits without a file are absent.

    Raises:
        DataError: without a train file, with files of two kinds for one split, or with a shard missing.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"the folder {folder.name} must be one that can be read; {error.strerror or error}") from error
    found: dict[str, list[Path]] = {}
    for path in paths:
        match = _STEM.fullmatch(path.stem)
        if match and path.suffix.lower() in READERS and path.is_file():
            found.setdefault(_NAMES[match[1].lower()], []).append(path)
    if "train" not in found:
        seen = ", ".join(path.name for path in paths[:8]) or "nothing"
        raise DataError(
            f"the folder {folder.name} must hold a train file (train.txt, wiki.train.tokens, train.jsonl, ...); "
            f"it holds {seen}. Rename one, or name a single file and it is split by seed"
        )
    for split, files in found.items():
        _check(folder, split, files)
    return {split: [record for path in files for record in read_file(path)] for split, files in found.items()}


def unread(folder: Path) -> list[str]:
    """Names of the folder's data files that belong to no split."""
    others = [path for path in sorted(folder.iterdir()) if not _STEM.fullmatch(path.stem)]
    return [path.name for path in others if path.suffix.lower() in READERS and path.suffix.lower() != ".txt"]


def _check(folder: Path, split: str, files: list[Path]) -> None:
    names = ", ".join(path.name for path in files)
    if len({path.name.split("-")[0] for path in files}) > 1:
        raise DataError(f"the folder {folder.name} must hold one {split} file; it holds {names}. Move one away")
    shards = [match for path in files if (match := _STEM.fullmatch(path.stem)) and match[3]]
    if shards and len({int(match[2]) for match in shards}) < int(shards[0][3]):
        raise DataError(
            f"the folder {folder.name} must hold all {int(shards[0][3])} shards of {split}; it holds {names}. "
            "Fetch the missing ones, or rename what is there"
        )
