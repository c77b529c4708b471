"""Drafts: those of killed processes go, those of living ones and the files of others stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qpeft.records import drafts, write_atomically
from qpeft.records.drafts import ANY, OLD, RANDOM, draft_prefix, machine, sweep


def dead() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_only_what_nobody_will_rename_is_removed(tmp_path: Path) -> None:
    gone, far = dead(), f".out.{os.getpid()}@ffffff.x"
    assert machine() != "ffffff"
    names = {
        f".out.{gone}@{machine()}.abcd1234": False,
        f".out.{os.getppid()}@{machine()}.abcd1234": True,
        f"{draft_prefix(tmp_path / 'out')}abcd1234": True,
        far: True,
        ".out.abcd_123": False,  # of an older qpeft
        ".out.local": True,
        ".other.abcd_123": True,
        "out": True,
    }
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    sweep(tmp_path, ["out"], RANDOM)
    assert {name: (tmp_path / name).exists() for name in names} == names
    os.utime(tmp_path / far, (0, tmp_path.stat().st_mtime - OLD - 60))
    sweep(tmp_path, ["out"])
    assert not (tmp_path / far).exists()
    sweep(tmp_path, ["out"], ANY)
    assert not (tmp_path / ".out.local").exists()
    sweep(tmp_path / "nowhere", ["out"], ANY)


def test_a_writer_sweeps_its_own_name_and_leaves_what_looks_alike(tmp_path: Path) -> None:
    left, alike = tmp_path / f".env.{dead()}@{machine()}.x", tmp_path / ".env.abcd1234"
    left.touch()
    alike.touch()
    write_atomically(tmp_path / "env", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env.abcd1234", "env"]


def test_a_process_of_another_user_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert drafts.runs(1)
