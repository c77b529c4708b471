"""The lock of a folder: one holder at a time, whoever dies, wherever; simulated machines stand in for real ones."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qpeft.errors import LockError
from qpeft.records import LOCK, holding, holding_file, lock
from qpeft.records.lock import Holder, chain
from qpeft.records.process import here, started

# Python 3.12 warns of forks beside the threads of libraries; the children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
OTHER = {"host": "far-away", "machine": "far-away 1234 5", "started": "77"}


def forked(work: Callable[[], None]) -> int:
    """A child that does some work and ends with 0, or with 9 after an exception."""
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def hold_until_killed(folder: Path) -> int:
    """A child that holds the lock of a folder."""

    def work() -> None:
        with holding(folder):
            time.sleep(60)

    pid = forked(work)
    deadline = time.monotonic() + 10
    while not chain(folder / LOCK):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return pid


def write_holder(folder: Path, silent: float = 0.0, **parts: object) -> Path:
    """A lock as another process, by default on another machine, wrote it some seconds ago."""
    folder.mkdir(exist_ok=True)
    body = {**here(), "token": "0123456789abcdef", "since": "2026-01-02T03:04:05+00:00", **OTHER, "pid": 4321, **parts}
    path = folder / LOCK
    path.write_text(Holder.model_validate(body).model_dump_json())
    os.utime(path, (time.time() - silent, time.time() - silent))
    return path


def test_the_second_is_told_who_holds_it_and_a_killed_holder_is_followed_at_once(tmp_path: Path) -> None:
    pid = hold_until_killed(tmp_path / "run")
    host = here()["host"]
    with pytest.raises(LockError) as told, holding(tmp_path / "run"):
        pass
    words = str(told.value)
    assert words.startswith(f"{tmp_path / 'run'} is in use by process {pid} on {host} since 20")
    assert "(last sign of life " in words
    assert words.endswith(f"or name another folder. If it is surely gone, delete {tmp_path / 'run' / LOCK}")
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # dead, but its parent has not asked
    began = time.monotonic()
    with holding(tmp_path / "run") as held:
        held.check()
    assert time.monotonic() - began < 5
    assert code(pid) == -signal.SIGKILL
    assert list((tmp_path / "run").iterdir()) == []


def test_a_pid_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    mine = here() | {"pid": os.getpid()}
    write_holder(tmp_path, **mine)
    with pytest.raises(LockError, match=f"process {os.getpid()} on"), holding(tmp_path):
        pass
    write_holder(tmp_path, **mine | {"started": "1"})
    with holding(tmp_path):
        pass
    time.sleep(0.05)  # the clock of starts has ticks of a hundredth of a second
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as later:
        assert started(os.getpid()) == started(os.getpid())
        assert started(later.pid) not in (None, started(os.getpid()))
        later.communicate(b"\n")


def test_of_many_that_find_a_dead_holder_one_takes_over(tmp_path: Path) -> None:
    for turn in range(5):
        folder = tmp_path / str(turn)
        pid = hold_until_killed(folder)
        os.kill(pid, signal.SIGKILL)
        code(pid)
        tried, begin = tmp_path / f"tried-{turn}", time.monotonic() + 0.05
        tried.mkdir()

        def work(folder: Path = folder, tried: Path = tried, begin: float = begin) -> None:
            while time.monotonic() < begin:
                pass
            try:
                with holding(folder):
                    deadline = time.monotonic() + 30
                    while len(list(tried.iterdir())) < 4 and time.monotonic() < deadline:
                        time.sleep(0.005)
            except LockError:
                (tried / str(os.getpid())).touch()
                os._exit(1)

        assert sorted(code(child) for child in [forked(work) for _ in range(5)]) == [0, 1, 1, 1, 1]


def test_never_two_at_once_though_holders_are_killed_at_random_moments(tmp_path: Path) -> None:
    inside, end = tmp_path / "inside", time.monotonic() + 4

    def work() -> None:
        while time.monotonic() < end:
            try:
                with holding(tmp_path / "run"):
                    (inside / str(os.getpid())).touch()
                    time.sleep(0.002)
                    living = [path.name for path in inside.iterdir() if started(int(path.name))]
                    assert living == [str(os.getpid())]
                    (inside / str(os.getpid())).unlink()
            except LockError:
                time.sleep(0.001)

    inside.mkdir()
    draw, children, codes = random.Random(0), [forked(work) for _ in range(4)], []
    while time.monotonic() < end - 0.5:
        time.sleep(draw.uniform(0.0, 0.06))
        victim = children.pop(0)
        os.kill(victim, signal.SIGKILL)
        codes.append(code(victim))
        children.append(forked(work))
    assert set(codes) == {-signal.SIGKILL}
    assert [code(child) for child in children] == [0, 0, 0, 0]
    with holding(tmp_path / "run"):
        assert [path.name for path in (tmp_path / "run").iterdir() if path.name.endswith(".new")] == []


def test_a_holder_on_another_machine_is_judged_by_its_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "WATCH", 0.6)
    monkeypatch.setattr(lock, "GLANCE", 0.05)
    write_holder(tmp_path, silent=20)
    with pytest.raises(LockError, match=r"process 4321 on far-away since 2026-01-02.*last sign of life 2. s ago"):
        holding(tmp_path).__enter__()
    notes: list[str] = []
    path = write_holder(tmp_path, silent=1000)

    def beat() -> None:
        time.sleep(0.2)
        os.utime(path, (1, 1))  # a clock that is far off: only that the time changes counts

    child = forked(beat)
    with pytest.raises(LockError, match="process 4321 on far-away"):
        holding(tmp_path, notes.append).__enter__()
    assert code(child) == 0
    for silent in (1000, -1000):  # also where its clock is ahead of the file system's
        write_holder(tmp_path, silent=silent)
        with holding(tmp_path, notes.append) as held:
            held.check()
        assert not list(tmp_path.iterdir())
    assert len(notes) == 3
    assert notes[0].startswith("process 4321 on far-away gave no sign of life for 1000 s; watching it for ")


def test_a_reboot_ends_every_holder_and_a_container_is_another_machine(tmp_path: Path) -> None:
    write_holder(tmp_path, **here() | {"machine": f"{here()['host']} another-boot 5"})
    with pytest.raises(LockError, match="is in use"):
        holding(tmp_path).__enter__()


def test_signs_of_life_are_given_and_a_lost_lock_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with holding(tmp_path) as held:
        before = chain(tmp_path / LOCK)[0].beat
        deadline = time.monotonic() + 10
        while chain(tmp_path / LOCK)[0].beat == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        held.check()
        heir = write_holder(tmp_path / "elsewhere").rename(tmp_path / f"{LOCK}.{held.me.token}")
        while not held.lost:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(LockError, match="is no longer held by this process"):
            held.check()
    assert heir.exists()  # what another has taken is not given back
    (tmp_path / LOCK).unlink()
    with holding(tmp_path) as held:
        (tmp_path / LOCK).unlink()
        with pytest.raises(LockError, match=r"its lock \.lock was deleted"):
            held.check()


def test_file_systems_without_hard_links_and_servers_whose_answer_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def refused(*_: object) -> None:
        raise PermissionError("no hard links here")

    def twice(source: Path, target: Path) -> None:
        real(source, target)
        raise FileExistsError("the request was sent again")

    for link in (refused, twice):
        monkeypatch.setattr(os, "link", link)
        with holding(tmp_path / "run") as held:
            held.check()
            with pytest.raises(LockError, match="in use by process"):
                holding(tmp_path / "run").__enter__()
        assert not (tmp_path / "run").exists()


def test_a_damaged_lock_is_in_use_while_it_is_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WATCH", 0.05)
    for text in (b"", b"{", b"\xff\xfe", b"[1]", b'{"token": "../../x"}'):
        (tmp_path / LOCK).write_bytes(text)
        with pytest.raises(LockError, match=r"in use by whoever wrote \.lock, which cannot be read"):
            holding(tmp_path).__enter__()
        os.utime(tmp_path / LOCK, (1, 1))
        with holding(tmp_path) as held:
            held.check()
        assert not list(tmp_path.iterdir())


def test_a_file_has_a_lock_beside_it_and_folders_made_for_nothing_go_away(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "study.json"
    with holding_file(file):
        with pytest.raises(LockError, match=r"study\.json is in use by process"):
            holding_file(file).__enter__()
        with holding_file(file.with_name("other.json")):
            pass
    assert not (tmp_path / "a").exists()
    with holding_file(file):
        file.write_text("kept")
    assert [path.name for path in file.parent.iterdir()] == ["study.json"]


def test_on_a_full_disk_the_holder_is_still_named_and_no_lock_is_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    write_holder(tmp_path, silent=20)
    with pytest.raises(LockError, match="process 4321 on far-away since"):
        holding(tmp_path).__enter__()
    (tmp_path / LOCK).unlink()
    with pytest.raises(OSError, match="No space left"):
        holding(tmp_path).__enter__()
    assert not list(tmp_path.iterdir())
