"""Drafts: hidden files and folders that are renamed once they are whole; what killed processes leave is removed."""

import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# Seconds after which a draft of another machine counts as left behind.
OLD = 24 * 3600.0
OWNED = re.compile(r"(\d+)@([0-9a-f]{6})\.[^.]*")
# Endings of unsigned drafts: whatever there is, in a folder that is ours; what tempfile chooses, elsewhere.
ANY, RANDOM = r".*", r"[a-z0-9_]{8}"


def draft_prefix(path: Path) -> str:
    """How the name of a draft for ``path`` begins: hidden, with the process and the machine that write it."""
    return f".{path.name}.{os.getpid()}@{machine()}."


def machine() -> str:
    """Six hex digits for this machine."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def sweep(folder: Path, names: Iterable[str], unsigned: str | None = None) -> None:
    """Remove drafts in a folder whose process is gone.

    Args:
        folder: It may not be there.
        names: Of what the drafts were to become.
        unsigned: The endings, as a regular expression, of drafts without a process in their name that are removed as
            well: those of an older qpeft. None: they are kept, since they may be something else.
    """
    for name in names:
        for path in folder.glob(f".{glob_safe(name)}.*"):
            if left_behind(path, path.name[len(name) + 2 :], unsigned):
                remove(path)


def glob_safe(name: str) -> str:
    """A name that stands for itself in a pattern.

    >>> glob_safe("a[1]")
    'a[[]1]'
    """
    return re.sub(r"([*?[])", r"[\1]", name)


def left_behind(path: Path, ending: str, unsigned: str | None) -> bool:
    """Whether no process will rename a draft with this ending of its name."""
    owner = OWNED.fullmatch(ending)
    if owner is None:
        return unsigned is not None and re.fullmatch(unsigned, ending) is not None
    if owner[2] != machine():
        try:
            return time.time() - path.stat().st_mtime > OLD
        except OSError:
            return False
    return int(owner[1]) != os.getpid() and not runs(int(owner[1]))


def runs(pid: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def remove(path: Path) -> None:
    """Delete a file or a folder; what cannot be deleted, or is gone already, is no fault."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
