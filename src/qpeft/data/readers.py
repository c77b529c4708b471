"""The records of one file: lines of text, JSON, JSON lines, CSV and Parquet; a fault names its line or cell."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qpeft.data.formats import Record
from qpeft.errors import DataError

_LONGEST_CELL = 2**31 - 1  # what a C long holds on every platform
_LONGEST_NUMBER = 4300  # Python refuses to read longer ones: their time grows with the square of their digits


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        looks = " (it looks like UTF-16)" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise DataError(
            f"{path.name} must be UTF-8 text; byte {error.start} (line {line}) is not{looks}. Convert it first"
        ) from error


def _raw_lines(path: Path) -> list[str]:
    # str.splitlines would also cut at form feeds and other separators inside a line.
    return _text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _lines(path: Path) -> list[Record]:
    lines = _raw_lines(path)
    return [line if line.strip() else "" for line in (lines[:-1] if lines[-1] == "" else lines)]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the key {twice!r} stands twice in one object, and only one can be read")
    return found


def _loads(text: str, where: str, must: str) -> Any:
    """Read JSON; ``where`` begins the message of a fault, ``must`` says what the text must be."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        hint = "; if it holds one object a line, name it .jsonl" if error.msg == "Extra data" else ""
        place = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
        raise DataError(f"{where} {must}; {error.msg} at {place}{hint}") from error
    except RecursionError as error:
        raise DataError(f"{where} {must}; its lists and objects are nested too deeply") from error
    except DataError as error:
        raise DataError(f"{where} {must}; {error}") from error
    except ValueError as error:
        found = re.search(rf"\d{{{_LONGEST_NUMBER + 1},}}", text)
        at = f" at line {text.count(chr(10), 0, found.start()) + 1}" if found else ""
        raise DataError(
            f"{where} {must}; a number{at} has more than {_LONGEST_NUMBER:,} digits. Put it in quotes"
        ) from error


def _json_lines(path: Path) -> list[Record]:
    must = "must be one JSON object"
    lines = [(number, line) for number, line in enumerate(_raw_lines(path), start=1) if line.strip()]
    places = [f"line {number} of {path.name}" for number, _ in lines]
    values = [_loads(line, place, must) for (_, line), place in zip(lines, places, strict=True)]
    return [_record(value, place) for value, place in zip(values, places, strict=True)]


def _json(path: Path) -> list[Record]:
    value = _loads(_text(path), path.name, "must be valid JSON")
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        others = [name for name, part in value.items() if isinstance(part, list) and name != "data"]
        if others:
            raise DataError(
                f"{path.name} must hold one list of records; it holds data, {', '.join(others)}. "
                "Give each a file of a folder: train.json, test.json"
            )
        value = value["data"]
    if not isinstance(value, list):
        raise DataError(f"{path.name} must hold a list of records; got {type(value).__name__}. Put them in [ ... ]")
    return [_record(record, f"record {number} of {path.name}") for number, record in enumerate(value, start=1)]


def _record(value: Any, where: str) -> Record:
    if not isinstance(value, str | dict):
        raise DataError(f"{where} must be an object or a string; got {'null' if value is None else f'{value!r:.60}'}")
    return value


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _table(path: Path) -> list[Record]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    rows = csv.reader(io.StringIO(_text(path), newline=""), delimiter=separator, strict=True)
    with _long_cells():
        try:
            numbered = [(rows.line_num, row) for row in rows if row]
        except csv.Error as error:
            raise DataError(
                f"{path.name} must be a table with a heading line; {error} at line {rows.line_num}"
            ) from error
    if not numbered:
        return []
    heading = _heading(numbered[0][1], path)
    for line, row in numbered[1:]:
        if len(row) != len(heading):
            raise DataError(
                f"line {line} of {path.name} must have {len(heading)} cells, as its heading has; it has {len(row)}. "
                f"Put cells that hold {'a tab' if separator != ',' else 'a comma'} in quotes"
            )
    return [dict(zip(heading, row, strict=True)) for _, row in numbered[1:]]


def _heading(names: list[str], path: Path) -> list[str]:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"the columns of {path.name} must have names of their own; {', '.join(twice)} stands twice")
    # A table's index has no name; it is told as not read.
    return [name or f"(column {place})" for place, name in enumerate(names, start=1)]


def _parquet(path: Path) -> list[Record]:
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            table = file.read()
    except Exception as error:  # damaged pages end in errors of many kinds, not all of them Arrow's
        raise DataError(f"{path.name} must be a Parquet file; {type(error).__name__}: {error}") from error
    names = _heading(table.column_names, path)
    columns = [_cells(table.column(place), name, path) for place, name in enumerate(names)]
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _cells(column: Any, name: str, path: Path) -> list[Any]:
    try:
        return list(column.to_pylist())
    except Exception as error:  # text that is not UTF-8, dates no calendar has
        row = next((row for row, cell in enumerate(column, start=1) if not _fine(cell)), "?")
        raise DataError(
            f"row {row}, column {name!r} of {path.name} cannot be read; {type(error).__name__}: {error}"
        ) from error


def _fine(cell: Any) -> bool:
    try:
        cell.as_py()
    except Exception:
        return False
    return True


READERS: dict[str, Callable[[Path], list[Record]]] = {
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
        DataError: for an unknown suffix, a file that cannot be opened, or content that does not fit the suffix.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"the suffix of {path.name} must be one of {', '.join(READERS)}; rename or convert the file")
    try:
        return reader(path)
    except OSError as error:
        raise DataError(f"{path.name} must be a file that can be read; {error.strerror or error}") from error
    except MemoryError as error:
        raise DataError(f"{path.name} does not fit into memory; give a part of it") from error


def known_suffix(name: str) -> bool:
    """Whether a name ends like a file this module reads.

    >>> known_suffix("notes.txt"), known_suffix("someone/dataset")
    (True, False)
    """
    return Path(name).suffix.lower() in READERS
