"""The journal under every fault: whatever happens, a job is sent once, paid for once, and its result is found."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from qpeft.errors import (
    BudgetError,
    ConfigError,
    ConnectionLostError,
    JobFailedError,
    JobTimeoutError,
    RecordError,
)
from qpeft.quantum.backends.desk import Desk, Job, Outcome, Patience, Prepared
from qpeft.quantum.backends.journal import Budget, Estimate, Journal

COST = Estimate(circuits=2, shots=100, seconds=1.5)


class CrashError(BaseException):
    """The process dies here."""


class Memory:
    """A service in memory, with faults that happen once each, in the order they are given."""

    def __init__(self, **faults: list[BaseException | None]) -> None:
        self.faults = faults
        self.jobs: dict[str, str] = {}
        self.limits: list[float | None] = []
        self.seconds: float | None = 1.0

    def fail(self, where: str) -> None:
        waiting = self.faults.get(where, [])
        fault = waiting.pop(0) if waiting else None
        if fault is not None:
            raise fault

    def submit(self, request: Any, tag: str, max_seconds: float | None) -> str:
        self.fail("before")
        job_id = f"id{len(self.jobs)}"
        self.jobs[job_id] = tag
        self.limits.append(max_seconds)
        self.fail("after")
        return job_id

    def find(self, tag: str) -> str | None:
        self.fail("find")
        return next((job_id for job_id, known in self.jobs.items() if known == tag), None)

    def result(self, job_id: str, timeout: float | None) -> Outcome:
        self.fail("result")
        return Outcome([[3, 1], [0, 4]], self.seconds)


def job(key: str = "k") -> Job:
    return Job(key, lambda: Prepared("request", COST, {"device": "toy"}))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("qpeft.quantum.backends.desk.time.sleep", slept.append)
    return slept


def desk(folder: Path, budget: Budget | None = None) -> Desk:
    """As a new process has it: only the folder is the same."""
    return Desk(Journal(folder), budget or Budget(), Patience(timeout=7, retries=2, backoff=2))


@pytest.mark.parametrize("where", ["before", "after", "result"])
def test_a_crash_anywhere_sends_nothing_twice(where: str, tmp_path: Path) -> None:
    service = Memory(**{where: [CrashError()]})
    with pytest.raises(CrashError):
        desk(tmp_path).collect(service, job())
    assert desk(tmp_path).collect(service, job()) == [[3, 1], [0, 4]]
    assert len(service.jobs) == 1
    assert desk(tmp_path).journal.spent().shots == COST.shots


def test_an_earlier_result_needs_no_service(tmp_path: Path) -> None:
    desk(tmp_path).collect(Memory(), job())
    dead = Memory(**{where: [CrashError()] for where in ("before", "find", "result")})
    assert desk(tmp_path).collect(dead, job()) == [[3, 1], [0, 4]]
    assert Journal(tmp_path).counts("k") == [[3, 1], [0, 4]]
    assert Journal(tmp_path).counts("other") is None


@pytest.mark.parametrize("where", ["before", "after", "result"])
def test_a_lost_connection_is_tried_again(where: str, tmp_path: Path, waits: list[float]) -> None:
    service = Memory(**{where: [ConnectionLostError("no route")] * 2})
    assert desk(tmp_path).collect(service, job())
    assert len(service.jobs) == 1
    assert waits == ([2] if where == "after" else [2, 4])


def test_a_connection_that_stays_lost(tmp_path: Path, waits: list[float]) -> None:
    service = Memory(result=[ConnectionLostError("no route")] * 3)
    with pytest.raises(ConnectionLostError, match=r"job id0: .* 3 tries \(no route\); nothing is lost: the same call"):
        desk(tmp_path).collect(service, job())
    assert waits == [2, 4]
    assert desk(tmp_path).collect(service, job())
    assert len(service.jobs) == 1


def test_a_job_that_takes_too_long_is_collected_later(tmp_path: Path) -> None:
    service = Memory(result=[JobTimeoutError("queued")])
    with pytest.raises(JobTimeoutError, match="job id0 did not end within 7 s; it goes on"):
        desk(tmp_path).collect(service, job())
    assert desk(tmp_path).collect(service, job())
    assert len(service.jobs) == 1


def test_a_failed_job_may_be_sent_anew(tmp_path: Path) -> None:
    service = Memory(result=[JobFailedError("was cancelled")])
    with pytest.raises(JobFailedError, match="job id0 failed: was cancelled; the same call sends it anew"):
        desk(tmp_path).collect(service, job())
    assert desk(tmp_path).collect(service, job())
    assert list(service.jobs.values()) == ["qpeft-k-0", "qpeft-k-1"]
    assert Journal(tmp_path).spent() == Estimate(4, 200, 2.5), "the failed one as estimated, the other as charged"


def test_two_processes_at_once_send_one_job(tmp_path: Path) -> None:
    service, start = Memory(), Barrier(4)

    def collect() -> Any:
        start.wait()
        return desk(tmp_path).collect(service, job())

    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(collect) for _ in range(4)]]
    assert results == [[[3, 1], [0, 4]]] * 4
    assert len(service.jobs) == 1


@pytest.mark.parametrize(
    ("budget", "match"),
    [
        (Budget(max_shots=199), "does not fit in max_shots=199, of which 100 is spent"),
        (Budget(max_seconds=2.4), "does not fit in max_seconds=2.4, of which 1 is spent"),
    ],
)
def test_nothing_is_sent_beyond_the_budget(budget: Budget, match: str, tmp_path: Path) -> None:
    service = Memory()
    desk(tmp_path, budget).collect(service, job("first"))
    with pytest.raises(BudgetError, match=match):
        desk(tmp_path, budget).collect(service, job("second"))
    assert len(service.jobs) == 1
    assert desk(tmp_path, budget).collect(service, job("first")), "what is paid for is still there"
    assert desk(tmp_path, Budget(max_shots=200, max_seconds=2.5)).collect(service, job("second"))
    with pytest.raises(BudgetError):
        desk(tmp_path, Budget(max_shots=200)).collect(service, job("third"))


def test_the_service_is_told_what_is_left(tmp_path: Path) -> None:
    service = Memory()
    for key in ("first", "second"):
        desk(tmp_path, Budget(max_seconds=10)).collect(service, job(key))
    desk(tmp_path).collect(service, job("third"))
    assert service.limits == [10, 9, None]


def test_a_charge_not_settled_counts_as_estimated(tmp_path: Path) -> None:
    service = Memory()
    service.seconds = None
    desk(tmp_path).collect(service, job())
    assert Journal(tmp_path).spent() == COST


def test_events_are_written_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    note: Callable[..., None] = Journal.note

    def watched(self: Journal, key: str, attempt: int, event: str, **content: Any) -> None:
        assert self.read(key, attempt, event) is None
        written.append(event)
        note(self, key, attempt, event, **content)

    monkeypatch.setattr(Journal, "note", watched)
    desk(tmp_path).collect(Memory(), job())
    assert written == ["intent", "job", "counts", "end"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lock",
        *(f"k-0-{event}.json" for event in sorted(written)),
    ]
    intent = json.loads((tmp_path / "k-0-intent.json").read_text())
    assert intent["about"] == {"device": "toy"}
    assert intent["cost"] == {"circuits": 2, "shots": 100, "seconds": 1.5}


@pytest.mark.parametrize("limits", [{"max_shots": 0}, {"max_seconds": -1.0}])
def test_limits_are_above_zero(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        Budget(**limits)


@pytest.mark.parametrize(
    ("event", "text", "message"),
    [
        ("counts", "", "counts.json is damaged: the file: .*asked for the result of the same job again"),
        ("counts", "null", "counts.json is damaged: the file"),
        ("counts", '{"time": "t", "counts": [[-3, 7], [0, 4]]}', "counts.0.0: .*greater than or equal to 0"),
        ("counts", '{"time": "t", "counts": [["3", 1]]}', "counts.0.0: .*integer"),
        ("counts", '{"time": "t", "counts": []}', "counts: .*at least 1"),
        ("counts", "[" * 9000, "counts.json is damaged"),
        ("end", '{"time": "t", "status": "maybe", "seconds": 1.0}', "status: .*'done' or 'failed'"),
        ("end", '{"time": "t", "status": "done", "seconds": -1.0}', "seconds: .*greater than or equal to 0"),
        ("intent", '{"time": "t", "cost": {"circuits": 2}}', "cost.shots: .*required; nothing was sent"),
    ],
)
def test_a_damaged_journal_is_refused_by_file_and_key(event: str, text: str, message: str, tmp_path: Path) -> None:
    service = Memory()
    desk(tmp_path, Budget(max_shots=1000)).collect(service, job())
    (tmp_path / f"k-0-{event}.json").write_text(text)
    found = desk(tmp_path, Budget(max_shots=1000))

    def read() -> None:
        found.collect(service, job())
        found.journal.spent()

    with pytest.raises(RecordError, match=f"(?s){message}"):
        read()
    assert len(service.jobs) == 1


def test_counts_come_again_when_their_damaged_file_is_deleted(tmp_path: Path) -> None:
    service = Memory()
    desk(tmp_path).collect(service, job())
    (tmp_path / "k-0-counts.json").write_text("{")
    with pytest.raises(RecordError, match="Delete this file"):
        desk(tmp_path).collect(service, job())
    (tmp_path / "k-0-counts.json").unlink()
    assert desk(tmp_path).collect(service, job()) == [[3, 1], [0, 4]]
    assert len(service.jobs) == 1
