"""``qpeft study``: measure circuits and methods - gradients, counts, times, noise - and print the rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from qpeft.recipes import StudyRecipe
    from qpeft.records import StudyRecord
    from qpeft.report.studies import StudyTable
    from qpeft.training.studies import Study

EXAMPLE = "Example:  qpeft study gradient-variance --set samples=20 --out runs/variance.json"


def command(
    name: Annotated[str | None, typer.Argument(help="A study's name or a YAML file; all are listed without.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: samples=200")] = None,
    out: Annotated[Path | None, typer.Option(help="The record's file; runs/studies/NAME-IDENTITY.json.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Also write every row and column to this file.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be measured, and stop.")] = False,
) -> None:
    """Measure circuits and methods by themselves; a record that is there is shown, not made again."""
    from qpeft.recipes import load_study, packaged_studies

    if name is None:
        for known, path in packaged_studies().items():
            typer.echo(f"{known:24} {title_of(path)}")
        return
    from qpeft.training.studies import STUDIES

    recipe = load_study(name, settings, {key: study.settings for key, study in STUDIES.items()})
    study, spec = STUDIES[recipe.study], recipe.spec()
    path = out or Path("runs") / "studies" / f"{Path(name).stem}-{spec.identity()[:8]}.json"
    if plan:
        show_plan(study, recipe, path)
        return
    record = measured(study, recipe, path)
    if table is not None:
        from qpeft.report.studies import write_study_csv

        write_study_csv(record, table)
    show(record)
    typer.echo(f"record: {path}" + (f", rows: {table}" if table else ""), err=True)


def title_of(path: Path) -> str:
    """The title of a study's file, or of the file it extends."""
    from qpeft.recipes.reader import read_mapping

    return str(read_mapping(path).get("title", ""))


def show_plan(study: "Study", recipe: "StudyRecipe", path: Path) -> None:
    """Print every point and where the record would go; nothing is measured."""
    from qpeft.report.studies import table_of

    typer.echo(f"study {recipe.study}, identity {recipe.spec().identity()}")
    for key, value in recipe.settings.items():
        typer.echo(f"  {key}: {shortened(value)}")
    points = study.points(study.settings.model_validate(recipe.settings))
    console().print(drawn(table_of(points, f"{len(points)} points", [])))
    typer.echo(f"record: {path}{' (there)' if path.exists() else ''}")


def shortened(value: object) -> str:
    """A setting in one line of at most 90 characters."""
    text = str(value)
    return text if len(text) <= 90 else f"{text[:87]}..."


def measured(study: "Study", recipe: "StudyRecipe", path: Path) -> "StudyRecord":
    """The record, new or from disk, with a bar while it is made."""
    from rich.console import Console
    from rich.progress import Progress

    from qpeft.cli.librarywords import words_above
    from qpeft.training.studies import run_study

    total = len(study.points(study.settings.model_validate(recipe.settings)))
    screen = Console(stderr=True)
    with words_above(screen), Progress(console=screen, transient=True) as bar:
        task = bar.add_task(recipe.study, total=total)

        def tick(done: int, name: str) -> None:
            bar.update(task, completed=done, description=f"{recipe.study}: {name}")

        return run_study(study, recipe.spec(), path, tick, recipe.title, recipe.paper)


def show(record: "StudyRecord") -> None:
    """Print rows, fits and notes."""
    from qpeft.report.studies import fits_table, study_table

    screen = console()
    for found in (study_table(record), fits_table(record)):
        if found is not None:
            screen.print(drawn(found))
    for note in record.notes:
        typer.echo(f"* {note}")


def console() -> "Console":
    """Standard output; where it is no terminal, as wide as the tables need."""
    from rich.console import Console

    plain = Console()
    return plain if plain.is_terminal else Console(width=240)


def drawn(found: "StudyTable") -> "Table":
    """A table for the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(found.caption), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in found.columns:
        table.add_column(Text(column), justify="left" if column in ("label", "reading", "layer", "fit") else "right")
    for row in found.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
