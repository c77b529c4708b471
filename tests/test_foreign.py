"""Errors of disks, names and memory become errors of qpeft that say what, where, what next; faults of ours do not."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from qpeft.errors import ConfigError, QpeftError, ResourceError, StorageError
from qpeft.foreign import as_ours, ours


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "a/b: the disk is full; make room, then run the same command again"),
        (errno.EROFS, "a/b: the disk is read-only; name a folder on another disk"),
        (errno.EACCES, "a/b: permission denied; change its permissions"),
        (errno.ENAMETOOLONG, "a/b: the name is too long for this disk; give a shorter one"),
        (errno.ELOOP, "a/b: its symbolic links lead in a circle"),
        (errno.ENOTDIR, "a/b: a file stands where a folder is needed"),
        (errno.ETXTBSY, "a/b: Text file busy"),
    ],
)
def test_the_numbers_of_the_operating_system(number: int, message: str) -> None:
    found = as_ours(OSError(number, os.strerror(number), "a/b"))
    assert isinstance(found, StorageError)
    assert isinstance(found, OSError)
    assert str(found).startswith(message)


def test_what_libraries_say_in_words_of_their_own() -> None:
    full = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    short = RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
    for error in (full, short, OSError(errno.ENOSPC, "x")):
        assert "the disk is full" in str(as_ours(error, "saving"))
    memory = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
    for error in (memory, MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), OSError(errno.ENOMEM, "x")):
        assert isinstance(as_ours(error), ResourceError)


def test_what_safetensors_itself_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="saving: a file stands where a folder is needed"), ours("saving"):
        save_file({"a": torch.zeros(9)}, tmp_path / "file" / "x")


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyError("x"), ValueError("x"), RuntimeError("shapes")])
def test_faults_of_ours_stay_what_they_are(error: Exception) -> None:
    assert as_ours(error) is None
    with pytest.raises(type(error)) as caught, ours("training"):
        raise error
    assert caught.value is error


def test_errors_of_ours_pass_unchanged() -> None:
    error = ConfigError("x")
    assert as_ours(error) is error
    with pytest.raises(QpeftError) as caught, ours("training"):
        raise error
    assert caught.value is error
