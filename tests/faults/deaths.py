"""Inside a child: dies before its k-th file operation, or after half of a large write; writes down what it did.

Operations are seen by Python's audit hook (open for writing, rename, remove, mkdir, rmdir) and at the two libraries
that write files without Python's knowledge: torch.save and safetensors.
"""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
MOVES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")


class Deaths:
    """Counts operations below a folder; ``at`` is the one that is not survived, 0 for none."""

    def __init__(self, folder: Path, log: Path, at: int = 0) -> None:
        self.folder, self.at, self.count, self.busy = str(folder), at, 0, False
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)

    def note(self, line: str) -> None:
        os.write(self.log, f"{line}\n".encode())

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def operation(self, name: str, path: object, half: Callable[[], None] | None = None) -> None:
        """One operation is about to happen; with ``half`` it is half done first where it is the last."""
        if self.busy or not str(path).startswith(self.folder):
            return
        self.busy = True
        try:
            self.count += 1
            self.note(f"op {name} {plain(str(path)[len(self.folder) :])}")
            if self.count == self.at:
                if half is not None:
                    half()
                self.die()
        finally:
            self.busy = False

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING:
                self.operation(event, path)
        elif event in MOVES:
            path, opened = str(arguments[0]), arguments[-1]
            # A tree is removed by names relative to an open folder.
            near = isinstance(opened, int) and opened >= 0 and not path.startswith("/") and event != "os.mkdir"
            self.operation(event, Path(f"/proc/self/fd/{opened}").readlink() / path if near else path)

    def install(self) -> None:
        """Watch this process from now on."""
        import safetensors.torch
        import torch

        from qpeft.quantum.backends.sampled import SampledBackend
        from qpeft.training.callbacks import Watch

        sys.addaudithook(self.audit)
        self.wrap_write(torch, "save", 1)
        self.wrap_write(safetensors.torch, "serialize_file", 1)
        self.wrap_step(Watch)
        self.wrap_backend(SampledBackend)

    def wrap_write(self, module: Any, name: str, place: int) -> None:
        original = getattr(module, name)

        def write(*arguments: Any, **options: Any) -> Any:
            path = arguments[place]

            def half() -> None:
                original(*arguments, **options)
                os.truncate(path, Path(path).stat().st_size // 2)

            self.operation(name, path, half)
            return original(*arguments, **options)

        setattr(module, name, write)

    def wrap_step(self, watch: Any) -> None:
        begin, end = watch.on_step_begin, watch.on_step_end

        def on_step_begin(callback: Any, args: Any, state: Any, *rest: Any, **more: Any) -> None:
            self.note(f"step {state.global_step + 1}")
            begin(callback, args, state, *rest, **more)

        def on_step_end(callback: Any, args: Any, state: Any, *rest: Any, **more: Any) -> None:
            self.note(f"did {state.global_step}")
            end(callback, args, state, *rest, **more)

        watch.on_step_begin, watch.on_step_end = on_step_begin, on_step_end

    def wrap_backend(self, backend: Any) -> None:
        """Count independently what is asked of a backend with shots."""
        original = backend.probabilities

        def probabilities(backend: Any, circuit: Any, angles: Any, *rest: Any, **more: Any) -> Any:
            self.note(f"circuits {angles[..., 0].numel()}")
            return original(backend, circuit, angles, *rest, **more)

        backend.probabilities = probabilities


def plain(path: str) -> str:
    """A path without numbers and random endings, so that equal operations have equal names.

    >>> plain("/checkpoints/checkpoint-12/.complete.77@abcdef.x_8y")
    '/checkpoints/checkpoint-N/.complete.'
    """
    return re.sub(r"\d+@.*|(?<=/\.lock\.).*", "", re.sub(r"checkpoint-\d+", "checkpoint-N", path))
