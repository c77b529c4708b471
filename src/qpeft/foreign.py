"""Errors of disks, names and memory that other libraries raise, as errors of ours: what, where, and what next."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qpeft.errors import QpeftError, ResourceError, StorageError

AGAIN = "run the same command again to go on"
# What happened and what to do, by the number the operating system gives.
DISK: dict[int, tuple[str, str]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), ("the disk is full", f"make room, then {AGAIN}")),
    errno.EROFS: ("the disk is read-only", "name a folder on another disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), ("permission denied", "change its permissions, or name another")),
    errno.ENAMETOOLONG: ("the name is too long for this disk", "give a shorter one"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), ("a file stands where a folder is needed", "name another folder")),
    errno.EISDIR: ("a folder stands where a file is needed", "name a file"),
    errno.ENOTEMPTY: ("the folder is not empty", "name another folder"),
    errno.ENOENT: ("no such file or folder", "check the name, and that nothing deletes it meanwhile"),
    errno.ELOOP: ("its symbolic links lead in a circle", "name the file itself"),
    errno.EIO: ("the disk failed", f"check the disk, then {AGAIN}"),
    errno.EFBIG: ("the file is larger than this disk allows", "name a folder on another disk"),
    errno.EMFILE: ("too many files are open", "raise the limit with ulimit -n"),
}
# What libraries without error numbers say in their own words: safetensors, torch's writer of archives.
DISK_WORDS: dict[str, int] = {
    "No space left": errno.ENOSPC,
    "os error 28": errno.ENOSPC,
    "StorageFull": errno.ENOSPC,
    "os error 122": errno.EDQUOT,
    "Read-only file system": errno.EROFS,
    "os error 30": errno.EROFS,
    "Permission denied": errno.EACCES,
    "File name too long": errno.ENAMETOOLONG,
    "Not a directory": errno.ENOTDIR,
    "Input/output error": errno.EIO,
}
# torch's writer counts the bytes that arrived, and no more.
SHORT_WRITES = ("PytorchStreamWriter failed", "inline_container.cc", "unexpected pos")
MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "Cannot allocate memory", "bad_alloc")
# What these libraries raise carries no class of its own that names the cause.
WORDY = (RuntimeError, OSError, ValueError)


def as_ours(error: BaseException, doing: str = "") -> QpeftError | None:
    """The error for something a person, a disk or a machine's memory did, or None: then it is a fault of qpeft.

    >>> as_ours(OSError(28, "No space left on device", "x/y"))
    StorageError('x/y: the disk is full; make room, then run the same command again to go on')

    Args:
        error: What another library raised.
        doing: What was being done, such as ``training``; empty where the path says enough.
    """
    if isinstance(error, QpeftError):
        return error
    before = f"{doing}: " if doing else ""
    if is_memory(error):
        return ResourceError(
            f"{before}the memory of this machine does not suffice: {first_line(error)}; take a smaller "
            f"train.batch_size, data.max_length or model, or fewer qubits"
        )
    if isinstance(error, OSError) or ((isinstance(error, WORDY) or is_library(error)) and disk_number(error)):
        return storage(error, before)
    return None


def storage(error: BaseException, before: str) -> StorageError:
    """The error for a file or a disk."""
    number = disk_number(error)
    names = [getattr(error, "filename", None), getattr(error, "filename2", None)]
    where = " -> ".join(str(name) for name in names if name is not None)
    what, way_on = DISK.get(number or 0, (getattr(error, "strerror", None) or first_line(error), AGAIN))
    return StorageError(f"{before}{where + ': ' if where else ''}{what}; {way_on}")


def disk_number(error: BaseException) -> int | None:
    """The operating system's number for what happened to a file, also where a library only says it in words."""
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    text = str(error)
    found = next((value for word, value in DISK_WORDS.items() if word in text), None)
    return errno.ENOSPC if found is None and any(word in text for word in SHORT_WRITES) else found


def is_memory(error: BaseException) -> bool:
    """Whether memory ran out: of the machine, or of an accelerator."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return (isinstance(error, OSError) and error.errno == errno.ENOMEM) or (
        isinstance(error, RuntimeError) and any(word in text for word in MEMORY_WORDS)
    )


def is_library(error: BaseException) -> bool:
    """Whether an error is of a class that safetensors, pyarrow or tokenizers made."""
    return type(error).__module__.partition(".")[0] in ("safetensors", "safetensors_rust", "pyarrow", "tokenizers")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def ours(doing: str) -> Iterator[None]:
    """Raise what a disk or the memory did as a QpeftError; also a decorator of functions.

    Errors that nothing outside of qpeft explains pass unchanged: they are faults of qpeft, and are to be seen as such.

    Raises:
        StorageError: a file could not be read or written.
        ResourceError: the memory did not suffice.
    """
    try:
        yield
    except QpeftError:
        raise
    except Exception as error:
        known = as_ours(error, doing)
        if known is None:
            raise
        raise known from error
