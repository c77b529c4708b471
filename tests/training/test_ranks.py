"""``accelerate launch -m qpeft train`` on two gloo processes: the adapter of one process, written once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qpeft.cli import run
from qpeft.records import read_record

METHODS = {
    "qpa": "{name: qpa, n_mlp: 16, over: {name: lora, r: 2, target_modules: [q_proj, v_proj]}}",
    "qaa": "{name: qaa}",
}
LAUNCH = "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --main_process_port 0"
LAUNCH += " --mixed_precision no --dynamo_backend no -m qpeft"


def train(start: list[str], base: Path, texts: Path, method: str, rows: int, out: Path) -> str:
    settings = ["data.format=text", "data.max_length=32", "train.checkpoint_steps=2", f"train.batch_size={rows}"]
    command = [sys.executable, "-m", *start, "train", "--method", METHODS[method], "--model", str(base)]
    command += ["--data", str(texts), "--steps", "4", "--out", str(out)]
    command += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_write_the_adapter_of_one(method: str, base_folder: Path, texts: Path, tmp_path: Path) -> None:
    said = train(LAUNCH.split(), base_folder, texts, method, 1, tmp_path / "two")
    train(["qpeft"], base_folder, texts, method, 2, tmp_path / "one")
    assert said.count("trained ") == 1  # the other process is silent
    one, two = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=2e-5, rtol=1e-4)
    record = read_record(tmp_path / "two" / "record.json")
    assert "2 processes trained together: 2 rows a step" in record.notes
    assert not (tmp_path / "two" / "checkpoints").exists()
    values = zip(record.metrics, read_record(tmp_path / "one" / "record.json").metrics, strict=True)
    assert all(mine.value == pytest.approx(other.value, rel=1e-4) for mine, other in values)


def test_other_commands_refuse_to_run_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(["compare", "demo"]) == 2
    assert "only qpeft train runs as several processes; got 2 of qpeft compare" in capsys.readouterr().err
