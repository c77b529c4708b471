"""Whether a folder can take results is known before anything runs."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from qpeft.errors import ConfigError, StorageError
from qpeft.records import require_place


def test_folders_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_place(tmp_path)
    require_place(tmp_path / "a" / "b")
    monkeypatch.chdir(tmp_path)
    require_place(Path("runs"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "file is no folder; name another one"),
        ("file/below", "file is no folder"),
        ("nowhere", "nowhere is no folder"),
        ("loop", "symbolic links lead in a circle"),
        ("n" * 300, "the name is too long for this disk"),
        ("/".join(["n" * 200] * 30), "the name is too long"),
        ("a\0b", "is no name of a folder"),
    ],
)
def test_names_that_cannot_be_folders(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    with pytest.raises(ConfigError, match=message):
        require_place(tmp_path / name)


def test_disks_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(StorageError, match=r"cannot be written; change its permissions"):
        require_place(tmp_path / "a")
    monkeypatch.undo()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 0, 2 << 20))
    require_place(tmp_path / "a")
    with pytest.raises(StorageError, match=r"4.0 MiB will be written and 2.0 MiB are free; make room"):
        require_place(tmp_path / "a", needed=4 << 20)
