"""How contracts are told: every promise that is broken in a line of its own, whatever broke it."""

from collections.abc import Callable, Mapping
from typing import TypeVar

Subject = TypeVar("Subject")


def check(parts: Mapping[str, Callable[[Subject], None]], subject: Subject) -> None:
    """Try every promise on a subject.

    Raises:
        AssertionError: One line for each broken promise.
    """
    reasons = {name: broken(part, subject) for name, part in parts.items()}
    lines = [f"{name}: {reason}" for name, reason in reasons.items() if reason is not None]
    assert not lines, "\n".join(lines)


def broken(part: Callable[[Subject], None], subject: Subject) -> str | None:
    """Why a promise does not hold, or None; an error of any library counts as a broken promise."""
    try:
        part(subject)
    except AssertionError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
