"""A run end to end on the embedded model: kill -9 and resume, and the adapter in a process without qpeft."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qpeft.assets import model_folder
from qpeft.records import MethodSpec, RunSpec, read_record, write_atomically
from qpeft.training.run import train_run

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.skipif(not (model_folder() / "config.json").exists(), reason="the embedded model is not installed"),
]
OVER = MethodSpec(name="lora", options={"r": 2, "target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.1})


def spec(preset: str = "recommended") -> RunSpec:
    """Twelve steps with dropout, so that every random state matters; a checkpoint every second step."""
    return RunSpec.model_validate(
        {
            "label": "qpa",
            "method": MethodSpec(name="qpa", options={"n_mlp": 64, "preset": preset}, over=OVER),
            "seed": 5,
            "data": {"max_length": 48, "train_rows": 40, "eval_rows": 4},
            "train": {"steps": 12, "batch_size": 2, "learning_rate": 1e-2, "checkpoint_steps": 2, "log_steps": 1},
        }
    )


CHILD = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from qpeft.records import RunSpec
from qpeft.training.run import train_run
train_run(RunSpec.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
"""
# Loads and computes with nothing but transformers and peft; importing qpeft is made impossible.
VANILLA = """
import sys, torch
sys.modules["qpeft"] = None
torch.set_num_threads(1)
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
adapter, probe = sys.argv[1:]
model = AutoPeftModelForCausalLM.from_pretrained(adapter).eval()
probe = load_file(probe)
with torch.inference_mode():
    logits = model(input_ids=probe["input_ids"]).logits[:, -1]
assert not any(name.startswith("qpeft.") for name in sys.modules)
print(torch.equal(logits, probe["logits"]), type(model).__name__)
"""


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    # peft writes target_modules in the order of a set, which depends on the hash seed.
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONHASHSEED": "0"}
    environment = {**os.environ, **quiet}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return out


@pytest.mark.parametrize("preset", ["recommended", "released"])
def test_kill_9_and_resume_gives_the_same_bytes(preset: str, tmp_path: Path) -> None:
    write_atomically(tmp_path / "spec.json", spec(preset).model_dump_json())
    finish(child(CHILD, tmp_path / "spec.json", tmp_path / "whole"))
    killed = child(CHILD, tmp_path / "spec.json", tmp_path / "killed")
    deadline = time.monotonic() + 240
    while not list((tmp_path / "killed").glob("checkpoints/checkpoint-*/complete")):
        assert killed.poll() is None, killed.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "record.json").exists()
    finish(child(CHILD, tmp_path / "spec.json", tmp_path / "killed"))
    for name in ("adapter_model.safetensors", "adapter_config.json", "qpa_generator.safetensors"):
        whole, resumed = (tmp_path / run / "adapter" / name for run in ("whole", "killed"))
        assert whole.read_bytes() == resumed.read_bytes(), name
    first, second = (read_record(tmp_path / run / "record.json") for run in ("whole", "killed"))
    assert first.curve == second.curve
    assert first.metrics == second.metrics
    assert first.quantum is not None
    assert second.quantum is not None
    # What the run needs is the same; a resumed one evaluates circuits again, and says so.
    assert first.quantum.circuit_executions == second.quantum.circuit_executions == first.quantum.executions_spent
    assert (second.quantum.executions_spent or 0) > second.quantum.circuit_executions
    assert not (tmp_path / "killed" / "checkpoints").exists()


def test_half_written_checkpoint_is_not_used(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    (tmp_path / "run" / "checkpoints" / "checkpoint-6").mkdir(parents=True)
    record = train_run(spec(), tmp_path / "run")
    assert [point.step for point in record.curve] == list(range(1, 13))


def test_vanilla_peft_computes_the_same_without_qpeft(tmp_path: Path) -> None:
    write_atomically(tmp_path / "spec.json", spec().model_dump_json())
    finish(child(CHILD, tmp_path / "spec.json", tmp_path / "run"))
    assert load_file(tmp_path / "run" / "probe.safetensors")["logits"].isfinite().all()
    answer = finish(child(VANILLA, tmp_path / "run" / "adapter", tmp_path / "run" / "probe.safetensors"))
    assert answer.split() == ["True", "PeftModelForCausalLM"]
