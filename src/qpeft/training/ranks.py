"""Several processes of one run, as ``accelerate launch -m qpeft train`` starts them: all compute, one writes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch.distributed as dist


def is_main() -> bool:
    """Whether this process writes and prints; true of a process that was started alone."""
    return os.environ.get("RANK", "0") == "0"


def n_processes() -> int:
    """How many train together; each takes a batch of its own in every step."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def wait_for_all() -> None:
    """Go on once every process has come here; nothing to wait for where one was started alone."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def from_main(value: Any) -> Any:
    """What the main process has, in every process; all of them have to call it."""
    found = [value]
    if n_processes() > 1:
        dist.broadcast_object_list(found, src=0)
    return found[0]


@contextmanager
def writing_place(folder: Path) -> Iterator[Path]:
    """The folder of the run, or for all processes but the main one a folder that goes away.

    What is written may have to be gathered from all of them, so all take the same way.
    """
    if is_main():
        yield folder
        return
    with TemporaryDirectory() as elsewhere:
        yield Path(elsewhere)
