"""What a run has really spent on circuits: a small file that every session adds to, also one that is killed."""

import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from qpeft.training.ranks import is_main, n_processes

SPENT = "spent.txt"


class Spent:
    """Counts circuits and shots of all sessions of a run, in a file that is up to date before a circuit runs.

    A checkpoint holds what the run needed to come there. Steps that are done again after a kill, and circuits that
    are run again because a state was loaded, are spent as well; on a quantum computer they are paid for.

    Attributes:
        circuits: Circuits asked of a backend so far, by all processes of all sessions.
        shots: Measurements so far; 0 where probabilities are exact.
        note: What is wrong with the file, if anything is.
    """

    def __init__(self, folder: Path) -> None:
        """Go on with what the sessions before have spent; the folder is there."""
        self.path = folder / SPENT
        self.circuits, self.shots, self.note = 0, 0, ""
        if is_main() and self.path.exists():
            try:
                self.circuits, self.shots = map(int, self.path.read_text("ascii").split())
            except ValueError:
                self.note = f"{self.path.name} is damaged: circuits of the sessions before are not counted as spent"

    def __call__(self, circuits: int, shots: int) -> None:
        """Add what this process is about to run; every process of a run asks for as many."""
        self.add(n_processes() * circuits, n_processes() * shots)

    def add(self, circuits: int, shots: int) -> None:
        """Add what all processes run."""
        self.circuits += circuits
        self.shots += shots
        if is_main():
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                # One write of a fixed length: a kill leaves the numbers before it or those after it.
                os.pwrite(handle, f"{self.circuits:20d} {self.shots:20d}\n".encode(), 0)
            finally:
                os.close(handle)


class ModulesSpent(TrainerCallback):  # type: ignore[misc]
    """Counts the circuits of QAA's modules: one for each real token, module and forward pass."""

    def __init__(self, spent: Spent, n_circuits: int) -> None:
        """Of a model with this many modules that run a circuit."""
        self.spent, self.n_circuits, self.tokens = spent, n_circuits, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tokens of earlier sessions are in the file already."""
        self.tokens = state.num_input_tokens_seen

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After a batch that is no whole step."""
        self.spent.add((state.num_input_tokens_seen - self.tokens) * self.n_circuits, 0)
        self.tokens = state.num_input_tokens_seen

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After the last batch of a step."""
        self.on_substep_end(args, state, control)
