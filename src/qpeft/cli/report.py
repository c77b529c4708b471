"""``qpeft report``: the page of runs that are on disk, and its figures as files; loads no model."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  qpeft report runs/demo --baseline lora --figures figures --format svg,csv"


def command(
    folder: Annotated[Path, typer.Argument(help="A folder with records.")],
    baseline: Annotated[str | None, typer.Option(help="Label to compare with; the first one by default.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    figures: Annotated[Path | None, typer.Option(help="A folder for every figure as a file of its own.")] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Formats of --figures: svg, png, pdf (all by matplotlib), csv; a list.")
    ] = "svg,csv",
) -> None:
    """Print the table of finished runs; write report.html and runs.csv beside them, and figures where asked to."""
    from qpeft.cli.conclusion import conclude
    from qpeft.records import find_records
    from qpeft.report import write_figures

    records = find_records(folder)
    conclude(records, folder, title or folder.name, baseline, [f"qpeft report {folder}"])
    if figures is not None:
        written = write_figures(records, figures, [word.strip() for word in formats.split(",")])
        typer.echo(f"figures   {len(written)} in {figures}")
