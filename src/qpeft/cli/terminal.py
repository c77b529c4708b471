"""What the commands that train show: progress bars with the time left."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from qpeft.cli.librarywords import words_above
from qpeft.records import RunSpec
from qpeft.training.callbacks import Progress as RunProgress
from qpeft.training.compare import ComparisonProgress


class Bars(ComparisonProgress):
    """One bar over all runs, one for the steps of the current run; a line a run where there is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        """Draw on this console."""
        self.console = console or Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=self.console, speed_estimate_period=600)
        self.words = words_above(self.console)
        self.runs = self.bars.add_task("runs", total=None)
        self.steps = self.bars.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        """Start drawing."""
        self.words.__enter__()
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self.bars.stop()
        self.words.__exit__(kind, error, trace)

    def plan(self, runs: int) -> None:
        """Set the length of the outer bar."""
        self.bars.update(self.runs, total=runs)

    def start(self, spec: RunSpec) -> RunProgress:
        """Point the inner bar at a run."""
        rate = f", lr {spec.train.learning_rate:g}" if spec.purpose == "tune" else ""
        name = f"{spec.label} seed {spec.seed}{rate}"
        self.bars.reset(self.steps, total=spec.train.steps, description=name, visible=True)
        return StepBar(self.bars, self.steps, name)

    def end(self, spec: RunSpec, error: str | None) -> None:
        """Advance the outer bar; off a terminal print a line instead."""
        self.bars.advance(self.runs)
        if not self.console.is_terminal:
            mark = f"failed: {error}" if error else "done"
            self.console.print(f"{spec.label} seed {spec.seed} {spec.purpose} lr {spec.train.learning_rate:g}: {mark}")


class StepBar:
    """The inner bar."""

    def __init__(self, bars: Progress, task: TaskID, name: str) -> None:
        """Draw on an existing task."""
        self.bars, self.task, self.name = bars, task, name

    def step(self, done: int, total: int, loss: float | None) -> None:
        """Show steps and the last logged loss."""
        shown = f"{self.name}  loss {loss:.3f}" if loss is not None else self.name
        self.bars.update(self.task, completed=done, total=total, description=shown)

    def phase(self, name: str) -> None:
        """Show what the run is doing."""
        self.bars.update(self.task, description=f"{self.name}  {name}")

    def note(self, message: str) -> None:
        """Print above the bars."""
        self.bars.console.print(f"{self.name}: {message}", highlight=False, markup=False)
