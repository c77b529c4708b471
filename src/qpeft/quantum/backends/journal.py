"""The journal of jobs: what was asked, under which id it runs, what came back; so that nothing is paid for twice.

Files are written once, each under its final name at once, and never changed: a crash at any moment leaves a journal
that says how to go on. Of one attempt to run a job these are, in order: ``intent`` (before it is sent), ``job`` (its
id, before waiting for it), ``counts`` (the result), ``end`` (done or failed, and the QPU seconds charged).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qpeft.errors import BudgetError, ConfigError, RecordError
from qpeft.foreign import ours
from qpeft.records.store import write_atomically

Counts = list[list[int]]
Natural = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Event(BaseModel):
    """What every file of a journal holds; unknown keys are of a later version, and are left alone."""

    model_config = ConfigDict(strict=True)
    time: str


class Cost(BaseModel):
    """An estimate as an intent notes it."""

    model_config = ConfigDict(strict=True, extra="forbid")
    circuits: Natural
    shots: Natural
    seconds: Seconds


class Intent(Event):
    """A job about to be sent."""

    cost: Cost


class Sent(Event):
    """A job that was sent."""

    id: str = Field(min_length=1)


class Counted(Event):
    """The result: per circuit, how often each basis index was measured."""

    counts: list[Annotated[list[Natural], Field(min_length=1)]] = Field(min_length=1)


class End(Event):
    """A job that is over."""

    status: Literal["done", "failed"]
    seconds: Seconds | None


EVENTS: dict[str, type[Event]] = {"intent": Intent, "job": Sent, "counts": Counted, "end": End}


@dataclass(frozen=True)
class Estimate:
    """What running circuits costs.

    >>> 3 * Estimate(circuits=1, shots=640, seconds=0.25)
    Estimate(circuits=3, shots=1920, seconds=0.75)

    Attributes:
        circuits: circuits with angles, each measured many times.
        shots: measurements of all of them together.
        seconds: of the QPU; queueing and the service's own overhead per job are not in it.
    """

    circuits: int = 0
    shots: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Estimate") -> "Estimate":
        """Both together."""
        return Estimate(self.circuits + other.circuits, self.shots + other.shots, self.seconds + other.seconds)

    def __rmul__(self, times: int) -> "Estimate":
        """This many of it."""
        return Estimate(times * self.circuits, times * self.shots, times * self.seconds)

    def __str__(self) -> str:
        return f"{self.circuits} circuit(s), {self.shots} shots, {self.seconds:.1f} QPU seconds"


@dataclass(frozen=True)
class Budget:
    """What all jobs of a journal may cost together.

    >>> Budget(max_shots=10_000, max_seconds=60).complete
    True

    Attributes:
        max_shots: measurements; None sets no limit.
        max_seconds: QPU seconds, as charged where the service tells, else as estimated; None sets no limit.

    Raises:
        ConfigError: a limit is not above 0.
    """

    max_shots: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for key in ("max_shots", "max_seconds"):
            limit = getattr(self, key)
            if limit is not None and not limit > 0:
                raise ConfigError(f"{key} must be above 0, or None for no limit; got {limit!r}")

    @property
    def complete(self) -> bool:
        """Whether both limits are set, as real devices require."""
        return self.max_shots is not None and self.max_seconds is not None

    def check(self, spent: Estimate, asked: Estimate) -> None:
        """Raise BudgetError if what is asked for does not fit in what is left."""
        for key, limit, before, now in (
            ("max_shots", self.max_shots, spent.shots, asked.shots),
            ("max_seconds", self.max_seconds, spent.seconds, asked.seconds),
        ):
            if limit is not None and before + now > limit:
                raise BudgetError(
                    f"a job of {asked} does not fit in {key}={limit:g}, of which {before:g} is spent or in flight; "
                    f"nothing was sent. Raise {key}, or ask for fewer shots or evaluations"
                )


@dataclass(frozen=True)
class Journal:
    """A folder with one small file per event of a job.

    Args:
        folder: created with the first event; jobs and budget belong to this folder.
    """

    folder: Path

    def read(self, key: str, attempt: int, event: str) -> Any:
        """What an event noted, or None if it did not happen.

        Raises:
            RecordError: the file is damaged, or what it notes cannot be.
        """
        path = self._path(key, attempt, event)
        return read_event(path, event) if path.exists() else None

    def note(self, key: str, attempt: int, event: str, **content: Any) -> None:
        """Write an event to disk before going on."""
        content["time"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomically(self._path(key, attempt, event), json.dumps(content) + "\n")

    def attempt(self, key: str) -> int:
        """The attempt that is under way or done, or the one to make next: failed ones are left behind."""
        number = 0
        while (self.read(key, number, "end") or {}).get("status") == "failed":
            number += 1
        return number

    def counts(self, key: str) -> Counts | None:
        """The result of an earlier run of the same job, if there is one."""
        noted = self.read(key, self.attempt(key), "counts")
        return None if noted is None else noted["counts"]

    def spent(self) -> Estimate:
        """What the jobs cost so far: seconds as charged where known, else as estimated."""
        total = Estimate()
        for path in sorted(self.folder.glob("*-intent.json")):
            cost = read_event(path, "intent")["cost"]
            end = path.with_name(path.name.replace("-intent", "-end"))
            charged = read_event(end, "end")["seconds"] if end.exists() else None
            total += Estimate(**cost | ({} if charged is None else {"seconds": charged}))
        return total

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes with this journal from sending at the same time; a killed one leaves no lock."""
        with ours(f"the journal {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        with lock as file:
            try:
                import fcntl
            except ImportError:  # not on Windows: there one process at a time
                yield
                return
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def refused(self, key: str, reason: str) -> RecordError:
        """The error for counts that no such job gives."""
        return damaged(self._path(key, self.attempt(key), "counts"), reason)

    def _path(self, key: str, attempt: int, event: str) -> Path:
        return self.folder / f"{key}-{attempt}-{event}.json"


def read_event(path: Path, event: str) -> dict[str, Any]:
    """What one file of a journal notes.

    Raises:
        RecordError: the file is damaged, or what it notes cannot be.
    """
    try:
        return EVENTS[event].model_validate_json(path.read_bytes()).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise damaged(path, f"{where}: {first['msg']}") from error
    except OSError as error:
        raise damaged(path, str(error.strerror)) from error


def damaged(path: Path, reason: str) -> RecordError:
    """The error for a file of a journal that cannot be believed."""
    ways = {
        "counts": "Delete this file, and the service is asked for the result of the same job again",
        "job": "Delete this file, and the service is asked which job it was",
    }
    way_on = ways.get(path.stem.rpartition("-")[2], "Take it from a copy; without it nobody knows what was spent")
    return RecordError(f"{path} is damaged: {reason}; nothing was sent. {way_on}")
