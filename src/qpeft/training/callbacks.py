"""Trainer callbacks: progress, step times, complete checkpoints, the generator beside each checkpoint."""

import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from qpeft.qpa import QPAOptimizer
from qpeft.qpa.bake import save_generator
from qpeft.training.ranks import is_main, wait_for_all

COMPLETE = "complete"
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
    """Marks a checkpoint complete once everything is on disk; a kill in between leaves it unmarked.

    Where QPA trains, its generator is written beside the adapter, so that ``save_only_model`` does not lose it.
    """

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the generator and the mark, once all processes have written their parts."""
        wait_for_all()
        if not is_main():
            return
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        optimizer = getattr(kwargs.get("optimizer"), "optimizer", kwargs.get("optimizer"))
        if isinstance(optimizer, QPAOptimizer):
            save_generator(optimizer, folder)
        (folder / COMPLETE).touch()


def resume_point(folder: Path) -> str | None:
    """The newest complete checkpoint below a folder, or None; incomplete ones are removed.

    A leftover with a higher step would otherwise count as the newest when the Trainer deletes old checkpoints.
    """
    if is_main():
        for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
            if not (path / COMPLETE).exists():
                shutil.rmtree(path)
    wait_for_all()
    found = sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    return str(found[-1]) if found else None
