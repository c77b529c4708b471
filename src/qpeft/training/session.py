"""What goes on from one session of a run to the next, beside what the Trainer keeps itself: losses and times."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from peft import PeftModel
from transformers import Trainer

from qpeft.errors import RecordError
from qpeft.qpa.bake import vocabulary_changed
from qpeft.training.callbacks import Watch, now
from qpeft.training.interrupt import Interrupt
from qpeft.training.ranks import is_main, n_processes

FILE = "session.json"


class Loop(Trainer):  # type: ignore[misc]
    """A Trainer that trains no step more where a checkpoint has all of them, and writes no head that is the base's.

    The Trainer asks whether it is done only after a step, and lets peft copy the whole head into every checkpoint of
    an adapter on the head.
    """

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if not isinstance(self.model, PeftModel):
            super()._save(output_dir, state_dict)
            return
        write = self.model.save_pretrained
        self.model.save_pretrained = partial(write, save_embedding_layers=vocabulary_changed(self.model))
        try:
            super()._save(output_dir, state_dict)
        finally:
            del self.model.save_pretrained

    def _run_epoch(self, *arguments: Any, **options: Any) -> None:
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*arguments, **options)


class Session:
    """One session of training: what it got from the sessions before, and what it leaves to the next.

    The Trainer forgets the losses since the last logged point, and where that was; a point after a resume would
    average other steps.

    Attributes:
        stopped: Whether a signal ended the training before its last step, or at it.
        resumed: The checkpoint this session began at.
    """

    def __init__(self, watch: Watch, interrupt: Interrupt) -> None:
        """Of the run that this watch watches; ``trainer`` and ``resumed`` are set before training begins."""
        self.watch, self.interrupt = watch, interrupt
        self.trainer: Any = None
        self.resumed: Path | None = None
        self.stopped = False
        self._began, self._before = now(), 0.0

    @property
    def seconds(self) -> float:
        """Spent in the training loop by all sessions, without steps that were lost."""
        return self._before + now() - self._began

    def save(self, folder: Path) -> None:
        """Write into a checkpoint; all processes have to call it."""
        losses = [float(self.trainer._tr_loss)]
        if n_processes() > 1:
            gathered: list[Any] = [None] * n_processes()
            dist.all_gather_object(gathered, losses[0])
            losses = gathered
        body = {
            "losses": losses,  # summed since the last logged point, one a process
            "logged": self.trainer._globalstep_last_logged,
            "seconds": round(self.seconds, 3),
            "times": [round(value, 7) for value in self.watch.times],
            "optimizer_times": [round(value, 7) for value in self.watch.optimizer_times],
            "reserved": self.watch.reserved,
        }
        if is_main():
            (folder / FILE).write_text(json.dumps(body), encoding="utf-8")

    def begin(self) -> None:
        """Go on with what the checkpoint holds, if there is one; called as the Trainer begins.

        Raises:
            RecordError: The checkpoint was written by another number of processes.
        """
        if self.resumed is None:
            return
        trainer, watch = self.trainer, self.watch
        body = json.loads((self.resumed / FILE).read_text("utf-8"))
        if len(body["losses"]) != n_processes():
            raise RecordError(
                f"{self.resumed} was written by {len(body['losses'])} process(es), and {n_processes()} would go on "
                f"with other rows a step; start as many as before, or name another folder"
            )
        trainer._tr_loss = torch.tensor(body["losses"][trainer.args.process_index], device=trainer.args.device)
        trainer._globalstep_last_logged = body["logged"]
        self._before = body["seconds"]
        watch.times, watch.optimizer_times = body["times"], body["optimizer_times"]
        watch.reserved = body["reserved"]
        if trainer.state.global_step >= trainer.state.max_steps:  # otherwise the Trainer does it before the first step
            trainer._load_rng_state(str(self.resumed))
