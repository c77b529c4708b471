"""Reading records from files and folders: lines of text, JSON, JSON lines, CSV and Parquet."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

from qpeft.data.formats import Record
from qpeft.errors import DataError

_NAMES = {
    **{"train": "train", "training": "train"},
    **{"valid": "valid", "validation": "valid", "val": "valid", "dev": "valid"},
    "test": "test",
}
# train.txt, wiki.train.tokens, train-00000-of-00002.parquet
_STEM = re.compile(rf"(?:wiki\.)?({'|'.join(_NAMES)})(?:-\d+-of-\d+)?", re.IGNORECASE)


def _lines(path: Path) -> list[Record]:
    # str.splitlines would also cut at form feeds and other separators inside a line.
    lines = path.read_text(encoding="utf-8").split("\n")
    lines = [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    return [line if line.strip() else "" for line in lines]


def _json_lines(path: Path) -> list[Record]:
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise DataError(f"line {number} of {path.name} must be one JSON object; {error.msg}") from error
    return records


def _json(path: Path) -> list[Record]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        hint = "; if it holds one object a line, name it .jsonl" if error.msg == "Extra data" else ""
        raise DataError(f"{path.name} must be valid JSON; line {error.lineno}: {error.msg}{hint}") from error
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if not isinstance(value, list):
        raise DataError(f"{path.name} must hold a list of records; got {type(value).__name__}. Put them in [ ... ]")
    return value


def _table(path: Path) -> list[Record]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            rows = csv.DictReader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            return [{key: value for key, value in row.items() if key is not None} for row in rows]
        except csv.Error as error:
            raise DataError(f"{path.name} must be a table with a heading line; {error}") from error


def _parquet(path: Path) -> list[Record]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        return list(read_table(path).to_pylist())
    except ArrowException as error:
        raise DataError(f"{path.name} must be a Parquet file; {error}") from error


_READERS: dict[str, Callable[[Path], list[Record]]] = {
    **{".txt": _lines, ".text": _lines, ".tokens": _lines, ".raw": _lines},
    **{".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json},
    **{".csv": _table, ".tsv": _table, ".parquet": _parquet},
}


def read_file(path: Path) -> list[Record]:
    """The records of one file; its suffix says how it is read.

    A text file gives one record a line, without the line's end; nothing else is changed (WikiText's word-level
    text keeps its spaces and marks), except that a line of white space becomes an empty one.

    Args:
        path: the file.

    Returns:
        Lines (str) or mappings of fields, in file order.

    Raises:
        DataError: for an unknown suffix or content that does not fit it.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"the suffix of {path.name} must be one of {', '.join(_READERS)}; rename or convert the file")
    try:
        records = reader(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} must be UTF-8 text; byte {error.start} is not. Convert it first") from error
    wrong = next((record for record in records if not isinstance(record, str | dict)), None)
    if wrong is not None:
        raise DataError(f"every record of {path.name} must be an object or a string; got {wrong!r:.60}")
    return records


def read_folder(folder: Path) -> dict[str, list[Record]]:
    """The splits of a folder with train, valid (validation, val, dev) and test files.

    Args:
        folder: holds e.g. train.txt, wiki.valid.tokens, test.jsonl; only train is required.

    Returns:
        split -> records; splits without a file are absent.

    Raises:
        DataError: without a train file, or with files of two kinds for one split.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _STEM.fullmatch(path.stem)
        if match and path.suffix.lower() in _READERS:
            found.setdefault(_NAMES[match[1].lower()], []).append(path)
    if "train" not in found:
        seen = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise DataError(
            f"the folder {folder.name} must hold a train file (train.txt, wiki.train.tokens, train.jsonl, ...); "
            f"it holds {seen}. Rename one, or name a single file and it is split by seed"
        )
    for split, paths in found.items():
        if len({path.name.split("-")[0] for path in paths}) > 1:
            names = ", ".join(path.name for path in paths)
            raise DataError(f"the folder {folder.name} must hold one {split} file; it holds {names}. Move one away")
    return {split: [record for path in paths for record in read_file(path)] for split, paths in found.items()}


def known_suffix(name: str) -> bool:
    """Whether a name ends like a file this module reads.

    >>> known_suffix("notes.txt"), known_suffix("someone/dataset")
    (True, False)
    """
    return Path(name).suffix.lower() in _READERS
