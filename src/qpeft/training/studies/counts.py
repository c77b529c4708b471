"""counts: trainable numbers, qubits and chunks of methods on a model's true dimensions, beside what was published."""

from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field

from qpeft.qpa import Generator, QPAConfig
from qpeft.qpa.config import PAPER_WIDTHS
from qpeft.quantum import Execution, Gradient
from qpeft.records import MethodSpec, RunSpec, StudyRow
from qpeft.records.spec import Strict
from qpeft.training.estimate import Unrun, attach, circuits_of
from qpeft.training.studies.architecture import build_architecture
from qpeft.training.studies.study import Found, Study, Tick

# Weights and biases between the paper's widths, without the inputs and the last layer: 38400 = this + 32.
FIXED = 38400
META = torch.device("meta")


def nested(method: Any) -> Any:
    """A method written flat, as in recipes of comparisons: everything but name and over is an option."""
    if not isinstance(method, dict) or "options" in method:
        return method
    rest = dict(method)
    known = {key: rest.pop(key) for key in ("name", "over") if key in rest}
    if "over" in known:
        known["over"] = nested(known["over"])
    return {**known, "options": rest}


class Case(Strict):
    """One row of the table."""

    label: str = Field(description="the name of the row")
    family: str = Field("", description="rows of one family are one line of the figure")
    method: Annotated[MethodSpec, BeforeValidator(nested)] = Field(description="as in a comparison's recipe")
    published: int | None = Field(None, description="the number the paper prints")


class Settings(Strict):
    """The model and the rows."""

    model: dict[str, Any] = Field(description="model_type and further fields of a transformers config")
    share_of: Literal["head", "model"] = Field("head", description="what percentages are taken of")
    cases: tuple[Case, ...] = Field(min_length=1)


def points(settings: Settings) -> list[StudyRow]:
    """Every row."""
    return [{"label": case.label, "method": case.method.name, "published": case.published} for case in settings.cases]


def measure(settings: Settings, tick: Tick) -> Found:
    """Count every row on a fresh architecture."""
    model = build_architecture(settings.model, META)
    whole, head = sum(p.numel() for p in model.parameters()), model.get_output_embeddings().weight.numel()
    found = Found(model={**settings.model, "numbers": whole, "head": head})
    for done, case in enumerate(settings.cases):
        tick(done, case.label)
        found.rows.append(
            row_of(case, build_architecture(settings.model, META), head if settings.share_of == "head" else whole)
        )
    published = [row for row in found.rows if row["published"] is not None]
    found.fits = [
        {
            "rows": len(found.rows),
            "published": len(published),
            "equal": sum(row["trainable"] == row["published"] for row in published),
            "closed_form": sum(row["closed_form"] is not None for row in found.rows),
            "closed_form_equal": sum(row["closed_form"] == row["trainable"] for row in found.rows),
        }
    ]
    found.notes = [
        f"percentages of the {settings.share_of}, {head if settings.share_of == 'head' else whole:,} numbers",
        "closed_form is 38400 + 32 N + 33 n_mlp + g L N, with g angles a qubit and layer, for the paper's mapping",
        "effective: what remains of an affine mapping when its layers are multiplied into one",
    ]
    return found


def row_of(case: Case, model: Any, whole: int) -> StudyRow:
    """The counts of one method."""
    spec = RunSpec(method=case.method, label=case.label)
    built = attach(model, spec)
    adapter = sum(p.numel() for _, p in built.named_trainable())
    generator = generator_of(adapter, built.qpa)
    trainable = generator.n_trainable if generator else adapter
    uses = circuits_of(built, generator, spec, Gradient(), None)
    return {
        "label": case.label,
        "family": case.family or case.method.name,
        "method": case.method.name if case.method.over is None else f"qpa over {case.method.over.name}",
        "adapter_numbers": adapter,
        "n_mlp": built.qpa.n_mlp if built.qpa else None,
        "chunks": generator.chunk_generators()[0].n_chunks if generator else None,
        "n_qubits": max((use.cost.n_qubits for use in uses), default=None),
        "circuits": sum(use.copies for use in uses),
        "angles": sum(use.copies * use.cost.n_parameters for use in uses),
        "trainable": trainable,
        "effective": generator.n_effective if generator else trainable,
        "percent": 100 * trainable / whole,
        "percent_of_adapter": 100 * trainable / adapter,
        "closed_form": closed_form(generator) if generator else None,
        "published": case.published,
        "equal": None if case.published is None else trainable == case.published,
    }


def generator_of(m: int, config: QPAConfig | None) -> Generator | None:
    """The generator of m numbers, without memory; None for other methods."""
    if config is None:
        return None
    with META:
        return Generator(m, config, Execution(Unrun()))


def closed_form(generator: Generator) -> int | None:
    """38400 + 32 N + 33 n_mlp + g L N; None where the mapping is not the paper's or something else feeds it."""
    config = generator.config
    if config.widths != PAPER_WIDTHS or config.source != "circuit" or config.n_generators > 1:
        return None
    return FIXED + 32 * generator.n_qubits + 33 * config.n_mlp + generator.n_angles


STUDY = Study(Settings, points, measure)
