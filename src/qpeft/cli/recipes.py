"""``qpeft recipes``: list, show, copy, schema."""

import json
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  qpeft recipes demo --copy mine.yaml && qpeft compare mine.yaml"


def command(
    name: Annotated[str | None, typer.Argument(help="Recipe to show; all are listed without one.")] = None,
    copy: Annotated[Path | None, typer.Option(help="Write the recipe to this file to edit it.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of recipe files.")] = False,
) -> None:
    """List the recipes that ship with qpeft, show or copy one, or print the schema."""
    from qpeft.errors import ConfigError
    from qpeft.recipes import Recipe, find_recipe, load_recipe, packaged

    if schema:
        typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))
        return
    if name is None:
        if copy is not None:
            raise ConfigError(f"--copy needs the name of a recipe before it; one of {', '.join(packaged())}")
        for known in packaged():
            typer.echo(f"{known:18} {load_recipe(known).title}")
        return
    text = find_recipe(name).read_text("utf-8")
    if copy is None:
        typer.echo(text)
    elif copy.exists():
        raise ConfigError(f"--copy must name a new file; {copy} exists")
    else:
        from qpeft.records import write_atomically

        write_atomically(copy, text)
        typer.echo(f"written to {copy}")
