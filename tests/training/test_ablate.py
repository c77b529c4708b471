"""The ablation of a run: every twin, equal terms, refusals; and the whole command on a tiny model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpeft.cli import run as command_line
from qpeft.errors import ConfigError
from qpeft.method import METHODS as ROWS
from qpeft.records import RunRecord, RunSpec, find_records
from qpeft.training.ablate import ablation
from qpeft.training.methods import check_method
from qpeft.training.run import train_run

MakeSpec = Callable[..., RunSpec]
LORA: dict[str, Any] = {"name": "lora", "options": {"r": 2, "target_modules": ["q_proj", "v_proj"]}}
METHODS: dict[str, dict[str, Any]] = {
    "qpa": {"name": "qpa", "options": {"n_mlp": 16, "depth": 2}, "over": LORA},
    "qaa": {"name": "qaa", "options": {"depth": 1}},
    "core": {
        "name": "core",
        "options": {"r": 4, "core": "rotations", "basis": "weight", "target_modules": ["q_proj"]},
    },
    "frozen": {"name": "qaa", "options": {"source": "frozen"}},
    "lora": LORA,
}


@pytest.fixture(scope="module")
def folders(make_spec: MakeSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    for name, method in METHODS.items():
        train_run(make_spec(method, label=name), root / name)
    return {name: root / name for name in METHODS}


def record_of(folder: Path) -> RunRecord:
    return find_records(folder)[0]


@pytest.mark.parametrize("name", ["qpa", "qaa"])
def test_rows_differ_in_the_source_alone(name: str, folders: dict[str, Path]) -> None:
    record = record_of(folders[name])
    comparison = ablation(record, [0, 1, 2])
    assert [run.label for run in comparison.runs] == [
        name,
        *(f"{name}-{s}" for s in ROWS[name].sources if s != "circuit"),
    ]
    assert comparison.baseline == name
    assert comparison.learning_rates == (1e-3, 3e-3, 1e-2, 3e-2)
    for run in comparison.runs:
        check_method(run.method)
        same = {k: v for k, v in run.method.options.items() if k != "source"}
        assert (same, run.method.over) == (record.spec.method.options, record.spec.method.over)
        assert (run.model, run.data, run.train) == (record.spec.model, record.spec.data, record.spec.train)


def test_a_core_beside_its_twins_of_equal_count(folders: dict[str, Path]) -> None:
    comparison = ablation(record_of(folders["core"]), [0, 1])
    labels = ["core", *(f"core-{twin}" for twin in ("mask", "hash", "diag_lowrank", "givens", "frozen"))]
    assert [run.label for run in comparison.runs] == labels
    assert comparison.baseline == "core"
    for run in comparison.runs:
        check_method(run.method)
        assert run.method.options["target_modules"] == ["q_proj"]
    assert len({run.identity() for run in comparison.runs}) == 6


def test_what_cannot_be_ablated(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="trained circuit or a quantum structure; lora is 'lora': no twins"):
        ablation(record_of(folders["lora"]), [0, 1])
    with pytest.raises(ConfigError, match="qaa with source 'frozen'"):
        ablation(record_of(folders["frozen"]), [0, 1])
    record = record_of(folders["qaa"])
    for seeds in ([0], [1, 1]):
        with pytest.raises(ConfigError, match="two or more different"):
            ablation(record, seeds)
    with pytest.raises(ConfigError, match="above 0"):
        ablation(record, [0, 1], [0.1, -1.0])


def test_the_command(folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ablate", str(folders["qaa"]), "--seed", "0", "--seed", "1", "--learning-rate", "0.01"]
    assert command_line([*words, "--plan"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6 * 3
    assert command_line([*words, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert printed.count("trained circuit vs ") == 5
    assert "would probably have been seen" in printed
    assert (tmp_path / "out" / "report.html").exists()
