"""``qpeft compare``: every method of a recipe on equal terms, table and page at the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qpeft.cli import data_flags
from qpeft.cli.data_flags import COLUMNS, MAX_LENGTH
from qpeft.cli.train import REPORT_TO, words
from qpeft.errors import ConfigError, RecordError, require_choice

if TYPE_CHECKING:
    from qpeft.records import Comparison, RunRecord
    from qpeft.training.compare import Outcome
    from qpeft.training.equal_time import TimePlan

EXAMPLE = (
    "Interrupted, it goes on with the runs that are not done; the run in the middle goes on from its last checkpoint, "
    "which Ctrl-C and SIGTERM write, too.  "
    "Example:  qpeft compare demo --set train.steps=40 --out runs/quick"
)


def command(  # noqa: PLR0913 - one argument a flag
    recipe: Annotated[str, typer.Argument(help="A recipe's name (see `qpeft recipes`) or a YAML file.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a key: train.steps=100")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; runs/RECIPE by default.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this label; give it several times for several.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would run, and stop.")] = False,
    equal_time: Annotated[
        bool, typer.Option("--equal-time", help="Then again, each method for as long as the baseline trained.")
    ] = False,
    max_length: Annotated[int | None, typer.Option(min=8, help=MAX_LENGTH)] = None,
    columns: Annotated[list[str] | None, typer.Option(help=COLUMNS)] = None,
    report_to: Annotated[list[str] | None, typer.Option(help=REPORT_TO)] = None,
) -> int:
    """Train and measure every method of a recipe, skip what is done, print the table, write the page."""
    from qpeft.recipes import load_recipe

    if equal_time and only:
        raise ConfigError(
            "--equal-time needs the times of every row; leave --only out, finished runs are not repeated"
        )
    fields = data_flags.given(max_length, columns)
    settings = [*data_flags.as_settings(fields), *(settings or [])]
    comparison = chosen(load_recipe(recipe, settings), only or [])
    runs = tuple(data_flags.laid_over(run, fields) for run in comparison.runs)
    comparison = comparison.model_copy(update={"runs": runs})
    folder = out or Path("runs") / comparison.name
    if plan:
        show_plan(comparison)
        if equal_time:
            show_time_plan(comparison, folder)
        return 0
    flags = "".join(f" --set '{setting}'" for setting in settings)
    typed, trackers = f"qpeft compare {recipe}{flags}", words(report_to)
    outcome = run_and_show(comparison, folder, typed, trackers)
    if not equal_time:
        return 1 if outcome.failures else 0
    second = second_view(comparison, outcome.records, folder, f"{typed} --equal-time", trackers)
    return 1 if outcome.failures or second.failures else 0


def run_and_conclude(comparison: "Comparison", folder: Path, typed: str) -> int:
    """Do the runs, print table and verdicts, write the page; 1 where a run failed."""
    return 1 if run_and_show(comparison, folder, typed).failures else 0


def run_and_show(comparison: "Comparison", folder: Path, typed: str, trackers: Sequence[str] = ()) -> "Outcome":
    """Do the runs, print table and verdicts, write the page.

    Args:
        comparison: What to run.
        folder: Of the runs and the page.
        typed: The command, for the page.
        trackers: That follow every run.
    """
    from qpeft.cli.terminal import Bars
    from qpeft.training.compare import run_comparison

    typer.echo(f"{comparison.title}\nruns go to {folder}; an interrupted comparison goes on there")
    with Bars() as bars:
        outcome = run_comparison(comparison, folder, bars, trackers)
    show(outcome, comparison, folder, typed)
    return outcome


def second_view(
    comparison: "Comparison", records: Sequence["RunRecord"], folder: Path, typed: str, trackers: Sequence[str]
) -> "Outcome":
    """Do the runs of equal training time below the folder of the finished ones; table and page of their own."""
    from qpeft.cli.terminal import Bars
    from qpeft.training.equal_time import FOLDER, run_equal_time

    typer.echo(f"\nequal training time: runs go to {folder / FOLDER}")
    with Bars() as bars:
        derived, plan, outcome = run_equal_time(comparison, records, folder, bars, trackers)
    show(outcome, derived, folder / FOLDER, typed)
    show_times(plan, outcome.records)
    return outcome


def show(outcome: "Outcome", comparison: "Comparison", folder: Path, typed: str) -> None:
    """Print failures, table and verdicts; write the page."""
    from qpeft.cli.conclusion import conclude

    for name, message in outcome.failures.items():
        typer.echo(f"FAILED {name}: {message} (trace: {folder / name / 'error.txt'})", err=True)
    if any(record.spec.purpose == "final" for record in outcome.records):
        conclude(outcome.records, folder, comparison.title, comparison.baseline, [typed])


def show_times(plan: "TimePlan", records: Sequence["RunRecord"]) -> None:
    """Print the steps each method got, the time they were to take, and the time they took."""
    from qpeft.report.format import seconds
    from qpeft.training.equal_time import actual_times

    typer.echo(
        f"each method got the steps that fit into {seconds(plan.seconds)}, the training time of {plan.reference}"
    )
    typer.echo("planned: steps times the median of a step; trained: the whole loop, its start included")
    typer.echo(f"{'method':20} {'steps':>7} {'before':>7} {'planned':>10} {'trained':>10}")
    for share, trained in actual_times(plan, records):
        planned = seconds(share.steps * share.step_time)
        typer.echo(f"{share.label:20} {share.steps:7} {share.steps_before:7} {planned:>10} {seconds(trained):>10}")


def show_time_plan(comparison: "Comparison", folder: Path) -> None:
    """Print the steps each method would get, as far as the finished runs in the folder tell."""
    from qpeft.records import find_records
    from qpeft.training.equal_time import FOLDER, read_plan, time_plan

    try:
        plan = time_plan(comparison, find_records(folder) if folder.is_dir() else [], read_plan(folder / FOLDER))
    except RecordError:
        typer.echo("equal time: as many steps as fit into the baseline's training time, once the runs above are done")
        return
    typer.echo(f"equal time: {plan.seconds:.4g} s, the training time of {plan.reference}")
    shares = {share.label: share for share in plan.shares}
    for run in comparison.runs:
        share = shares.get(run.label)
        steps = f"{share.steps} steps of {share.step_time:.4g} s" if share else "known after its runs"
        typer.echo(f"{run.label:20} {steps}")


def show_plan(comparison: "Comparison") -> None:
    """Print every run; nothing is trained."""
    from qpeft.records import tunable
    from qpeft.training.compare import planned

    for spec in planned(comparison):
        tuned = spec.purpose == "final" and tunable(comparison, spec)
        rate = "chosen by the tuning runs" if tuned else f"{spec.train.learning_rate:g}"
        typer.echo(f"{spec.label:20} {spec.purpose:6} seed {spec.seed:<5} lr {rate}")


def chosen(comparison: "Comparison", labels: list[str]) -> "Comparison":
    """The comparison with only some of its rows; all of them where none is named.

    Processes can share the work of one folder, also by different ``--only``; a last call without it makes the page.

    Raises:
        ConfigError: A label is not in the recipe.
    """
    for label in labels:
        require_choice("--only", label, [run.label for run in comparison.runs])
    runs = tuple(run for run in comparison.runs if not labels or run.label in labels)
    baseline = comparison.baseline if any(run.label == comparison.baseline for run in runs) else runs[0].label
    return comparison.model_copy(update={"runs": runs, "baseline": baseline})
