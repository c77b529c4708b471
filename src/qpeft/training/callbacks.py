"""Trainer callbacks: progress, the times of steps, and when a checkpoint is written."""

import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed as dist
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from qpeft.qpa import QPAOptimizer
from qpeft.qpa.bake import save_generator
from qpeft.training.checkpoints import mark, rotate
from qpeft.training.ranks import is_main, n_processes, wait_for_all

if TYPE_CHECKING:
    from qpeft.training.session import Session

# Seconds between checkpoints, at least, and as a multiple of what one takes: large models spend 5 % on them at most.
EVERY, SHARE = 300.0, 20.0
# These steps warm caches and are left out of medians.
WARMING = 3


class Progress(Protocol):
    """Whoever shows progress: the command line, a notebook, nobody."""

    def step(self, done: int, total: int, loss: float | None) -> None:
        """Called after each optimizer step; loss is nats, None until the first was logged."""

    def phase(self, name: str) -> None:
        """Called when a run goes on to another part of its work."""

    def note(self, message: str) -> None:
        """Called with what the user should know, such as an untied head."""


class Silent:
    """Shows nothing."""

    def step(self, done: int, total: int, loss: float | None) -> None:
        """Ignore."""

    def phase(self, name: str) -> None:
        """Ignore."""

    def note(self, message: str) -> None:
        """Ignore; the record keeps it."""


class Watch(TrainerCallback):  # type: ignore[misc]
    """Times every optimizer step, and the optimizer's own part of it, notes the reserved memory, reports the step.

    The Trainer calls ``on_pre_optimizer_step`` after clipping and ``on_optimizer_step`` right after
    ``optimizer.step()``: between them lies the optimizer alone, for QPA with its generator, forwards and backwards.
    """

    def __init__(self, progress: Progress) -> None:
        """Report to this progress."""
        self.progress = progress
        self.times: list[float] = []
        self.optimizer_times: list[float] = []
        self.reserved: list[int] = []
        self.loss: float | None = None
        self._began = self._optimizer_began = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of one step."""
        self._began = now()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of the optimizer."""
        self._optimizer_began = now()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop it."""
        self.optimizer_times.append(now() - self._optimizer_began)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock of the step."""
        self.times.append(now() - self._began)
        self.reserved.append(torch.cuda.memory_reserved() if torch.cuda.is_available() else 0)
        self.progress.step(state.global_step, state.max_steps, self.loss)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        """Remember the last loss."""
        self.loss = logs.get("loss", self.loss)

    def median(self) -> float:
        """Median seconds of a step; 0 where none was made."""
        return settled(self.times)

    def optimizer_median(self) -> float:
        """Median seconds of the optimizer's part of a step; 0 where none was made."""
        return settled(self.optimizer_times)


def now() -> float:
    """Seconds; on an accelerator once it has done what was asked of it, which may be after the call that asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def settled(times: list[float]) -> float:
    """Median of seconds; the first steps, which warm caches, are left out where there are more; 0 of none.

    >>> settled([9.0, 9.0, 9.0, 1.0, 2.0, 4.0]), settled([9.0, 1.0]), settled([])
    (2.0, 5.0, 0.0)
    """
    return median(times[WARMING:] or times or [0.0])


class Checkpoints(TrainerCallback):  # type: ignore[misc]
    """Asks for checkpoints: every so many steps, every few minutes, where the run is stopped, and at its end.

    Each is marked complete once everything is on disk. What this does changes no number of a run, so it is no part
    of its identity. The last step is always followed by a checkpoint: a kill while the run is measured and saved
    costs no training. Where QPA trains, its generator is written beside the adapter, so that ``save_only_model``
    does not lose it.
    """

    def __init__(self, session: "Session", steps: int = 0) -> None:
        """Also every so many steps, where that is above 0."""
        self.session, self.steps = session, steps
        self._last = self._began = time.monotonic()
        self._every = EVERY

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on where the last session was."""
        self.session.begin()
        self._last = time.monotonic()
        self.session.interrupt.patient = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decide, all processes alike."""
        due = time.monotonic() - self._last > self._every
        due, stop = agreed(due, self.session.interrupt.asked, args.device)
        if self.steps and state.global_step % self.steps == 0:
            due = True
        control.should_save = due or stop or state.global_step >= state.max_steps
        if stop:
            control.should_training_stop = self.session.stopped = True
        self._began = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the generator, the session and the mark, once all processes have written their parts."""
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        self.session.save(folder)
        wait_for_all()
        if is_main():
            optimizer = getattr(kwargs.get("optimizer"), "optimizer", kwargs.get("optimizer"))
            if isinstance(optimizer, QPAOptimizer):
                save_generator(optimizer, folder)
            mark(folder)
            rotate(folder.parent)
        self._last = time.monotonic()
        self._every = max(EVERY, SHARE * (self._last - self._began))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """From here on nobody looks whether the run is to stop."""
        self.session.interrupt.patient = False


def agreed(due: bool, stop: bool, device: torch.device) -> tuple[bool, bool]:
    """What any of the processes wants, for all of them: their clocks differ, and a signal may come to one alone."""
    if n_processes() == 1:
        return due, stop
    wanted = torch.tensor([due, stop], dtype=torch.int32, device=device)
    dist.all_reduce(wanted, op=dist.ReduceOp.MAX)
    return bool(wanted[0]), bool(wanted[1])
