"""One run, one writer: holds the lock of a run's folder, and stops a run that has lost it before it writes more."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qpeft.records import Lock, holding
from qpeft.training.callbacks import Progress
from qpeft.training.ranks import is_main


class Guarded:
    """A progress that passes everything on while the lock is held; each step and phase asks for it first."""

    def __init__(self, progress: Progress, lock: Lock) -> None:
        """Guard this progress by this lock."""
        self.progress, self.lock = progress, lock

    def step(self, done: int, total: int, loss: float | None) -> None:
        """Pass a step on.

        Raises:
            LockError: The lock was lost.
        """
        if self.lock.lost:  # the thread of the lock looks every few seconds; a file for each step would take time
            self.lock.check()
        self.progress.step(done, total, loss)

    def phase(self, name: str) -> None:
        """Pass a phase on.

        Raises:
            LockError: The lock was lost.
        """
        self.lock.check()
        self.progress.phase(name)

    def note(self, message: str) -> None:
        """Pass a note on."""
        self.progress.note(message)


@contextmanager
def guarded(folder: Path, progress: Progress) -> Iterator[Progress]:
    """Hold the lock of a run's folder; of several processes that train together, the main one holds it for all.

    Raises:
        LockError: Another run is at work there.
    """
    if not is_main():
        yield progress
        return
    with holding(folder, progress.note) as lock:
        yield Guarded(progress, lock)
