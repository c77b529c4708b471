"""RunSpec: an identity that is stable and sees every field, and folder names to read."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from qpeft.records import (
    BertScoreSpec,
    Comparison,
    EvalSpec,
    GenerationSpec,
    MethodSpec,
    RunSpec,
    TrainSpec,
    read_record,
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
OPTIONS = st.dictionaries(st.text(), SCALARS | st.lists(SCALARS, max_size=3), max_size=4)
# What is asked for where a section is not: everything in it has a default but the encoder.
MINIMAL: dict[Any, dict[str, Any]] = {GenerationSpec: {}, BertScoreSpec: {"encoder": "roberta-large"}}
RESULTS = Path(__file__).parents[2] / "results"


def other(value: Any, annotation: Any) -> Any:
    """A valid value that differs from this one."""
    if get_origin(annotation) is Literal:
        return next(choice for choice in get_args(annotation) if choice != value)
    if value is None:
        models = [choice for choice in get_args(annotation) if choice in MINIMAL]
        return MINIMAL[models[0]] if models else 7 if int in get_args(annotation) else "else"
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, tuple):
        return (*value, "more")
    return f"{value}x" if isinstance(value, str) else {**value, "more": 1}


def variants(model: BaseModel) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each leaf field with the model's content in which only that field is another."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            for inner, body in variants(value):
                yield f"{name}.{inner}", {**model.model_dump(), name: body}
        elif name == "over":
            yield name, {**model.model_dump(), name: {"name": "dora"}}
        else:
            yield name, {**model.model_dump(), name: other(value, field.annotation)}


@pytest.mark.parametrize("used", [False, True])
def test_identity_sees_every_field(used: bool, spec: RunSpec) -> None:
    if used:
        generation = GenerationSpec(bertscore=BertScoreSpec(encoder="roberta-large"))
        spec = spec.model_copy(update={"eval": EvalSpec(token_accuracy=True, generation=generation)})
    identities = {"": spec.identity()}
    for name, body in variants(spec):
        changed = RunSpec.model_validate(body)
        assert changed != spec, name
        identities[name] = changed.identity()
    assert {"method.over.name", "method.options", "data.loss", "train.steps", "eval.padded", "purpose"} <= set(
        identities
    )
    assert ("eval.generation.bertscore.rescale" if used else "eval.generation") in identities
    assert len(identities) > 35
    assert len(set(identities.values())) == len(identities)


def test_identities_are_those_of_the_first_records(spec: RunSpec) -> None:
    """Finished runs are found by identity: these numbers were true before any field was added, and stay so."""
    assert RunSpec(method=MethodSpec(name="base"), label="b").identity() == "51464f9074bec475"
    assert spec.identity() == "22e3d76f6056fa0a"
    path = RESULTS / "wikitext2" / "base-s0-final-8e169cb7.record.json"
    record = read_record(path)
    assert record.spec.identity() == record.identity == "8e169cb7831871bf"
    assert record.model_dump_json(indent=1) + "\n" == path.read_text("utf-8")


def test_every_committed_record_keeps_its_identity() -> None:
    records = [read_record(path) for path in sorted(RESULTS.rglob("*.record.json"))]
    assert len(records) > 70
    assert [record.spec.identity() for record in records] == [record.identity for record in records]


def test_a_later_field_is_written_where_it_is_used() -> None:
    plain, used = EvalSpec(), EvalSpec(token_accuracy=True, generation=GenerationSpec(rows=5))
    assert set(plain.model_dump()) == {"batch_size", "stride", "padded"}
    assert set(used.model_dump()) == {*plain.model_dump(), "token_accuracy", "generation"}
    for section in (plain, used):
        assert EvalSpec.model_validate_json(section.model_dump_json()) == section


@given(OPTIONS, st.integers(0, 2**32 - 1), st.text())
def test_identity_survives_json(options: dict[str, Any], seed: int, label: str) -> None:
    spec = RunSpec(method=MethodSpec(name="peft", options=options), label=label, seed=seed)
    again = RunSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.identity() == spec.identity()


@given(OPTIONS)
def test_identity_does_not_depend_on_the_order_of_options(options: dict[str, Any]) -> None:
    turned = dict(reversed(options.items()))
    first, second = (
        RunSpec(method=MethodSpec(name="peft", options=body), label="x").identity() for body in (options, turned)
    )
    assert first == second


def test_identity_is_equal_in_another_process(spec: RunSpec) -> None:
    code = "import sys; from qpeft.records import RunSpec; print(RunSpec.model_validate_json(sys.argv[1]).identity())"
    command = [sys.executable, "-c", code, spec.model_dump_json()]
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == spec.identity()


def test_defaults_written_out_are_the_same_run() -> None:
    method = {"name": "base"}
    short = RunSpec.model_validate({"method": method, "label": "b", "train": {"learning_rate": 1}})
    long = RunSpec.model_validate({"method": method, "label": "b", "train": TrainSpec(learning_rate=1.0)})
    assert short.identity() == long.identity()


@pytest.mark.parametrize("label", ["lora", "QPA over LoRA, r=4", "a/b\\c:d", "..", "Größe 8", ""])
def test_folder_names_are_readable_and_one_path_part(label: str, spec: RunSpec) -> None:
    name = spec.model_copy(update={"label": label, "seed": 3}).folder()
    assert not set(name) & set('/\\:*?"<>| ')
    assert name not in ("", ".", "..")
    assert "-s3-final-" in name


def test_folder_names_begin_with_the_label(spec: RunSpec) -> None:
    assert spec.folder() == f"qpa-s0-final-{spec.identity()[:8]}"


def test_folder_names_differ_where_any_field_does(spec: RunSpec) -> None:
    names = [RunSpec.model_validate(body).folder() for _, body in variants(spec)]
    assert len(set(names)) == len(names)
    alike = [spec.model_copy(update={"label": label}).folder() for label in ("a b", "a-b", "a/b")]
    assert len(set(alike)) == 3


@pytest.mark.parametrize(
    ("section", "body"),
    [("train", {"steps": 0}), ("train", {"stepz": 1}), ("data", {"max_length": 4}), ("model", {"dtype": "int8"})],
)
def test_specs_refuse_unknown_keys_and_values(section: str, body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RunSpec.model_validate({"method": {"name": "base"}, "label": "b", section: body})


def test_specs_are_frozen(spec: RunSpec) -> None:
    with pytest.raises(ValidationError):
        spec.seed = 5  # type: ignore[misc]


def test_comparison_fills_in_seeds_and_rates(spec: RunSpec) -> None:
    comparison = Comparison(
        name="c", title="c", baseline="qpa", runs=(spec,), seeds=(4, 5), learning_rates=(1e-3, 1e-2)
    )
    tuning, final = comparison.tune_specs(spec), comparison.final_specs(spec, 1e-2)
    assert [(s.purpose, s.seed, s.train.learning_rate) for s in tuning] == [("tune", 1000, 1e-3), ("tune", 1000, 1e-2)]
    assert [(s.purpose, s.seed, s.train.learning_rate) for s in final] == [("final", 4, 1e-2), ("final", 5, 1e-2)]
    kept = comparison.final_specs(spec, None)
    assert {s.train.learning_rate for s in kept} == {spec.train.learning_rate}
    assert len({s.identity() for s in [*tuning, *final, *kept]}) == 6
