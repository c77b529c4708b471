"""Each command does its work: draw, recipes, preview, doctor, compare, train, report."""

import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import pytest
import yaml

from qpeft.circuits import build_ansatz, circuit_cost, draw_text
from qpeft.cli import doctor
from qpeft.records import RunSpec, find_records

Ask = Callable[..., Any]


def test_draw_text(ask: Ask) -> None:
    code, out, err = ask("draw --qubits 3 --depth 2")
    circuit = build_ansatz("ry_cnot", 3, 2, "chain")
    assert (code, out) == (0, draw_text(circuit) + "\n")
    assert str(circuit_cost(circuit)) in err


def test_draw_svg_to_a_file(ask: Ask, tmp_path: Path) -> None:
    code, out, _ = ask(*["draw", "--qubits", "3", "--format", "svg", "--out"], tmp_path / "c.svg")
    assert (code, out) == (0, "")
    assert ElementTree.parse(tmp_path / "c.svg").getroot().tag.endswith("svg")


def test_draw_qasm(ask: Ask) -> None:
    openqasm3 = pytest.importorskip("openqasm3")
    code, out, _ = ask("draw --qubits 3 --ansatz rxrz_cnot --entangler ring --format qasm")
    assert code == 0
    assert out.startswith("OPENQASM 3")
    assert openqasm3.parse(out).statements


def test_draw_sizes_the_circuit_from_the_numbers(ask: Ask) -> None:
    """The paper's example: 204 100 numbers in chunks of 2048 need 7 qubits."""
    code, out, err = ask("draw --numbers 204100 --n-mlp 2048 --depth 1")
    assert code == 0
    assert "204,100 numbers in 100 chunks of 2,048: 7 qubits" in err
    assert "q6:" in out
    assert "q7:" not in out


def test_recipes_lists_shows_and_describes(ask: Ask) -> None:
    listed = ask("recipes").out.splitlines()
    assert any(line.startswith("demo ") for line in listed)
    assert yaml.safe_load(ask("recipes demo").out)["title"]
    assert json.loads(ask("recipes --schema").out)["required"] == ["title", "methods"]


