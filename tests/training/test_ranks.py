"""Two gloo processes of ``qpeft train``, replicated and sharded: the adapter of one process, written once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qpeft.cli import run
from qpeft.records import holding, read_record

METHODS = {
    "qpa": "{name: qpa, n_mlp: 16, over: {name: lora, r: 2, target_modules: [q_proj, v_proj]}}",
    "qaa": "{name: qaa, preset: recommended}",
    "core": "{name: core, core: full, r: 2, basis_batches: 2, target_modules: [q_proj, v_proj]}",
}
LAUNCH = "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --main_process_port 0"
LAUNCH += " --mixed_precision no --dynamo_backend no"
SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}


class Trainer:
    """Runs of four steps on the tiny model, two rows a step, each in processes of its own."""

    def __init__(self, base: Path, texts: Path) -> None:
        self.words = ["train", "--model", str(base), "--data", str(texts), "--steps", "4"]
        for setting in ("data.format=text", "data.max_length=32", "train.checkpoint_steps=2"):
            self.words += ["--set", setting]

    def alone(self, method: str, out: Path) -> int:
        """One process, this one, with twice the rows."""
        return run([*self.words, "--method", METHODS[method], "--out", str(out), "--set", "train.batch_size=2"])

    def __call__(self, start: str, method: str, out: Path, **variables: str) -> tuple[int, str, str]:
        """Two processes."""
        command = [sys.executable, *start.split(), *self.words, "--method", METHODS[method], "--out", str(out)]
        command += ["--set", "train.batch_size=1"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def train(base_folder: Path, texts: Path) -> Trainer:
    return Trainer(base_folder, texts)


def assert_same_run(one: Path, two: Path) -> None:
    first, second = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (one, two))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=2e-5, rtol=1e-4)
    mine, theirs = (read_record(folder / "record.json") for folder in (one, two))
    for a, b in zip(mine.metrics, theirs.metrics, strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-4)
    assert "2 processes trained together: 2 rows a step" in theirs.notes
    assert not (two / "checkpoints").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_write_the_adapter_of_one(method: str, train: Trainer, tmp_path: Path) -> None:
    code, said, error = train(f"-m {LAUNCH} -m qpeft", method, tmp_path / "two")
    assert code == 0, error
    assert said.count("trained ") == 1  # the other process is silent
    assert train.alone(method, tmp_path / "one") == 0
    assert_same_run(tmp_path / "one", tmp_path / "two")


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kept", ["SHARDED_STATE_DICT", "FULL_STATE_DICT"])
def test_a_sharded_run_that_was_killed_ends_as_one_process_does(kept: str, train: Trainer, tmp_path: Path) -> None:
    start = f"-m {LAUNCH} {Path(__file__).with_name('sharded_run.py')}"
    variables = SHARDED | {"FSDP_STATE_DICT_TYPE": kept}
    code, _, _ = train(start, "qpa", tmp_path / "two", KILL_AT="2", **variables)
    assert code != 0
    assert (tmp_path / "two" / "checkpoints" / "checkpoint-2" / "complete").exists()
    code, _, error = train(start, "qpa", tmp_path / "two", **variables)
    assert code == 0, error
    assert train.alone("qpa", tmp_path / "one") == 0
    assert_same_run(tmp_path / "one", tmp_path / "two")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_processes_that_train_together_are_one_holder_and_are_told_of_another(train: Trainer, tmp_path: Path) -> None:
    with holding(tmp_path / "two"):
        code, said, error = train(f"-m {LAUNCH} -m qpeft", "qpa", tmp_path / "two")
    assert code != 0
    assert error.count(f"Error: {tmp_path / 'two'} is in use by process {os.getpid()} on ") == 1
    assert "trained " not in said
    assert not (tmp_path / "two").exists()


def test_other_commands_refuse_to_run_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(["compare", "demo"]) == 2
    assert "only qpeft train runs as several processes; got 2 of qpeft compare" in capsys.readouterr().err
