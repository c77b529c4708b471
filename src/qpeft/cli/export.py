"""``qpeft export``: take a stock adapter, or a merged model, home."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  qpeft export runs/demo/qpa-s0-final-1a2b3c4d exported/ --merge"


def command(
    run: Annotated[Path, typer.Argument(help="A run folder (with record.json).")],
    out: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    merge: Annotated[bool, typer.Option("--merge", help="Merge the adapter into a full model.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Write a SoRA's open ranks as an ordinary LoRA.")] = False,
    lora: Annotated[bool, typer.Option("--lora", help="Write a core as an ordinary LoRA of its rank.")] = False,
) -> None:
    """Write what was trained so that code without qpeft computes the same; checked against the training's logits."""
    from qpeft.training.reload import export_run

    result = export_run(run, out, merge=merge, pruned=prune, lora=lora)
    typer.echo(
        f"{result.kind} written to {out}; logits differ from the trained model's by at most {result.difference:.1e}"
    )
