"""``qpeft papers``: every table and figure of both papers - list, run, show published numbers beside ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qpeft.errors import require_choice

if TYPE_CHECKING:
    from qpeft.recipes.papers import Item

EXAMPLE = "Example:  qpeft papers run qpa-fig4b --set data.name=wikitext-2 && qpeft papers show qpa-fig4b"
RUNS, RESULTS = Path("runs/papers"), Path("results")
SCALES = ("tiny", "real")  # recipes.papers has them too; help must not wait for it

app = typer.Typer(
    help="Every table and figure of both papers: list them, run them, show published numbers beside ours.",
    epilog=EXAMPLE,
    rich_markup_mode=None,
)
ScaleOption = Annotated[str, typer.Option(help="tiny: the embedded model; real: the paper's own model and data.")]


@app.callback(invoke_without_command=True)
def papers(context: typer.Context) -> None:
    """List every item with its recipes, or go to `run` and `show`."""
    if context.invoked_subcommand is not None:
        return
    from qpeft.recipes.papers import ARXIV, paper_items

    for paper, number in ARXIV.items():
        typer.echo(f"{paper.upper()} (arXiv:{number})")
        for name, item in paper_items().items():
            if name.startswith(paper):
                typer.echo(f"  {name:17} {item.title.split(', ', 1)[1]}\n  {'':17} {summary(item)}")


def summary(item: "Item") -> str:
    """The recipes of an item in one line."""
    parts = [f"{scale}: {', '.join(item.recipes(scale))}" for scale in SCALES if item.recipes(scale)]
    return " | ".join(parts) or f"see `{item.shown}`"


@app.command("run", epilog=EXAMPLE)
def run(
    item: Annotated[str, typer.Argument(help="A name of `qpeft papers`.")],
    scale: ScaleOption = "tiny",
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a key of its comparisons.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of all runs; items share those they have in common.")] = RUNS,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would run, and stop.")] = False,
) -> int:
    """Run the comparisons and studies of an item; what is done already, also for another item, is not done again."""
    from qpeft.recipes import load_recipe, packaged_studies

    failed = 0
    for name in recipes_of(item, scale):
        if name in packaged_studies():
            measure(name, out, plan)
        elif plan:
            from qpeft.cli.compare import show_plan

            show_plan(load_recipe(name, settings))
        else:
            failed |= compare(name, settings, out)
    if not plan:
        typer.echo(f"next: qpeft papers show {item} --records {out}")
    return failed


def recipes_of(item: str, scale: str) -> list[str]:
    """The recipes of an item that is to run.

    Raises:
        ConfigError: There is no such item or scale, or nothing to run.
    """
    from qpeft.errors import ConfigError
    from qpeft.recipes.papers import find_item

    require_choice("--scale", scale, SCALES)
    found = find_item(item)
    names = found.recipes(scale)
    if not names:
        raise ConfigError(f"{item} has nothing to run at --scale {scale}; {summary(found)}")
    return names


def measure(name: str, out: Path, plan: bool) -> None:
    """Run a study, or print its plan."""
    from qpeft.cli import study

    study.command(name, None, None if plan else out / f"{name}.json", None, plan)


def compare(name: str, settings: list[str] | None, out: Path) -> int:
    """Do the runs of a comparison in the common folder, its page in a folder of its own; 1 where a run failed."""
    from qpeft.cli.conclusion import conclude
    from qpeft.cli.terminal import Bars
    from qpeft.recipes import load_recipe
    from qpeft.training.compare import run_comparison

    comparison = load_recipe(name, settings)
    typer.echo(f"{comparison.title}\nruns go to {out}; what was interrupted goes on there")
    with Bars() as bars:
        outcome = run_comparison(comparison, out, bars)
    for place, message in outcome.failures.items():
        typer.echo(f"FAILED {place}: {message} (trace: {out / place / 'error.txt'})", err=True)
    if outcome.records:
        flags = "".join(f" --set '{setting}'" for setting in settings or [])
        commands = [f"qpeft compare {name}{flags} --out {out}"]
        conclude(outcome.records, out / "pages" / name, comparison.title, comparison.baseline, commands)
    return 1 if outcome.failures else 0


@app.command("show", epilog=EXAMPLE)
def show(
    item: Annotated[str, typer.Argument(help="A name of `qpeft papers`.")],
    scale: ScaleOption = "tiny",
    settings: Annotated[list[str] | None, typer.Option("--set", help="As the runs were made.")] = None,
    records: Annotated[
        Path | None, typer.Option(help="Folder with records; runs/papers, else results, by default.")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Also write its figures into this folder, as SVG.")] = None,
) -> None:
    """Print what the paper published beside what was measured here."""
    from qpeft.cli.gathered import gather, item_figures, item_notes, item_tables
    from qpeft.cli.study import console, drawn
    from qpeft.recipes.papers import find_item
    from qpeft.report.static import save_figure

    require_choice("--scale", scale, SCALES)
    entry = find_item(item)
    typer.echo("\n".join(text for text in (entry.title, entry.note) if text))
    names = entry.recipes(scale)
    found = gather(names, records or (RUNS if RUNS.is_dir() else RESULTS), settings or [])
    for table in item_tables(item, entry, found):
        console().print(drawn(table))
    for text in item_notes(found):
        typer.echo(f"* {text}")
    for name, missing in found.missing.items():
        if missing:
            typer.echo(f"{name}: {missing} not measured yet; `qpeft papers run {item} --scale {scale}`")
    for name, figure in item_figures(item, entry, found).items() if figures else ():
        typer.echo(f"figure {save_figure(figure, Path(figures or '.') / f'{name}.svg')}")
    if not names:
        typer.echo(summary(entry))
