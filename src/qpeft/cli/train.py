"""``qpeft train``: one run of one method."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qpeft.cli import data_flags
from qpeft.cli.data_flags import COLUMNS, MAX_LENGTH
from qpeft.errors import ConfigError, nearest

if TYPE_CHECKING:
    from qpeft.records import Comparison, RunSpec

REPORT_TO = "Follow runs with tensorboard, trackio, wandb or mlflow; several times or a,b."
MODEL = "A name of `qpeft models` (bundled), a folder, a .gguf file, or a hub name."
BACKEND = "Where circuits run, as `qpeft backends` lists them: noisy:device=torino,shots=20x"
GRADIENT = "Of angles: auto, autograd, surrogate, shift:coordinates=8, spsa:samples=4, nelder-mead, cobyla, none."
EXAMPLE = (
    "Example:  qpeft train --method '{name: qpa, n_mlp: 512, over: {name: lora, r: 4, target_modules: all-linear}}' "
    "--data my_texts/ --steps 200 --learning-rate 1e-2 --out runs/mine"
)


def command(  # noqa: PLR0913 - one argument a flag
    recipe: Annotated[str, typer.Argument(help="Recipe that gives what no flag does.")] = "qpa-lora",
    method: Annotated[str, typer.Option(help="A label of the recipe, or a method as {name: ..., ...}.")] = "qpa",
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    data: Annotated[str | None, typer.Option(help="embedded, a folder, a file, or a hub name.")] = None,
    max_length: Annotated[int | None, typer.Option(min=8, help=MAX_LENGTH)] = None,
    columns: Annotated[list[str] | None, typer.Option(help=COLUMNS)] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of adapter, generator and data order.")] = 0,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a key: train.batch_size=4")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of this run; runs/train/NAME by default.")] = None,
    report_to: Annotated[list[str] | None, typer.Option(help=REPORT_TO)] = None,
    backend: Annotated[str | None, typer.Option(help=BACKEND)] = None,
    gradient: Annotated[str | None, typer.Option(help=GRADIENT)] = None,
) -> None:
    """Train one method, measure it, write adapter and record; run it again to go on after an interruption.

    On several GPUs: accelerate launch -m qpeft train ...; each process takes train.batch_size rows a step.
    """
    from qpeft.recipes import load_recipe

    flags = {"model.name": model, "data.name": data, "train.steps": steps, "train.learning_rate": learning_rate}
    # As JSON, so that a path with a # or a : in it stays one text.
    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    data_fields = data_flags.given(max_length, columns)
    given += data_flags.as_settings(data_fields)
    spec = data_flags.laid_over(pick(load_recipe(recipe, [*given, *(settings or [])]), method), data_fields)
    # A row's own section lies over the recipe's; a flag lies over both.
    own = {"steps": steps, "learning_rate": learning_rate}
    train = spec.train.model_copy(update={key: value for key, value in own.items() if value is not None})
    spec = executed_on(spec.model_copy(update={"seed": seed, "train": train}), backend, gradient)
    from qpeft.cli.terminal import Bars
    from qpeft.training.ranks import is_main
    from qpeft.training.run import train_run

    folder = out or Path("runs") / "train" / spec.folder()
    if not is_main():
        train_run(spec, folder)
        return
    with Bars() as bars:
        record = train_run(spec, folder, bars.start(spec), words(report_to))
    for metric in record.metrics:
        typer.echo(f"{metric.split:6} {metric.name:20} {metric.value:10.3f}   {metric.signature}")
    info = record.train_info
    typer.echo(
        f"trained {info.num_trainable_params:,} numbers for an adapter of {info.num_adapter_params:,}: {folder}"
    )


def executed_on(spec: "RunSpec", backend: str | None, gradient: str | None) -> "RunSpec":
    """The run with another backend or gradient, where one is given."""
    given = {"backend": backend, "gradient": gradient}
    changed = {key: value for key, value in given.items() if value is not None}
    return spec.model_copy(update={"execution": spec.execution.model_copy(update=changed)})


def words(given: list[str] | None) -> tuple[str, ...]:
    """The words of a flag that may be given several times or with commas; each once.

    >>> words(["tensorboard, wandb", "wandb"])
    ('tensorboard', 'wandb')
    """
    return tuple(dict.fromkeys(word.strip() for text in given or [] for word in text.split(",") if word.strip()))


def pick(comparison: "Comparison", method: str) -> "RunSpec":
    """The run of a label, or the recipe's first run with an inline method.

    Raises:
        ConfigError: No such label.
    """
    from qpeft.recipes import parse_method

    if method.lstrip().startswith("{"):
        return comparison.runs[0].model_copy(update={"method": parse_method(method), "label": "train"})
    labels = [run.label for run in comparison.runs]
    if method not in labels:
        raise ConfigError(
            f"--method must be one of {', '.join(labels)} or {{name: ...}}; got {method!r}{nearest(method, labels)}"
        )
    return comparison.runs[labels.index(method)]
