"""Handing in jobs: each is sent once, waited for, and collected by whoever asks for the same again."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, Protocol, TypeVar

from qpeft.errors import ConnectionLostError, JobFailedError, JobTimeoutError
from qpeft.quantum.backends.journal import Budget, Counts, Estimate, Journal

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What a finished job gave.

    Attributes:
        counts: per circuit, in the order of the request, how often each basis index was measured.
        seconds: QPU time charged; None where the service does not tell.
    """

    counts: Counts
    seconds: float | None = None


class Service(Protocol):
    """A place that keeps jobs under ids, and goes on with them when this process is gone.

    Where it cannot be reached, every method raises ConnectionLostError.
    """

    def submit(self, request: Any, tag: str, max_seconds: float | None) -> str:
        """Send a job that may use the QPU for so long, and give its id."""

    def find(self, tag: str) -> str | None:
        """The id of the job sent with this tag, if there is one."""

    def result(self, job_id: str, timeout: float | None) -> Outcome:
        """Wait for a job.

        Raises:
            JobTimeoutError: it takes longer than these seconds.
            JobFailedError: it ended without a result.
        """


@dataclass(frozen=True)
class Patience:
    """How to wait.

    Attributes:
        timeout: seconds to wait for a job, in the queue and running; None waits without end.
        retries: how often to try again where the service cannot be reached.
        backoff: seconds before the first of these tries; each further one waits twice as long.
    """

    timeout: float | None = None
    retries: int = 5
    backoff: float = 2.0


@dataclass(frozen=True)
class Job:
    """One job to be run once.

    Attributes:
        key: equal for equal jobs, different for different ones; a part of file names and of the job's tag.
        prepare: makes what is sent; called only if the job has to be.
    """

    key: str
    prepare: Callable[[], "Prepared"]


@dataclass(frozen=True)
class Prepared:
    """What is sent.

    Attributes:
        request: what the service understands.
        cost: what it is going to cost.
        about: what the journal tells about it.
    """

    request: Any
    cost: Estimate
    about: dict[str, str | int | float]


@dataclass(frozen=True)
class Desk:
    """Where jobs are handed in: sends what was not sent yet, waits, and keeps the journal."""

    journal: Journal
    budget: Budget
    patience: Patience

    def collect(self, service: Service, job: Job) -> Counts:
        """The counts of a job, from the journal, from a job that runs already, or from a new one.

        Raises:
            BudgetError: it does not fit in the budget; nothing was sent.
            JobTimeoutError: it did not end in time; call again to go on waiting.
            JobFailedError: it was cancelled or failed; call again to send it anew.
            ConnectionLostError: the service could not be reached; call again to go on.
        """
        with self.journal.locked():
            attempt = self.journal.attempt(job.key)
            noted = self.journal.read(job.key, attempt, "counts")
            if noted is not None:
                return list(noted["counts"])
            job_id = self._sent(service, job, attempt)
        try:
            outcome = self._patiently(lambda: service.result(job_id, self.patience.timeout), f"job {job_id}")
        except JobFailedError as error:
            self.journal.note(job.key, attempt, "end", status="failed", reason=str(error), seconds=None)
            raise JobFailedError(f"job {job_id} failed: {error}; the same call sends it anew") from error
        except JobTimeoutError as error:
            raise JobTimeoutError(
                f"job {job_id} did not end within {self.patience.timeout} s; it goes on, and the same call with the "
                f"journal {self.journal.folder} collects it later. Raise the timeout to wait longer"
            ) from error
        self.journal.note(job.key, attempt, "counts", counts=outcome.counts)
        # A second process may have waited for the same job; it writes the same.
        self.journal.note(job.key, attempt, "end", status="done", seconds=outcome.seconds)
        return outcome.counts

    def _sent(self, service: Service, job: Job, attempt: int) -> str:
        """The id of the job, which is sent unless it was."""
        noted = self.journal.read(job.key, attempt, "job")
        if noted is not None:
            return str(noted["id"])
        tag = f"qpeft-{job.key}-{attempt}"
        intended = self.journal.read(job.key, attempt, "intent") is not None
        # An intent without an id: the last process may have died between sending and noting.
        job_id = self._patiently(lambda: service.find(tag), "the list of jobs") if intended else None
        if job_id is None:
            ready = job.prepare()
            if not intended:
                if self.budget != Budget():
                    self.budget.check(self.journal.spent(), ready.cost)
                content = {"cost": asdict(ready.cost), "about": ready.about}
                self.journal.note(job.key, attempt, "intent", tag=tag, **content)
            job_id = self._submit(service, ready, tag)
        self.journal.note(job.key, attempt, "job", id=job_id)
        return job_id

    def _submit(self, service: Service, ready: Prepared, tag: str) -> str:
        limit = self.budget.max_seconds
        if limit is not None:
            # The journal counts this job among the spent by now.
            limit += ready.cost.seconds - self.journal.spent().seconds
        tries = count()

        def submit() -> str:
            # The connection may have been lost after the job had arrived.
            found = service.find(tag) if next(tries) else None
            return found or service.submit(ready.request, tag, limit)

        return self._patiently(submit, "sending a job")

    def _patiently(self, ask: Callable[[], T], what: str) -> T:
        for wait in range(self.patience.retries):
            try:
                return ask()
            except ConnectionLostError:
                time.sleep(self.patience.backoff * 2**wait)
        try:
            return ask()
        except ConnectionLostError as error:
            raise ConnectionLostError(
                f"{what}: the service could not be reached in {self.patience.retries + 1} tries ({error}); nothing is "
                f"lost: the same call with the journal {self.journal.folder} goes on from here"
            ) from error
