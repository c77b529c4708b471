"""Recipes: the packaged ones can run, rows inherit, and faults are named all at once with line and nearest key."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import qpeft.recipes
from qpeft.errors import ConfigError
from qpeft.recipes import Recipe, find_recipe, load_recipe, packaged, parse_method
from qpeft.records import MethodSpec
from qpeft.training.methods import check_method

Write = Callable[..., str]
FOLDER = Path(qpeft.recipes.__file__).parent
FILES = sorted(path for path in FOLDER.rglob("*.yaml") if path.parent.name != "studies")
METHODS = "title: t\nmethods:\n  base: {name: base}\n"


def fault(write: Write, text: str, settings: list[str] | None = None) -> str:
    """The message a recipe is refused with."""
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(text), settings)
    return str(caught.value)


def test_recipes_ship_under_different_names() -> None:
    assert len(FILES) > 0
    assert sorted(packaged().values()) == FILES
    assert "demo" in packaged()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_packaged_recipe_can_run(path: Path) -> None:
    comparison = load_recipe(path.stem)
    assert comparison == load_recipe(str(path))
    assert comparison.name == path.stem
    assert comparison.baseline in [run.label for run in comparison.runs]
    for run in comparison.runs:
        check_method(run.method)
    identities = [s.identity() for run in comparison.runs for s in comparison.final_specs(run, None)]
    assert len(set(identities)) == len(comparison.runs) * len(comparison.seeds)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_packaged_recipe_says_what_it_is(path: Path) -> None:
    assert path.read_text("utf-8").startswith("# ")


def test_a_small_recipe(write: Write) -> None:
    comparison = load_recipe(write())
    base, lora = comparison.runs
    assert (comparison.name, comparison.title, comparison.baseline) == ("mine", "small", "base")
    assert comparison.seeds == (0, 1, 2)
    assert lora.method == MethodSpec(name="lora", options={"r": 4})
    assert (base.train.steps, base.train.learning_rate) == (5, 1e-3)


def test_settings_change_a_recipe(write: Write) -> None:
    settings = ["train.steps=9", "methods.lora.r=2", "methods.dora={name: dora, r: 3}", "baseline=lora", "seeds=[7]"]
    comparison = load_recipe(write(), settings)
    assert [run.label for run in comparison.runs] == ["base", "lora", "dora"]
    assert {run.train.steps for run in comparison.runs} == {9}
    assert [run.method.options for run in comparison.runs] == [{}, {"r": 2}, {"r": 3}]
    assert (comparison.baseline, comparison.seeds) == ("lora", (7,))


def test_extends_adds_a_row(write: Write) -> None:
    write()
    comparison = load_recipe(write("extends: mine.yaml\nmethods:\n  full: {name: full}\n", "more.yaml"))
    assert [run.label for run in comparison.runs] == ["base", "lora", "full"]
    assert comparison.name == "more"


def test_like_takes_over_everything_but_what_it_names(write: Write) -> None:
    text = """\
title: t
train: {steps: 5, batch_size: 2}
methods:
  a: {name: qpa, n_mlp: 8, depth: 3, over: {name: lora, r: 4}, train: {learning_rate: 1e-2, steps: 6}}
  b: {like: a, source: frozen, over: {r: 2}, train: {steps: 7}}
  c: {like: b, depth: 9, data: {max_length: 64}}
