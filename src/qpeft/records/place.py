"""Whether a folder can take results: asked before hours of work, not after them."""

import os
import shutil
from pathlib import Path

from qpeft.errors import ConfigError, StorageError
from qpeft.foreign import DISK, storage

# The longest name that a run writes below its folder.
DEEPEST = "checkpoints/checkpoint-1000000/adapter/.adapter_model.safetensors.xxxxxxxx"
# Record, card and page need about this much, whatever the model.
LEAST_BYTES = 1 << 20


def require_place(folder: Path, needed: int = LEAST_BYTES) -> None:
    """Refuse a folder that cannot take what is to be written; makes nothing.

    Args:
        folder: May not be there yet.
        needed: Bytes that are going to be written.

    Raises:
        ConfigError: A file stands in the way, the name is too long, or its links lead in a circle.
        StorageError: It cannot be written, or the disk has too little room.
    """
    near = existing(folder)
    if not near.is_dir():
        raise ConfigError(f"a folder to write was expected, got {folder}: {near} is no folder; name another one")
    if not os.access(near, os.W_OK | os.X_OK):
        raise StorageError(f"{folder}: {near} cannot be written; change its permissions, or name another folder")
    free = shutil.disk_usage(near).free
    if free < needed:
        raise StorageError(
            f"{folder}: the disk is too full: {mebibytes(needed)} will be written and {mebibytes(free)} are free; "
            f"make room, or name a folder on another disk"
        )


def existing(folder: Path) -> Path:
    """The nearest thing that is there already: the folder itself, or what it would be made in.

    Raises:
        ConfigError: No system call can go there.
    """
    try:
        (folder / DEEPEST).stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except OSError as error:
        raise ConfigError(str(storage(error, "")) if error.errno in DISK else f"{folder}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{str(folder)!r} is no name of a folder: {error}") from error
    return next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))


def mebibytes(size: int) -> str:
    """A size in words.

    >>> mebibytes(3 << 19)
    '1.5 MiB'
    """
    return f"{size / (1 << 20):.1f} MiB"
