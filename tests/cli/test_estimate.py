"""``qpeft estimate``: its words, its JSON, its flags over the recipe's values, and what it refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpeft.records import find_records
from qpeft.training.methods import METHODS

Ask = Callable[..., Any]
OPTIONS = {
    "qpa": "n_mlp: 16, over: {name: lora, r: 2, target_modules: [q_proj]}",
    "prefix": "num_virtual_tokens: 4",
    "peft": "peft_type: IA3, target_modules: [v_proj], feedforward_modules: []",
    **dict.fromkeys(("lora", "lora_released", "dora", "sora"), "target_modules: [q_proj]"),
}


def rows(text: str) -> dict[str, str]:
    return dict(line.split(None, 1) for line in text.splitlines())


def test_the_demo_in_words(ask: Ask) -> None:
    code, out, err = ask("estimate --method qpa --steps 1000 --gradient shift --shots 20x")
    assert (code, err) == (0, "")
    found = rows(out)
    assert list(found) == [
        "model",
        "method",
        "trained",
        "adapter",
        "circuits",
        "evaluations",
        "shots",
        "memory",
        "process",
        "time",
    ]
    assert found["model"] == "embedded: 5,310,720 numbers, 21.2 MB in float32"
    assert found["method"] == "qpa over lora"
    assert found["trained"] == "17,280 numbers, 0.325 % of the model"
    assert found["adapter"].startswith("78,848 numbers, in a file of ")
    assert found["circuits"].startswith("1 of 8 qubits and 8 layers: 64 angles, 120 gates, 56 of them on two qubits")
    assert found["evaluations"] == "129 a step (1 for values, 128 for the gradient), 129,002 in 1,000 steps"
    assert found["shots"] == "5,120 an evaluation, 660,480 a step, 660,490,240 in 1,000 steps"
    assert re.search(r"about .* MB with 8 rows of 128 tokens, an estimate: parameters .*, logits ", found["memory"])
    assert "not predicted" in found["time"]


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method(name: str, ask: Ask, base_folder: Path) -> None:
    method = f"{{name: {name}, {OPTIONS[name]}}}" if name in OPTIONS else f"{{name: {name}}}"
    code, out, err = ask("estimate", "--method", method, "--model", base_folder)
    assert (code, err) == (0, "")
    assert rows(out)["method"].split()[0] == name


def test_json_holds_everything(ask: Ask, recipe: Path) -> None:
    method = "{name: qpa, n_mlp: 16, preset: released, over: {name: lora, r: 2, target_modules: [q_proj]}}"
    code, out, _ = ask("estimate", recipe, "--method", method, "--steps", 7, "--shots", 100, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["spec"]["method"]["options"] == {"n_mlp": 16, "preset": "released"}
    assert found["spec"]["train"]["steps"] == 7
    assert 0 < found["effective_numbers"] < found["trained_numbers"]
    memory = found["memory"]
    assert memory.pop("process") > memory.pop("total") == sum(memory.values()) - memory["measuring"]
    (use,) = found["circuits"]
    assert use["cost"]["n_gates"] == sum(use["gates"].values())
    assert (use["shots_step"], use["shots_run"]) == (100, 100 * (7 + 3))
    assert "effective" in rows(ask("estimate", recipe, "--method", method).out)


def test_what_is_estimated_is_what_train_records(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    assert ask("train", recipe, "--method", "lora", "--out", tmp_path / "run").code == 0
    info = find_records(tmp_path / "run")[0].train_info
    found = json.loads(ask("estimate", recipe, "--method", "lora", "--json").out)
    assert found["trained_numbers"] == info.num_trainable_params
    assert found["file_bytes"] == info.file_size


def test_flags_lie_over_the_recipes_values(ask: Ask, recipe: Path) -> None:
    def spec(*flags: object) -> Any:
        return json.loads(ask("estimate", recipe, "--method", "lora", "--json", *flags).out)["spec"]

    recipe.write_text(recipe.read_text().replace("[q_proj]}", "[q_proj], train: {steps: 50}}"))
    assert spec()["train"]["steps"] == 50
    assert spec("--steps", 3)["train"]["steps"] == 3
    assert spec("--set", "train.batch_size=5")["train"]["batch_size"] == 5
    assert spec("--model", "embedded")["model"]["name"] == "embedded"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("estimate --method qpaa", r"--method must be one of base, .* or \{name: ...\}; got 'qpaa'; nearest: qpa"),
        ("estimate --gradient shfit", "gradient must be one of.*autograd.*shift.*spsa"),
        ("estimate --shots few", r"shots must be a whole number such as 4096, or 20x for 20 times 2\^N; got 'few'"),
        ("estimate --steps 0", "train.steps: .*greater than or equal to 1; got 0"),
        ("estimate dem", "nearest: demo"),
    ],
)
def test_wrong_usage(line: str, message: str, ask: Ask) -> None:
    code, out, err = ask(line)
    assert (code, out) == (2, "")
    assert re.search(message, err), err


def test_a_model_that_is_not_there(ask: Ask) -> None:
    code, out, err = ask("estimate --model no/such-model")
    assert (code, out) == (1, "")
    assert "got 'no/such-model'" in err


def test_a_size_that_only_writing_gives(ask: Ask) -> None:
    method = "{name: peft, peft_type: CPT, cpt_token_ids: [1, 2], cpt_mask: [1, 1], cpt_tokens_type_mask: [1, 1]}"
    code, out, _ = ask("estimate", "--method", method)
    assert code == 0
    assert rows(out)["adapter"] == "512 numbers, in a file of a size only known when it is written"
