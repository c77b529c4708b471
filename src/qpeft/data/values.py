"""Values of a record's fields as text: JSON where they are no text, and never a Python object's own words."""

import json
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from math import isnan
from typing import Any
from uuid import UUID

from qpeft.data.told import AS_JSON, Told
from qpeft.errors import DataError

_AS_TEXT = (date, time, Decimal, UUID)  # a datetime is a date


def words(value: Any, field: str, told: Told) -> str:
    """The text of a field's value; null and NaN are empty, and what is no text becomes JSON.

    Args:
        value: a cell.
        field: its name, for errors.
        told: counts objects and lists that became JSON.

    Raises:
        DataError: JSON has no form for the value (bytes, infinity, objects nested too deeply).

    >>> words({"ok": True, "n": float("nan")}, "output", Told()), words(None, "output", Told())
    ('{"ok": true, "n": null}', '')
    """
    if isinstance(value, str):
        return value
    if blank(value):
        return ""
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, Mapping | list | tuple):
        told.add(AS_JSON, field)
    try:
        return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{field!r} must be text or have a form in JSON; {_reason(error)}. Write it as text"
        ) from error


def blank(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN, an empty text, list or object.

    >>> blank(float("nan")), blank(0), blank([])
    (True, False, True)
    """
    if isinstance(value, float):
        return isnan(value)
    return value is None or (isinstance(value, str | Mapping | list | tuple) and len(value) == 0)


def opened(value: Any, field: str) -> Any:
    """A value that may be given as JSON text, as a table's cell must: the text read, other values as they are.

    Raises:
        DataError: the text begins like a list or an object and is no JSON.
    """
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{field!r} must be valid JSON; {_reason(error)}") from error


def sound(text: str) -> str:
    r"""The text with U+FFFD in place of lone surrogates, which UTF-8 and tokenizers do not take.

    >>> sound("a \ud83d b") == "a \ufffd b"
    True
    """
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)


def unsound(text: str) -> bool:
    """Whether a text holds lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, _AS_TEXT):
        return str(value)
    return None if isinstance(value, float) and blank(value) else value


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