def test_recipes_copy_writes_a_new_file_only(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert ask("recipes", "demo", "--copy", path).code == 0
    copied = path.read_text()
    assert copied + "\n" == ask("recipes demo").out
    path.write_text("# mine now\n" + copied)
    code, _, err = ask("recipes", "demo", "--copy", path)
    assert (code, err) == (2, f"Error: --copy must name a new file; {path} exists\n")
    assert path.read_text().startswith("# mine now")
    assert ask("compare", path, "--plan").out == ask("compare demo --plan").out != ""


def test_preview_shows_what_counts(ask: Ask, base_folder: Path, tmp_path: Path) -> None:
    chats = [{"prompt": f"ask {i}?", "completion": f"say {i}!"} for i in range(30)]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    code, out, _ = ask("preview", path, "--model", base_folder, "--rows", 2, "--max-length", 64)
    assert code == 0
    assert "chats.jsonl" in out
    assert "prompt_completion" in out
    code, other, _ = ask("preview", path, "--model", base_folder, "--rows", 2, "--loss", "padded")
    assert code == 0
    assert out != other


def test_doctor_is_content_here(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_embedded", lambda: 0)
    code, out, _ = ask("doctor")
    assert (code, out.splitlines()[-1]) == (0, "fit to work")
    assert "torch" in out
    assert "accelerator" in out


@pytest.mark.parametrize(
    ("package", "found", "line", "code"),
    [
        ("peft", None, "MISSING", 1),
        ("peft", "0.1.0", "OUTSIDE", 1),
        ("pennylane", None, "absent (optional: pip install 'qpeft[pennylane]')", 0),
    ],
)
def test_doctor_finds_faults(
    package: str, found: str | None, line: str, code: int, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name != package:
            return installed(name)
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor, "check_embedded", lambda: 0)
    answer = ask("doctor")
    assert answer.code == code
    assert any(row.startswith(package) and line in row for row in answer.out.splitlines()), answer.out


def test_doctor_sees_a_missing_model(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qpeft.assets.model_folder", lambda: tmp_path)
    code, out, _ = ask("doctor")
    assert code == 1
    assert "MISSING config.json, model.safetensors, tokenizer.json" in out


def test_plan_shows_the_runs_that_compare_would_do(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    tuned = ask("compare", recipe, "--plan", "--set", "learning_rates=[1e-3, 1e-2]", "--set", "seeds=[0, 1]")
    assert tuned.code == 0
    assert [line.split() for line in tuned.out.splitlines()] == [
        ["base", "final", "seed", "0", "lr", "0.001"],
        ["lora", "tune", "seed", "1000", "lr", "0.001"],
        ["lora", "tune", "seed", "1000", "lr", "0.01"],
        ["lora", "final", "seed", "0", "lr", "chosen", "by", "the", "tuning", "runs"],
        ["lora", "final", "seed", "1", "lr", "chosen", "by", "the", "tuning", "runs"],
    ]
    assert [path.name for path in tmp_path.iterdir()] == [recipe.name]


def test_compare_then_report(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    code, out, err = ask("compare", recipe, "--out", runs)
    assert (code, "FAILED" in err) == (0, False)
    assert "tiny" in out
    assert {record.spec.label for record in find_records(runs)} == {"base", "lora"}
    page = (runs / "report.html").read_text()
    assert f"qpeft compare {recipe}" in page
    (runs / "report.html").unlink()
    assert ask("report", runs, "--baseline", "lora", "--title", "My page").code == 0
    assert "My page" in (runs / "report.html").read_text()
    code, _, err = ask("report", runs, "--baseline", "loro")
    assert code == 1
    assert "loro" in err


def test_train_takes_a_label_or_a_method(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    flags = ["--steps", 3, "--learning-rate", "1e-2", "--seed", 4, "--out"]
    code, out, _ = ask("train", recipe, "--method", "lora", *flags, tmp_path / "a")
    assert code == 0
    assert "trained 256 numbers for an adapter of 256" in out
    method = "{name: qpa, n_mlp: 16, depth: 1, over: {name: lora, r: 2, target_modules: [q_proj]}}"
    assert ask("train", recipe, "--method", method, *flags, tmp_path / "b").code == 0
    first, second = (find_records(tmp_path / name)[0].spec for name in "ab")
    for spec in (first, second):
        assert (spec.seed, spec.train.steps, spec.train.learning_rate) == (4, 3, 1e-2)
    assert (first.label, second.label, second.method.name) == ("lora", "train", "qpa")


def test_flags_of_train_lie_over_the_rows_own_section(
    ask: Ask, recipe: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = recipe.read_text().replace("[q_proj]}", "[q_proj], train: {steps: 50, learning_rate: 1e-4}}")
    recipe.write_text(own)
    place = tmp_path / "my texts #1"
    place.symlink_to(texts)
    seen: list[RunSpec] = []

    def noted(spec: RunSpec, *_: object) -> NoReturn:
        seen.append(spec)
        raise KeyboardInterrupt

    monkeypatch.setattr("qpeft.training.run.train_run", noted)
    command = ["train", recipe, "--method", "lora", "--data", place]
    assert ask(*command, "--steps", 3, "--learning-rate", 0.5).code == 130
    assert ask(*command).code == 130
    assert [(spec.train.steps, spec.train.learning_rate) for spec in seen] == [(3, 0.5), (50, 1e-4)]
    assert {spec.data.name for spec in seen} == {str(place)}


def test_length_and_columns_of_ones_own(ask: Ask, base_folder: Path, tmp_path: Path) -> None:
    lines = "".join(f"{'ask ' * i},say {i}\n" for i in range(1, 41))
    path = tmp_path / "fragen.csv"
    path.write_text("frage,antwort\n" + lines, encoding="utf-8")
    columns = ("--columns", "prompt=frage,completion=antwort")
    code, out, _ = ask("preview", path, "--model", base_folder, "--rows", 1, "--max-length", 32, *columns)
    assert (code, "read as prompt_completion" in out) == (0, True)
    assert "training rows were cut to data.max_length=32 tokens" in out
    assert "rows were left out, since nothing in them counts" in out
    own = ("--model", base_folder, "--data", path, "--max-length", 32, *columns)
    code, _, err = ask("train", "demo", "--method", "lora", "--steps", 1, *own, "--out", tmp_path / "run")
    assert code == 0, err
    (record,) = find_records(tmp_path / "run")
    assert record.spec.data.max_length == 32
    assert record.spec.data.columns == {"prompt": "frage", "completion": "antwort"}
    assert any("cut to data.max_length=32" in note for note in record.notes)
    long = ask(
        "train", "demo", "--method", "lora", "--model", base_folder, "--max-length", 4096, "--out", tmp_path / "long"
    )
    assert long.code == 2
    assert "data.max_length must be at most" in long.err


def test_columns_that_are_no_pairs(ask: Ask) -> None:
    for columns in ("prompt", "prompt=", "prompt=a,prompt=b"):
        told = ask("compare", "demo", "--plan", "--columns", columns)
        assert told.code == 2
        assert "--columns" in told.err
