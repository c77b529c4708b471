"""``qpeft compare``: every method of a recipe on equal terms, table and page at the end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qpeft.errors import require_choice

if TYPE_CHECKING:
    from qpeft.records import Comparison

EXAMPLE = "Example:  qpeft compare demo --set train.steps=40 --out runs/quick"


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (see `qpeft recipes`) or a YAML file.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a key: train.steps=100")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; runs/RECIPE by default.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this label; give it several times for several.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would run, and stop.")] = False,
) -> int:
    """Train and measure every method of a recipe, skip what is done, print the table, write the page."""
    from qpeft.recipes import load_recipe

    comparison = chosen(load_recipe(recipe, settings), only or [])
    folder = out or Path("runs") / comparison.name
    if plan:
        show_plan(comparison)
        return 0
    flags = "".join(f" --set '{setting}'" for setting in settings or [])
    return run_and_conclude(comparison, folder, f"qpeft compare {recipe}{flags}")


def run_and_conclude(comparison: "Comparison", folder: Path, typed: str) -> int:
    """Do the runs, print table and verdicts, write the page; 1 where a run failed.

    Args:
        comparison: What to run.
        folder: Of the runs and the page.
        typed: The command, for the page.
    """
    from qpeft.cli.conclusion import conclude
    from qpeft.cli.terminal import Bars
    from qpeft.training.compare import run_comparison

    typer.echo(f"{comparison.title}\nruns go to {folder}; an interrupted comparison goes on there")
    with Bars() as bars:
        outcome = run_comparison(comparison, folder, bars)
    for name, message in outcome.failures.items():
        typer.echo(f"FAILED {name}: {message} (trace: {folder / name / 'error.txt'})", err=True)
    if any(record.spec.purpose == "final" for record in outcome.records):
        conclude(outcome.records, folder, comparison.title, comparison.baseline, [typed])
    return 1 if outcome.failures else 0


def show_plan(comparison: "Comparison") -> None:
    """Print every run; nothing is trained."""
    from qpeft.training.compare import planned, tunable

    for spec in planned(comparison):
        tuned = spec.purpose == "final" and tunable(comparison, spec)
        rate = "chosen by the tuning runs" if tuned else f"{spec.train.learning_rate:g}"
        typer.echo(f"{spec.label:20} {spec.purpose:6} seed {spec.seed:<5} lr {rate}")


def chosen(comparison: "Comparison", labels: list[str]) -> "Comparison":
    """The comparison with only some of its rows; all of them where none is named.

    Two processes can share the work of one folder by different ``--only``; a last call without it makes the page.

    Raises:
        ConfigError: A label is not in the recipe.
    """
    for label in labels:
        require_choice("--only", label, [run.label for run in comparison.runs])
    runs = tuple(run for run in comparison.runs if not labels or run.label in labels)
    baseline = comparison.baseline if any(run.label == comparison.baseline for run in runs) else runs[0].label
    return comparison.model_copy(update={"runs": runs, "baseline": baseline})