"""
    a, b, c = load_recipe(write(text)).runs
    assert a.method.options == {"n_mlp": 8, "depth": 3}
    assert b.method.options == {"n_mlp": 8, "depth": 3, "source": "frozen"}
    assert c.method.options == {"n_mlp": 8, "depth": 9, "source": "frozen"}
    assert [run.method.over for run in (a, b)] == [MethodSpec(name="lora", options={"r": r}) for r in (4, 2)]
    assert [(run.train.steps, run.train.learning_rate, run.train.batch_size) for run in (a, b)] == [
        (6, 1e-2, 2),
        (7, 1e-2, 2),
    ]
    assert (b.data.max_length, c.data.max_length) == (128, 64)


def test_an_unknown_key_is_named_with_line_nearest_and_allowed(write: Write) -> None:
    text = "title: t\ntrain:\n  steps: 3\n  batch_sise: 4\nmethods:\n  base: {name: base}\n"
    message = fault(write, text)
    assert message.startswith("mine.yaml:4: train.batch_sise is not a key; nearest: batch_size; allowed: steps, ")
    assert fault(write, METHODS + "titel: x\n").startswith("mine.yaml:4: titel is not a key; nearest: title; allowed")


def test_an_unknown_key_inside_a_row_is_named_where_it_stands(write: Write) -> None:
    text = "title: t\nmethods:\n  a:\n    name: lora\n    train:\n      step: 3\n  b: {like: a}\n"
    message = fault(write, text)
    assert message.startswith("mine.yaml:6: methods.a.train.step is not a key; nearest: steps; allowed: steps, ")
    assert message.count("\n") == 0, "the row that is like it repeats the fault"
    assert fault(write, "title: t\nmethods:\n  a: {name: lora, data: 5}\n") == (
        "mine.yaml:3: methods.a.data: must be a mapping of keys; got 5"
    )


@pytest.mark.parametrize(
    ("typed", "place", "hint", "allowed"),
    [
        ("generation: {rowz: 3}", "generation.rowz", "rows", "rows, max_new_tokens, batch_size, stop, bertscore"),
        (
            "generation: {bertscore: {encoder: x, layr: 2}}",
            "generation.bertscore.layr",
            "layer",
            "encoder, layer, rescale",
        ),
        (
            "generatoin: {}",
            "generatoin",
            "generation",
            "batch_size, stride, padded, token_accuracy, generation, metrics",
        ),
    ],
)
def test_an_unknown_key_below_a_section_is_named_with_its_own_neighbours(
    typed: str, place: str, hint: str, allowed: str, write: Write
) -> None:
    message = fault(write, f"{METHODS}eval:\n  {typed}\n")
    assert message == f"mine.yaml:5: eval.{place} is not a key; nearest: {hint}; allowed: {allowed}"


def test_a_fault_of_a_setting_or_of_a_parent_names_its_place(write: Write) -> None:
    write("# parent\ntrain: {steps: 0}\n", "parent.yaml")
    assert fault(write, METHODS + "extends: parent.yaml\n").startswith("parent.yaml:2: train.steps: ")
    assert fault(write, METHODS, ["train.step=3"]).startswith("--set: train.step is not a key; nearest: steps")


def test_several_faults_are_reported_at_once(write: Write) -> None:
    text = "title: t\ntrain:\n  steps: -1\n  optimizer: adamx\nseeds: []\nmethods:\n  base: {name: base}\nmodell: x\n"
    lines = fault(write, text).splitlines()
    assert [re.match(r"mine\.yaml:(\d+): ", line)[1] for line in lines] == ["3", "4", "5", "8"]  # type: ignore[index]
    assert lines[0].endswith("got -1")
    assert "'adamw' or 'sgd'; got 'adamx'" in lines[1]


def test_several_faults_of_rows_are_reported_at_once(write: Write) -> None:
    text = "title: t\nbaseline: loro\nmethods:\n  lora: {r: 4}\n  a: {like: lor}\n  b: {name: qpa, over: lora}\n"
    assert fault(write, text).splitlines() == [
        "mine.yaml: methods.lora.name is required: base, full, lora, dora, sora, ffa, prefix, qaa, qpa, peft, ...",
        "mine.yaml: methods.a.like must be one of lora, a, b; got 'lor'; nearest: lora",
        "mine.yaml: methods.b.over must be a method such as {name: lora, r: 4}; got 'lora'",
        "mine.yaml: baseline must be one of lora, a, b; got 'loro'; nearest: lora",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("baseline: bas\n", "baseline must be one of base; got 'bas'; nearest: base"),
        ("seeds: [1, 1]\n", "seeds: .*once only; got \\[1, 1\\]"),
        ("learning_rates: [1e-3, 0.001]\n", "learning_rates: .*once only"),
        ("learning_rates: [1e-3, 0]\n", r"mine.yaml:4: learning_rates.1: Input should be greater than 0; got 0"),
        ("seeds: [0, 1000]\nlearning_rates: [1e-3]\n", "seeds must leave 1000 to the tuning runs"),
        ("train: {learning_rate: fast}\n", "train.learning_rate: .*number.*; got 'fast'"),
    ],
)
def test_values_that_cannot_be_used(lines: str, message: str, write: Write) -> None:
    assert re.search(message, fault(write, METHODS + lines))


def test_required_keys(write: Write) -> None:
    assert fault(write, "seeds: [0]\n").splitlines() == [
        "mine.yaml: title is required",
        "mine.yaml: methods is required",
    ]
    assert "methods" in fault(write, "title: t\nmethods: {}\n")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("  a: {like: a}\n", "methods.a is like itself through a"),
        ("  a: {like: b}\n  b: {like: c}\n  c: {like: a}\n", "methods.a is like itself through a -> b -> c"),
    ],
)
def test_a_cycle_of_likes_is_refused(rows: str, message: str, write: Write) -> None:
    assert message in fault(write, f"title: t\nmethods:\n{rows}")


def test_code_in_a_recipe_is_refused(write: Write) -> None:
    text = "title: !!python/object/apply:os.getcwd []\nmethods:\n  base: {name: base}\n"
    assert "no valid YAML" in fault(write, text)


def test_unknown_names_show_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"a recipe name \(.*demo.*\) or a YAML file .* got 'dmo'; nearest: demo"):
        find_recipe("dmo")


def test_the_schema_is_json_and_describes_every_key() -> None:
    schema = json.loads(json.dumps(Recipe.model_json_schema()))
    assert schema["type"] == "object"
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert set(schema["required"]) == {"title", "methods"}
    assert schema["additionalProperties"] is False
    references = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
    assert references == set(schema["$defs"])


def test_methods_of_one_line() -> None:
    qpa = parse_method("{name: qpa, n_mlp: 8, over: {name: lora, r: 4}}")
    assert qpa == MethodSpec(name="qpa", options={"n_mlp": 8}, over=MethodSpec(name="lora", options={"r": 4}))
    assert parse_method("full") == MethodSpec(name="full")
    with pytest.raises(ConfigError, match=r"--method\.name is required"):
        parse_method("{r: 4}")
    with pytest.raises(ConfigError, match="--method: no valid YAML"):
        parse_method("{name: ")


def test_over_with_a_name_of_its_own_takes_no_options_over(write: Write) -> None:
    path = write(
        "title: t\nmethods:\n  a: {name: qpa, n_mlp: 8, over: {name: lora, r: 4}}\n"
        "  b: {like: a, over: {name: prefix, num_virtual_tokens: 2}}\n  c: {like: a, over: {r: 8}}\n",
    )
    _, b, c = load_recipe(path).runs
    assert b.method.over is not None
    assert c.method.over is not None
    assert b.method.over.options == {"num_virtual_tokens": 2, "start": "tokens"}
    assert c.method.over.options == {"r": 8}
    assert c.method.options == {"n_mlp": 8}
