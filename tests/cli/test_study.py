"""``qpeft study``: list, plan, measure, read again, and errors."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpeft.recipes import packaged_studies
from qpeft.records import read_study

Ask = Callable[..., Any]
SMALL = ["--set", "depths=[1]", "--set", "qubits=[2]", "--set", "ansatze=[ry_cnot]"]


def test_without_a_name_every_study_is_listed(ask: Ask) -> None:
    code, out, _ = ask("study")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(packaged_studies())
    assert "Variance of the angles' gradient, a head of GPT-2's size" in out


def test_the_list_needs_no_torch() -> None:
    program = "import sys; from qpeft.cli import run; run(['study']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, capture_output=True).returncode == 0


def test_a_study_is_measured_once(ask: Ask, tmp_path: Path) -> None:
    path, rows = tmp_path / "check.json", tmp_path / "check.csv"
    code, out, err = ask("study", "gradient-check", *SMALL, "--out", path, "--csv", rows)
    assert code == 0
    assert "shift max" in out
    assert "Over all rows" in out
    assert "* float64; angles from U(-pi, pi)" in out
    assert f"record: {path}, rows: {rows}" in err
    record = read_study(path)
    assert (record.study, len(record.rows)) == ("gradient-check", 8)
    assert record.settings["seed"] == 0, "defaults are in the record"
    assert record.paper is not None
    assert rows.read_text("utf-8").count("\n") == 9
    before = path.stat().st_mtime_ns
    again = ask("study", "gradient-check", *SMALL, "--out", path)
    assert (again.code, again.out) == (0, out)
    assert path.stat().st_mtime_ns == before


def test_another_study_never_replaces_a_record(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "check.json"
    ask("study", "gradient-check", *SMALL, "--out", path)
    code, _, err = ask("study", "gradient-check", *SMALL, "--set", "seed=1", "--out", path)
    assert code == 1
    assert "with other settings" in err
    assert json.loads(path.read_text("utf-8"))["settings"]["seed"] == 0


def test_a_plan_measures_nothing(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = ask("study", "gradient-variance", "--plan", "--set", "depths=[1, 2]", "--set", "n_mlp=[64]")
    assert code == 0
    assert "study gradient-variance, identity " in out
    assert "samples: 100" in out
    assert "8 points" in out
    assert "record: runs/studies/gradient-variance-" in out
    assert not list(tmp_path.iterdir())


def test_a_file_of_ones_own_goes_to_the_default_place(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        "title: mine\nstudy: gradient-check\nsettings: {depths: [1], qubits: [2], ansatze: [rx_cnot]}\n", "utf-8"
    )
    assert ask("study", "mine.yaml").code == 0
    (path,) = (tmp_path / "runs" / "studies").iterdir()
    record = read_study(path)
    assert path.name == f"mine-{record.identity[:8]}.json"
    assert record.title == "mine"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("study gradient-chek", "nearest: gradient-check"),
        ("study gradient-check --set depth=[1]", "--set: settings.depth is not a key; nearest: depths"),
        ("study gradient-check --set depths=[0]", "--set: settings.depths.0: .*greater than or equal to 1; got 0"),
        ("study gradient-check --set seed", "--set takes key.key=value.*; got 'seed'"),
        ("study gradient-variance --set presets=[ours]", "must be one of equations, released, recommended"),
        ("study counts-gpt2 --set model={model_type: x}", "settings.model must be fields of a causal language model"),
    ],
)
def test_wrong_usage_says_what_was_wrong(line: str, message: str, ask: Ask, tmp_path: Path) -> None:
    name, *rest = line.removeprefix("study ").split(" ", 2)
    answer = ask("study", name, *rest, "--out", tmp_path / "x.json")
    assert answer.code == 2

    assert re.search(message, answer.err), answer.err
    assert not (tmp_path / "x.json").exists()
