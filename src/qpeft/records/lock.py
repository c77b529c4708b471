"""A lock beside results: one process writes, others are told which; for several machines on a shared file system, too.

Nothing is asked of the file system but what NFS does at once or not at all: a hard link to a name that is new. The
lock is a chain of files. ``.lock`` is the first; who finds its holder dead makes ``.lock.TOKEN`` with the dead one's
token, which one process alone can do, and so on. The last of the chain holds the lock. To take one over, nothing is
renamed or deleted, so a slow process cannot take away what a faster one has just taken.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from qpeft.errors import LockError
from qpeft.records.process import here, machine, started
from qpeft.records.spec import Strict

LOCK = ".lock"
# Seconds between two signs of life. A holder on another machine that gave none for SILENT, by the clock of the file
# system, is watched for WATCH more, by this machine's, and then counts as dead. NFS may show times a minute late.
BEAT, SILENT, WATCH, GLANCE = 10.0, 120.0, 30.0, 0.5
ATTEMPTS = 50

Note = Callable[[str], None]


class Holder(Strict):
    """Who holds a lock."""

    token: str = Field(pattern="^[0-9a-f]{16}$", description="of this holding alone")
    pid: int
    host: str
    machine: str = Field(description="host, boot and container: where the pid means something")
    started: str = Field(description="of the process; pids are used again")
    since: str = Field(description="when the lock was taken, UTC")


class Seen(NamedTuple):
    """One file of a chain: its holder, None where it cannot be read, and the time of the last sign of life."""

    path: Path
    holder: Holder | None
    beat: float


class Lock:
    """A lock that is held, with a thread that gives signs of life."""

    def __init__(self, what: Path, first: Path, note: Note) -> None:
        """Take the lock whose chain begins with the file ``first``; ``what`` it protects is named in messages.

        Raises:
            LockError: A process that lives holds it.
        """
        self.what, self.first, self.note = what, first, note
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.me = Holder.model_validate({**here(), "token": secrets.token_hex(8), "since": now})
        self.path = self._take()
        self.lost, self._done = False, threading.Event()
        self._thread = threading.Thread(target=self._beat, name="qpeft lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Go on only while the lock is ours.

        Raises:
            LockError: It was deleted, or taken over while this process stood still.
        """
        try:
            lost = self.lost or not self._held()
        except OSError:  # a server that does not answer says nothing about the lock
            lost = False
        if lost:
            raise LockError(
                f"{self.what} is no longer held by this process: its lock {self.first.name} was deleted, or another "
                f"machine took it over while this one gave no sign of life; nothing more is written there"
            )

    def release(self) -> None:
        """Give the lock back; a forked child of the holder gives back nothing."""
        if self.me.pid != os.getpid():
            return
        self._done.set()
        self._thread.join(BEAT)
        if self._held():
            for seen in chain(self.first):  # the first one first: with it the chain is gone
                seen.path.unlink(missing_ok=True)

    def _take(self) -> Path:
        for _ in range(ATTEMPTS):
            self.first.parent.mkdir(parents=True, exist_ok=True)
            found = chain(self.first)
            if found and alive(found[-1], self.note):
                raise LockError(in_use(self.what, self.first, found[-1]))
            place = heir(self.first, found[-1]) if found else self.first
            create(place, self.first.with_name(f"{self.first.name}.{self.me.token}.new"), self.me)
            if self._held():
                self._sweep()
                return place
            # Another was faster, or the chain was given back meanwhile and this file belongs to none.
            seen = look(place)
            if seen is not None and seen.holder == self.me:
                place.unlink(missing_ok=True)
            time.sleep(0.01 + 0.04 * secrets.randbelow(100) / 100)
        raise LockError(
            f"{self.what} is wanted by too many processes at once, or its folder shows files late; try again"
        )

    def _held(self) -> bool:
        found = chain(self.first)
        return bool(found) and found[-1].holder == self.me

    def _sweep(self) -> None:
        """Remove what killed processes left of other chains; a draft of a living one is made anew."""
        ours = {seen.path for seen in chain(self.first)}
        for path in self.first.parent.glob(f"{self.first.name}.*"):
            if path not in ours:
                path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            with suppress(OSError):  # a server that does not answer may answer the next time
                if not self._held():
                    self.lost = True
                    return
                os.utime(self.path)


