"""``qpeft estimate``: numbers, memory, circuits and shots of a run before anything runs."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from qpeft.cli.train import BACKEND, GRADIENT, MODEL, executed_on, pick

if TYPE_CHECKING:
    from qpeft.records import RunSpec
    from qpeft.training.estimate import CircuitUse, Estimate

EXAMPLE = "Example:  qpeft estimate --method qpa --model gpt2 --steps 1000 --gradient shift --shots 20x"


def command(  # noqa: PLR0913 - one argument a flag
    recipe: Annotated[str, typer.Argument(help="Recipe that gives what no flag does.")] = "qpa-lora",
    method: Annotated[str, typer.Option(help="A label of the recipe, or a method as {name: ..., ...}.")] = "qpa",
    model: Annotated[str | None, typer.Option(help=MODEL)] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    backend: Annotated[str | None, typer.Option(help=BACKEND)] = None,
    gradient: Annotated[str | None, typer.Option(help=GRADIENT)] = None,
    shots: Annotated[str | None, typer.Option(help="A circuit's: 4096, or 20x for 20 times 2^N.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a key: train.batch_size=4")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Predict numbers, memory, circuits and shots of a run; reads the model's config, no weights, and runs nothing."""
    from qpeft.recipes import load_recipe

    flags = {"model.name": model, "train.steps": steps}
    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    spec = executed_on(pick(load_recipe(recipe, [*given, *(settings or [])]), method), backend, None)
    if steps is not None:
        spec = spec.model_copy(update={"train": spec.train.model_copy(update={"steps": steps})})
    from qpeft.training.estimate import estimate_run

    found = estimate_run(spec, gradient=gradient, shots=shots)
    if as_json:
        typer.echo(json.dumps({"spec": spec.model_dump(mode="json"), **plain(found)}, indent=1))
        return
    for key, text in lines(spec, found):
        typer.echo(f"{key:12} {text}")


def plain(found: "Estimate") -> dict[str, object]:
    """An estimate as JSON values, its sums included."""
    uses = [
        {**asdict(use), "shots_step": use.shots_step, "shots_run": use.shots_run, "gates": dict(use.cost.gates)}
        for use in found.circuits
    ]
    memory = {**asdict(found.memory), "total": found.memory.total, "process": found.memory.process}
    return {**asdict(found), "circuits": uses, "memory": memory}


def lines(spec: "RunSpec", found: "Estimate") -> Iterator[tuple[str, str]]:
    """An estimate in words: a key and its text."""
    from qpeft.report.format import size

    share = 100 * found.trained_numbers / found.base_numbers
    yield "model", f"{spec.model.name}: {found.base_numbers:,} numbers, {size(found.base_bytes)} in {spec.model.dtype}"
    yield "method", found.method
    yield "trained", f"{found.trained_numbers:,} numbers, {share:.3g} % of the model"
    if found.effective_numbers is not None:
        yield "effective", f"{found.effective_numbers:,} numbers: the mapping is affine and collapses to one layer"
    file = "a size only known when it is written" if found.file_bytes is None else f"{found.file_bytes:,} bytes"
    yield "adapter", f"{found.adapter_numbers:,} numbers, in a file of {file}"
    for use in found.circuits:
        yield from of_circuit(use, spec.train.steps)
    memory = found.memory
    parts = ", ".join(f"{name} {size(value)}" for name, value in vars(memory).items() if value and name != "measuring")
    rows, tokens = spec.train.batch_size, spec.data.max_length
    yield "memory", f"about {size(memory.total)} with {rows} rows of {tokens} tokens, an estimate: {parts}"
    yield "process", f"about {size(memory.process)} on a CPU, with the libraries and freed memory that it keeps"
    yield "time", "not predicted; the record of a short run holds step_time_median"
    for note in found.notes:
        yield "note", note


def of_circuit(use: "CircuitUse", steps: int) -> Iterator[tuple[str, str]]:
    """One kind of circuit in words."""
    cost = use.cost
    yield (
        "circuits",
        f"{use.copies} of {cost.n_qubits} qubits and {use.layers} layers: {cost.n_parameters} angles, {cost.n_gates} "
        f"gates, {cost.n_two_qubit} of them on two qubits, depth {cost.depth}",
    )
    yield (
        "evaluations",
        f"{use.forward + use.gradient:,} a step ({use.forward:,} for values, {use.gradient:,} for the gradient), "
        f"{use.run:,} in {steps:,} steps",
    )
    if use.shots is not None:
        yield "shots", f"{use.shots:,} an evaluation, {use.shots_step:,} a step, {use.shots_run:,} in {steps:,} steps"
