"""Commands of qpeft in forked children that share one import, so that a trial costs a second and not ten."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# One thread: a forked child has none of its parent's, and would wait for them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def warm_up() -> None:
    """Import what every command imports; call once before the first child."""
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    torch.set_num_threads(1)


@dataclass
class Child:
    """A forked process, and the file that holds what it printed."""

    pid: int
    log: Path
    code: int | None = None

    def poll(self) -> int | None:
        """The exit code if it has ended (minus the signal if it was killed), else None."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, seconds: float = 120.0) -> int | None:
        """The exit code; None, and the child killed, where it takes longer."""
        end = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                return None
            time.sleep(0.005)
        return self.code

    def kill(self, by: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; after SIGKILL also wait for the end."""
        if self.poll() is None:
            os.kill(self.pid, by)
            if by == signal.SIGKILL:
                _, status = os.waitpid(self.pid, 0)
                self.code = os.waitstatus_to_exitcode(status)

    def said(self) -> str:
        """What it has printed to both streams."""
        return self.log.read_text("utf-8", "replace")


def call(work: Callable[[], int], log: Path) -> Child:
    """Run a function in a forked child; its return value is the exit code, an exception that escapes is code 99."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, log)
    code = 99
    try:
        os.setsid()
        handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        code = work()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def command(arguments: Sequence[str], log: Path, at: Path | None = None) -> Child:
    """Start a command line of qpeft in a child, in the folder ``at`` where one is given."""

    def work() -> int:
        if at is not None:
            os.chdir(at)
        from qpeft.cli import run

        return run([*arguments])

    return call(work, log)
