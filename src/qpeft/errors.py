"""Every error qpeft raises on purpose; each message names what was required, what came, and the way on."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any


class QpeftError(Exception):
    """Root of all errors raised on purpose by qpeft."""


class ConfigError(QpeftError, ValueError):
    """A recipe, option or config field has a value that cannot be used."""


class CircuitError(QpeftError, ValueError):
    """A circuit is asked for, or built, in a way no quantum register allows."""


class ShapeError(QpeftError, ValueError):
    """A tensor does not have the shape a public function documents."""


class DataError(QpeftError, ValueError):
    """A data file is missing, unreadable, or not in a known layout."""


class ModelError(QpeftError, ValueError):
    """A model cannot be loaded, or cannot carry the adapter that was asked for."""


class RecordError(QpeftError, ValueError):
    """A record on disk is missing, damaged, or of another version."""


class LockError(QpeftError, RuntimeError):
    """Another process is at work in the same folder; the message says which."""


class ExportError(QpeftError, RuntimeError):
    """An adapter could not be written so that it computes what was trained."""


class BackendError(QpeftError, RuntimeError):
    """A circuit could not be run, or its result is unusable."""


class BudgetError(BackendError):
    """A job would cost more than was granted; nothing was sent."""


class JobTimeoutError(BackendError):
    """A job did not end in the time granted for waiting; it goes on, and the same call later collects it."""


class JobFailedError(BackendError):
    """A job ended without a result; the same call submits it anew."""


class ConnectionLostError(BackendError):
    """The service could not be reached; the same call later goes on where this one stopped."""


class StorageError(QpeftError, OSError):
    """A file or folder cannot be read or written: a full or read-only disk, no permission, too long a name."""


class ResourceError(QpeftError, MemoryError):
    """What was asked for does not fit in the memory of this machine."""


class MissingExtraError(QpeftError, ImportError):
    """An optional library is needed; the message holds the install command."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The hint ``; nearest: x`` for a misspelt word, or an empty string.

    >>> nearest("n_mpl", ["n_mlp", "depth"])
    '; nearest: n_mlp'
    """
    # A recipe may hold a number where a word belongs.
    match = get_close_matches(str(word), list(allowed), n=1)
    return f"; nearest: {match[0]}" if match else ""


def require_choice(key: str, value: str, allowed: Iterable[str]) -> None:
    """Raise ConfigError unless value is one of the allowed words.

    Raises:
        ConfigError: names the key as typed, the value, the allowed values and the nearest one.
    """
    # A register is asked for the word before it is listed, which loads plug-ins.
    if isinstance(allowed, Mapping) and isinstance(value, str) and value in allowed:
        return
    choices = list(allowed)
    if value not in choices:
        raise ConfigError(f"{key} must be one of {', '.join(choices)}; got {value!r}{nearest(value, choices)}")


def import_extra(module: str, needs: str, install: str) -> Any:
    """Import a module of an optional library.

    Raises:
        MissingExtraError: it cannot be imported; the message says what needs it and how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{needs}; {error}. {install}") from error
