"""Flags about data that several commands share: --max-length and --columns."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qpeft.errors import ConfigError

if TYPE_CHECKING:
    from qpeft.records import RunSpec

MAX_LENGTH = "Tokens a row; longer training rows are cut, and it is said how many."
COLUMNS = "Columns of your own: prompt=frage,completion=antwort; several times or with commas."


def given(max_length: int | None, columns: Sequence[str] | None) -> dict[str, Any]:
    """The fields of a DataSpec that the flags give.

    >>> given(64, ["prompt=frage, completion=antwort"])
    {'max_length': 64, 'columns': {'prompt': 'frage', 'completion': 'antwort'}}
    """
    fields = {"max_length": max_length, "columns": pairs(columns) or None}
    return {key: value for key, value in fields.items() if value is not None}


def pairs(columns: Sequence[str] | None) -> dict[str, str]:
    """The pairs of --columns, name that is read -> name in the data.

    Raises:
        ConfigError: A part is no pair, or gives a name twice.
    """
    found: dict[str, str] = {}
    for part in (part for text in columns or [] for part in text.split(",") if part.strip()):
        ours, equals, theirs = (word.strip() for word in part.partition("="))
        if not (ours and equals and theirs):
            raise ConfigError(
                f"--columns takes name=column, for example prompt=frage,completion=antwort; got {part!r}"
            )
        if ours in found:
            raise ConfigError(f"--columns must give {ours!r} once; got {found[ours]!r} and {theirs!r}")
        found[ours] = theirs
    return found


def as_settings(fields: dict[str, Any]) -> list[str]:
    """The fields as --set texts, which are checked with the recipe."""
    return [f"data.{key}={json.dumps(value)}" for key, value in fields.items()]


def laid_over(run: "RunSpec", fields: dict[str, Any]) -> "RunSpec":
    """The run with the fields also where its row has a data section of its own."""
    return run.model_copy(update={"data": run.data.model_copy(update=fields)}) if fields else run
