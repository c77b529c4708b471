"""Two processes and one folder of runs: the second is told, shares the work, or finds the run done."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qpeft.cli import run
from qpeft.errors import LockError
from qpeft.records import LOCK, RECORD, Comparison, RunSpec, holding, read_record
from qpeft.training import compare
from qpeft.training.callbacks import Silent
from qpeft.training.guard import guarded
from qpeft.training.run import train_run

# Python 3.12 warns of forks beside the threads of libraries; the children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
MakeSpec = Callable[..., RunSpec]


def hold_for(folder: Path, seconds: float) -> int:
    """A forked process that holds the lock of a folder for a while."""
    pid = os.fork()
    if pid == 0:
        with holding(folder):
            time.sleep(seconds)
        os._exit(0)
    while not (folder / LOCK).exists():
        time.sleep(0.005)
    return pid


def test_a_second_start_says_who_is_at_work_and_ends_with_1(
    base_folder: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--method", "lora", "--model", str(base_folder), "--data", str(texts), "--steps", "2"]
    words += ["--out", str(tmp_path / "run")]
    pid = hold_for(tmp_path / "run", 2.0)
    assert run(words) == 1
    error = capsys.readouterr().err
    assert f"Error: {tmp_path / 'run'} is in use by process {pid} on " in error
    assert "Traceback" not in error
    os.waitpid(pid, 0)
    assert run(words) == 0
    assert [path for path in (tmp_path / "run").iterdir() if path.name.startswith(LOCK)] == []


def test_a_finished_run_is_read_while_another_process_holds_its_folder(make_spec: MakeSpec, tmp_path: Path) -> None:
    record = train_run(make_spec(), tmp_path)
    pid = hold_for(tmp_path, 5.0)
    assert train_run(make_spec(), tmp_path) == record
    os.kill(pid, 9)
    os.waitpid(pid, 0)


class Listening(compare.ComparisonProgress):
    """Remembers what was said about each run."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, spec: RunSpec) -> Silent:
        said = self.said

        class Shown(Silent):
            def note(self, message: str) -> None:
                said.append(message)

        return Shown()

    def end(self, spec: RunSpec, error: str | None) -> None:
        self.said.append(f"seed {spec.seed}: {error or 'done'}")


def test_a_second_comparison_does_what_is_free_first_and_waits_for_the_rest(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "POLL", 0.05)
    row = make_spec()
    comparison = Comparison(name="two", title="two", baseline=row.label, runs=(row,), seeds=(1, 2))
    first, _ = comparison.final_specs(row, None)
    pid, progress = hold_for(tmp_path / first.folder(), 3.0), Listening()
    outcome = compare.run_comparison(comparison, tmp_path, progress)
    os.waitpid(pid, 0)
    assert [record.seed for record in outcome.records] == [1, 2]
    assert not outcome.failures
    assert progress.said[0].startswith(f"left for later: {tmp_path / first.folder()} is in use by process {pid} on ")
    assert progress.said[1:] == ["seed 2: done", "seed 1: done"]
    assert not list(tmp_path.rglob("error.txt"))


def test_a_run_that_lost_its_lock_writes_no_record(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careless(Silent):
        def phase(self, name: str) -> None:
            (tmp_path / "run" / LOCK).unlink(missing_ok=True)

    with pytest.raises(LockError, match="nothing more is written there"):
        train_run(make_spec(), tmp_path / "run", Careless())
    assert not (tmp_path / "run" / RECORD).exists()


def test_of_processes_that_train_together_the_main_one_holds_the_lock_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded(tmp_path, Silent()):
        with pytest.raises(LockError):
            guarded(tmp_path, Silent()).__enter__()
        monkeypatch.setenv("RANK", "1")
        with guarded(tmp_path, Silent()):
            pass
        monkeypatch.delenv("RANK")


def test_the_record_of_a_process_that_was_faster_is_read(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    record = train_run(spec, tmp_path)
    kept = (tmp_path / RECORD).read_bytes()
    (tmp_path / RECORD).unlink()

    class Late:
        """The other process ends between our look at the folder and our hold of it."""

        def __init__(self, folder: Path, *_: object) -> None:
            (folder / RECORD).write_bytes(kept)

        def __enter__(self) -> Silent:
            return Silent()

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("qpeft.training.run.guarded", Late)
    assert train_run(spec, tmp_path) == record == read_record(tmp_path / RECORD)
