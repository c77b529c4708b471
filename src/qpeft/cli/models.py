"""``qpeft models``: the base models known by a short name, and any model written as a plain folder."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  qpeft models  |  qpeft models my.gguf --save my-model && qpeft train --model my-model"


def command(
    name: Annotated[str | None, typer.Argument(help="Of this list, a folder, a .gguf file, or a hub name.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the model and its tokenizer to this new folder.")] = None,
) -> None:
    """List the base models that have a short name: sizes, and where they come from; or write one as a folder.

    A .gguf file takes 10 to 20 s to read, its folder of safetensors less than one; their logits are equal.
    """
    from qpeft.errors import ConfigError

    if (name is None) != (save is None):
        raise ConfigError("a model and --save go together: qpeft models smollm2-135m --save FOLDER")
    if name is None or save is None:
        for line in listed():
            typer.echo(line)
        return
    if save.exists() and (not save.is_dir() or any(save.iterdir())):
        raise ConfigError(f"--save must name a new or empty folder; {save} is there")
    from qpeft.training.models import load_base

    base = load_base(name)
    for note in base.notes:
        typer.echo(f"note: {note}", err=True)
    base.model.save_pretrained(save)
    base.tokenizer.save_pretrained(save)
    typer.echo(f"written to {save}")


def listed() -> list[str]:
    """Three lines a model."""
    from qpeft.report.format import size
    from qpeft.training.catalogue import CATALOGUE

    lines = []
    for name, entry in CATALOGUE.items():
        place = entry.local()
        where = f"installed: {place.path}" if place else f"not installed; the hub's {entry.hub} is read"
        lines += [
            f"{name:14} {entry.about}",
            f"{'':14} {entry.parameters:,} parameters, a file of {size(entry.size)}, {entry.licence}; {where}",
            f"{'':14} {entry.install}",
        ]
    return [*lines, "", "--model also takes a folder, a .gguf file, or a hub name"]
