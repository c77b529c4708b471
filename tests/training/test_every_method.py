"""Every method through the runner: train, record, measure again from disk, export and merge or be refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qpeft.card import stored_numbers
from qpeft.errors import ConfigError, ExportError, RecordError
from qpeft.qpa.bake import load_generator
from qpeft.records import RunSpec
from qpeft.training.methods import METHODS
from qpeft.training.reload import export_run, measure_saved
from qpeft.training.run import train_run

MakeSpec = Callable[..., RunSpec]
TARGETS = {"target_modules": ["q_proj", "v_proj"]}
PLAIN: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "options": {"r": 2, **TARGETS}},
    "lora_released": {"name": "lora_released", "options": {"r": 2, **TARGETS}},
    "dora": {"name": "dora", "options": {"r": 2, **TARGETS}},
    "sora": {"name": "sora", "options": {"r": 4, **TARGETS}},
    "core": {"name": "core", "options": {"r": 4, "basis_batches": 2, **TARGETS}},
    "prefix": {"name": "prefix", "options": {"num_virtual_tokens": 4}},
    "head_prefix": {"name": "head_prefix", "options": {"num_positions": 16}},
    "ffa": {"name": "ffa", "options": {"bottleneck": 4}},
    "qaa": {"name": "qaa"},
    "peft": {"name": "peft", "options": {"peft_type": "IA3", "target_modules": ["v_proj"], "feedforward_modules": []}},
}
HEAD = {"name": "lora", "options": {"r": 2, "target_modules": ["lm_head"]}}
OVER = {name: PLAIN[name] for name in ("dora", "sora", "core", "prefix", "head_prefix", "ffa", "qaa")} | {"head": HEAD}
UNMERGEABLE = ("prefix", "head_prefix", "ffa", "qaa")


def qpa(over: dict[str, Any], n_mlp: int = 16) -> dict[str, Any]:
    return {"name": "qpa", "options": {"n_mlp": n_mlp, "depth": 2}, "over": over}


CASES = PLAIN | {f"qpa over {name}": qpa(over) for name, over in OVER.items()}


def test_no_method_is_left_out() -> None:
    assert set(PLAIN) | {"base", "full", "qpa"} == set(METHODS)


@pytest.mark.parametrize("case", list(CASES))
def test_trains_measures_again_and_exports(case: str, make_spec: MakeSpec, tmp_path: Path) -> None:
    record = train_run(make_spec(CASES[case]), tmp_path / "run")
    assert record.curve[-1].loss > 0
    assert record.train_info.num_trainable_params > 0
    assert (record.quantum is not None) == ("q" in case)
    again = measure_saved(tmp_path / "run", data=None, split="test", padded=True)
    assert again == [m for m in record.metrics if m.split == "test"], "measured from disk it is another model"
    card = (tmp_path / "run" / "adapter" / "README.md").read_text("utf-8")
    assert f"{record.metric('perplexity'):.4g}" in card
    assert ("import qpeft" in card) == any(name in case for name in ("qaa", "sora", "core", "ffa", "head_prefix"))
    exported = export_run(tmp_path / "run", tmp_path / "adapter", merge=False)
    assert exported.difference == 0
    if case.split()[-1] in UNMERGEABLE:
        with pytest.raises(ExportError, match="cannot be merged"):
            export_run(tmp_path / "run", tmp_path / "merged", merge=True)
        assert not (tmp_path / "merged").exists()
    else:
        assert export_run(tmp_path / "run", tmp_path / "merged", merge=True).difference < 1e-4


def test_a_sora_is_exported_as_the_lora_its_gates_left(make_spec: MakeSpec, tmp_path: Path) -> None:
    method = {"name": "sora", "options": {"r": 4, "prox_lambda": 0.2, **TARGETS}}
    record = train_run(make_spec(method, train={"learning_rate": 0.1}), tmp_path / "run")
    left = record.train_info.effective_params
    assert left is not None
    assert 0 < left < record.train_info.num_adapter_params
    exported = export_run(tmp_path / "run", tmp_path / "lora", pruned=True)
    assert exported.kind == "pruned LoRA"
    assert exported.difference < 1e-5
    assert json.loads((tmp_path / "lora" / "adapter_config.json").read_text("utf-8"))["peft_type"] == "LORA"
    assert stored_numbers(tmp_path / "lora" / "adapter_model.safetensors") == left
    with pytest.raises(ConfigError, match="--merge or --prune"):
        export_run(tmp_path / "run", tmp_path / "both", merge=True, pruned=True)


def test_only_sora_can_be_pruned(make_spec: MakeSpec, tmp_path: Path) -> None:
    train_run(make_spec(PLAIN["lora"]), tmp_path / "run")
    with pytest.raises(ExportError, match=r"--prune writes an adapter of type SORA .* type LORA"):
        export_run(tmp_path / "run", tmp_path / "lora", pruned=True)
    assert not (tmp_path / "lora").exists()


def test_a_core_is_exported_as_a_lora_and_tells_what_its_basis_cost(make_spec: MakeSpec, tmp_path: Path) -> None:
    record = train_run(make_spec(PLAIN["core"]), tmp_path / "run")
    assert record.train_info.num_trainable_params == 4 * (4 + 2 * 4)
    assert any(note.startswith("the basis of 4 layers was fitted before the first step") for note in record.notes)
    exported = export_run(tmp_path / "run", tmp_path / "lora", lora=True)
    assert exported.kind == "LoRA"
    assert exported.difference < 1e-5
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text("utf-8"))
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 4)
    with pytest.raises(ExportError, match=r"--prune writes an adapter of type SORA .* type CORE"):
        export_run(tmp_path / "run", tmp_path / "pruned", pruned=True)
    with pytest.raises(ConfigError, match="one of --merge or --prune or --lora"):
        export_run(tmp_path / "run", tmp_path / "both", merge=True, lora=True)


def test_qaa_in_the_record(make_spec: MakeSpec, tmp_path: Path) -> None:
    record = train_run(make_spec({"name": "qaa", "options": {"preset": "text"}}), tmp_path / "run")
    block = record.quantum
    assert block is not None
    assert (block.n_qubits, block.depth, block.ansatz, block.entangler) == (5, 1, "rx_cnot", "chain")
    assert (block.n_angles, block.n_circuits, block.source, block.preset) == (5, 4, "circuit", "text")
    assert block.circuit_executions == 4 * record.train_info.train_tokens > 0
    assert record.train_info.num_trainable_params == 4 * (5 * 32 + 5)
    summary = r"QAA at step 0: norm of embedded states 1.0000 to 1.0000, z from .*"
    assert any(re.fullmatch(summary, note) for note in record.notes)
    assert any("the first step of Adam at a learning rate of 0.01" in note for note in record.notes)


def test_a_classical_twin_runs_no_circuit(make_spec: MakeSpec, tmp_path: Path) -> None:
    block = train_run(make_spec({"name": "qaa", "options": {"source": "mlp"}}), tmp_path / "run").quantum
    assert block is not None
    assert (block.source, block.n_angles, block.n_circuits, block.circuit_executions) == ("mlp", 0, 0, 0)


def test_quantum_train_of_a_whole_model(make_spec: MakeSpec, tmp_path: Path) -> None:
    """n_mlp = 1 and no adapter: one circuit and a small mapping generate every number of the model."""
    spec = make_spec(qpa({"name": "full"}, n_mlp=1))
    record = train_run(spec, tmp_path / "run")
    block, info = record.quantum, record.train_info
    assert block is not None
    assert block.n_generated == info.num_adapter_params == info.num_total_params
    assert 2 ** (block.n_qubits - 1) < block.n_generated <= 2**block.n_qubits
    assert info.num_trainable_params < info.num_total_params / 10
    again = measure_saved(tmp_path / "run", data=None, split="test", padded=True)
    assert again[0].value == record.metric("perplexity")
    generator, tensors, body = load_generator(tmp_path / "run" / "model")
    assert body["m"] == info.num_total_params
    with torch.no_grad():
        numbers = tensors["offset"] + tensors["factors"] * generator()
    entry = next(part for part in body["plan"] if part["name"].endswith("embed_tokens.weight"))
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    found = numbers[entry["offset"] :][: model.get_input_embeddings().weight.numel()]
    assert torch.allclose(found, model.get_input_embeddings().weight.detach().flatten(), atol=1e-6)
    with pytest.raises(RecordError, match="the whole trained model is in"):
        export_run(tmp_path / "run", tmp_path / "out", merge=False)


@pytest.mark.parametrize("damage", ["config", "weights", "missing"])
def test_damaged_adapters_of_ours_are_refused(damage: str, make_spec: MakeSpec, tmp_path: Path) -> None:
    train_run(make_spec(PLAIN["qaa"]), tmp_path / "run")
    adapter = tmp_path / "run" / "adapter"
    if damage == "config":
        body = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
        (adapter / "adapter_config.json").write_text(json.dumps({**body, "depth": "deep"}), "utf-8")
    elif damage == "weights":
        (adapter / "adapter_model.safetensors").write_bytes(b"no weights")
    else:
        (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ExportError, match=r"depth must be|cannot be loaded|is missing"):
        export_run(tmp_path / "run", tmp_path / "out", merge=False)
    assert not (tmp_path / "out").exists()