def holding(folder: Path, note: Note = lambda text: None) -> AbstractContextManager[Lock]:
    """Hold the lock of a folder; a folder that was made for it, and is empty at the end, goes away again.

    Args:
        folder: Of one run.
        note: Is told why it takes long, where a silent holder on another machine is watched.

    Raises:
        LockError: Another process holds it; the message says which.
    """
    return hold(folder, folder / LOCK, note)


def holding_file(path: Path, note: Note = lambda text: None) -> AbstractContextManager[Lock]:
    """Hold the lock of one file, which lies beside it; otherwise as `holding`."""
    return hold(path, path.with_name(f".{path.name}{LOCK}"), note)


@contextmanager
def hold(what: Path, first: Path, note: Note) -> Iterator[Lock]:
    """Hold the lock that begins with the file ``first``."""
    new = [folder for folder in first.parents if not folder.exists()]
    lock = Lock(what, first, note)
    try:
        yield lock
    finally:
        lock.release()
        with suppress(OSError):
            for folder in new:
                folder.rmdir()


def chain(first: Path) -> list[Seen]:
    """The files of a lock, from the first to the one that holds it; none where nobody does."""
    found: list[Seen] = []
    path = first
    while (seen := look(path)) is not None and path not in [before.path for before in found]:
        found.append(seen)
        path = heir(first, seen)
    return found


def heir(first: Path, seen: Seen) -> Path:
    """The file that takes over from one."""
    if seen.holder is None:
        return seen.path.with_name(f"{seen.path.name}.unreadable")
    return first.with_name(f"{first.name}.{seen.holder.token}")


def look(path: Path) -> Seen | None:
    """What a file of a lock says; None where there is none."""
    try:
        with path.open("rb") as file:  # opening asks an NFS server, where the mere status may be a minute old
            text, beat = file.read(1 << 16), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        return Seen(path, Holder.model_validate_json(text), beat)
    except ValidationError:
        return Seen(path, None, beat)


def alive(seen: Seen, note: Note) -> bool:
    """Whether the holder lives: certain on this machine, by its signs of life on another."""
    if seen.holder is not None and seen.holder.machine == machine():
        return started(seen.holder.pid) == seen.holder.started
    if -BEAT < age(seen) < SILENT:
        return True
    note(f"{name(seen)} gave no sign of life for {age(seen):.0f} s; watching it for {WATCH:.0f} s")
    end = time.monotonic() + WATCH
    while time.monotonic() < end:
        time.sleep(GLANCE)
        again = look(seen.path)
        if again is None or again.holder != seen.holder:
            return False
        if again.beat != seen.beat:
            return True
    return False


def age(seen: Seen) -> float:
    """Seconds since the last sign of life, by the clock that stamped it: the file system's."""
    probe = seen.path.with_name(f"{seen.path.name}.{secrets.token_hex(8)}.new")
    try:
        with probe.open("wb") as file:
            file.write(b"now")
            file.flush()
            os.fsync(file.fileno())
            now = os.fstat(file.fileno()).st_mtime
        probe.unlink(missing_ok=True)
    except OSError:  # a full disk, or one that may only be read
        with suppress(OSError):
            probe.unlink(missing_ok=True)
        now = time.time()
    return now - seen.beat


def create(path: Path, draft: Path, holder: Holder) -> None:
    """Make a file of a lock, whole or not at all, unless it exists; the caller looks at what is there afterwards."""
    text = (holder.model_dump_json() + "\n").encode()
    try:
        with draft.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except (FileExistsError, FileNotFoundError):
            pass
        except OSError:  # no hard links here
            with suppress(FileExistsError), path.open("xb") as file:
                file.write(text)
    except FileNotFoundError:
        pass  # the folder was removed by one that gave it back
    finally:
        draft.unlink(missing_ok=True)


def name(seen: Seen) -> str:
    """A holder in words."""
    if seen.holder is None:
        return f"whoever wrote {seen.path.name}, which cannot be read,"
    return f"process {seen.holder.pid} on {seen.holder.host}"


def in_use(what: Path, first: Path, seen: Seen) -> str:
    """The message for a second start."""
    since = f" since {seen.holder.since}" if seen.holder else ""
    return (
        f"{what} is in use by {name(seen)}{since} (last sign of life {max(0.0, age(seen)):.0f} s ago); wait for its "
        f"end and run the same command again, or end it, or name another folder. If it is surely gone, delete {first}"
    )
