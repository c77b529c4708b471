"""``qpeft backends``: where circuits can run, what each place can do, and whether it is installed."""

from typing import Annotated

import typer

EXAMPLE = "Example:  qpeft backends noisy"


def command(
    name: Annotated[str | None, typer.Argument(help="Show the options of this backend.")] = None,
) -> None:
    """List the backends of --backend and of recipes (execution.backend), or the options of one."""
    from qpeft.quantum.catalogue import BACKENDS
    from qpeft.quantum.gradient import METHODS

    if name is not None:
        entry = BACKENDS.need("backend", name)
        typer.echo(f"{name}: {entry.help}\noptions, as in {name}:key=value,key=value")
        for key, option in entry.options.items():
            typer.echo(f"  {key:22} {option.help}")
        return
    for key, entry in BACKENDS.items():
        typer.echo(f"{key:10} {entry.help}")
        typer.echo(f"{'':10} gradients: {entry.gradients}; input states: {entry.inputs}")
        typer.echo(f"{'':10} {entry.versions()}")
    typer.echo("\ngradients of the angles (--gradient, execution.gradient)")
    for key, text in METHODS.items():
        typer.echo(f"{key:12} {text}")
