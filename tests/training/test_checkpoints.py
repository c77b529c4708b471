"""Checkpoints on disk: what is complete, what is damaged and how that is said, which ones are kept."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from qpeft.training.checkpoints import COMPLETE, checkpoints, discard, faults, mark, resume_point, rotate


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "deep").mkdir(parents=True)
    (path / "optimizer.pt").write_bytes(b"moments" * step)
    (path / "deep" / "shard.bin").write_bytes(b"weights" * step)
    mark(path)
    return path


def flip(path: Path) -> None:
    content = bytearray((path / "optimizer.pt").read_bytes())
    content[0] ^= 1
    (path / "optimizer.pt").write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: (path / "optimizer.pt").unlink(), "optimizer.pt is missing"),
    "short": (lambda path: os.truncate(path / "deep" / "shard.bin", 5), "deep/shard.bin has 5 bytes instead of 42"),
    "flipped": (flip, "optimizer.pt has other bytes than were written"),
    "unmarked": (lambda path: (path / COMPLETE).unlink(), "it was not finished"),
    "empty mark": (lambda path: (path / COMPLETE).write_text(""), "it has no list of its files"),
    "odd mark": (lambda path: (path / COMPLETE).write_text('{"files": [1]}'), "it has no list of its files"),
    "odd row": (lambda path: (path / COMPLETE).write_text('{"files": {"a": 1}}'), "it has no list of its files"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(damage: str, tmp_path: Path) -> None:
    good, bad = checkpoint(tmp_path, 4), checkpoint(tmp_path, 6)
    work, message = DAMAGES[damage]
    work(bad)
    said: list[str] = []
    assert resume_point(tmp_path, said.append) == good
    assert said == [f"checkpoint-6 cannot be used and is removed: {message}", "going on from checkpoint-4"]
    assert checkpoints(tmp_path) == [good]
    assert faults(good) == []


def test_where_none_is_left_the_run_begins_anew_and_says_so(tmp_path: Path) -> None:
    flip(checkpoint(tmp_path, 2))
    said: list[str] = []
    assert resume_point(tmp_path, said.append) is None
    assert said[-1] == "no checkpoint is left; beginning anew"
    said.clear()
    assert resume_point(tmp_path, said.append) is None
    assert said == []


def test_two_are_kept_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (8, 9, 10, 100):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-notes").mkdir()
    rotate(tmp_path)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-10", "checkpoint-100"]


def test_the_mark_goes_before_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint(tmp_path, 3)

    def killed(folder: Path, **_: object) -> None:
        assert not (folder / COMPLETE).exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            discard(path)
    assert faults(path) == ["it was not finished"]
