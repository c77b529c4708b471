"""``qpeft report``: the page of runs that are on disk; loads no model."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  qpeft report runs/demo --baseline lora"


def command(
    folder: Annotated[Path, typer.Argument(help="A folder with records.")],
    baseline: Annotated[str | None, typer.Option(help="Label to compare with; the first one by default.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
) -> None:
    """Print the table of finished runs; write report.html and runs.csv beside them."""
    from qpeft.cli.conclusion import conclude
    from qpeft.records import find_records

    conclude(find_records(folder), folder, title or folder.name, baseline, [f"qpeft report {folder}"])
