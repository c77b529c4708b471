"""``qpeft eval``: measure a finished run, or any peft adapter, again."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  qpeft eval runs/demo/qpa-s0-final-1a2b3c4d --split test"


class Split(StrEnum):
    """The splits that are measured."""

    valid = "valid"
    test = "test"


def command(
    run: Annotated[Path, typer.Argument(help="A run folder (with record.json).")],
    data: Annotated[str | None, typer.Option(help="Other data than the run's.")] = None,
    split: Annotated[Split, typer.Option(help="valid or test.")] = Split.test,
    padded: Annotated[bool, typer.Option("--padded/--no-padded", help="Also the papers' padded perplexity.")] = True,
) -> None:
    """Load the saved adapter with plain peft and measure both perplexities."""
    from qpeft.training.reload import measure_saved

    for metric in measure_saved(run, data=data, split=split.value, padded=padded):
        typer.echo(f"{metric.split:6} {metric.name:20} {metric.value:12.5f}   {metric.signature}")
