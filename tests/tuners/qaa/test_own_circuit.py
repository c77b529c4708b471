"""A circuit of one's own in QAA: a Circuit, its text, a file in a recipe, or a function; files hold text only."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from qpeft.circuits import Circuit, build_ansatz, from_qasm3, to_qasm3
from qpeft.errors import CircuitError, ConfigError
from qpeft.recipes import parse_method
from qpeft.records import MethodSpec
from qpeft.training.account import quantum
from qpeft.training.methods import build_method
from qpeft.tuners import QAAConfig
from tiny_models import save_tiny_base, tiny_llama
from tiny_qaa import adapted, deltas, logits

IDS = torch.tensor([[5, 6, 7, 8, 9]])
PROGRAM = """input float a; input float b;
qubit[5] q;
h q;
rx(2 * a + 0.1) q[0]; rzz(b) q[0], q[3]; cp(b) q[1], q[2]; ccx q[0], q[1], q[4];
"""
# 32 and 48 numbers wide: registers of 5 and 6 qubits.
BOTH = ["self_attn", "mlp.up_proj"]


def drawn(n_qubits: int, depth: int) -> Circuit:
    return build_ansatz("brickwork", n_qubits, depth)


def test_a_circuit_and_its_text_are_the_same() -> None:
    mine = from_qasm3(PROGRAM)
    model, again = adapted(ansatz=mine), adapted(ansatz=to_qasm3(mine))
    assert model.peft_config["default"].ansatz == to_qasm3(mine)
    assert model.peft_config["default"].depth == 1, "a circuit of one's own stands once where nothing else is said"
    assert all(delta.read.circuit == mine for delta in deltas(model).values())
    assert torch.equal(logits(model, IDS), logits(again, IDS))
    twice = deltas(adapted(ansatz=mine, depth=2))
    assert {delta.read.circuit for delta in twice.values()} == {mine + mine}


def test_a_function_draws_each_register_once_and_becomes_text(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def function(n_qubits: int, depth: int) -> Circuit:
        asked.append((n_qubits, depth))
        return drawn(n_qubits, depth)

    config = QAAConfig(ansatz=function, depth=3, target_modules=BOTH, init_weights=False)
    with pytest.raises(ConfigError, match=r"is a function, which no file can hold; give the config to get_peft_model"):
        config.save_pretrained(tmp_path)
    model = adapted(ansatz=function, depth=3, target_modules=BOTH)
    assert sorted(asked) == [(5, 3), (6, 3)]
    assert {delta.read.circuit for delta in deltas(model).values()} == {drawn(5, 3), drawn(6, 3)}
    named = adapted(ansatz="brickwork", depth=3, target_modules=BOTH)
    assert torch.equal(logits(model, IDS), logits(named, IDS))
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    assert saved["ansatz"] == {"5": to_qasm3(drawn(5, 3)), "6": to_qasm3(drawn(6, 3))}
    assert saved["depth"] == 1
    loaded = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    assert torch.equal(logits(loaded, IDS), logits(model, IDS))


def test_a_process_that_never_saw_the_function(tmp_path: Path) -> None:
    model = adapted(ansatz=drawn, target_modules=BOTH, base=tiny_llama())
    base = save_tiny_base(tmp_path / "base", tiny_llama())
    model.save_pretrained(tmp_path / "adapter")
    code = (
        "import sys, torch, qpeft\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n"
        "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(sys.argv[1]), sys.argv[2]).eval()\n"
        f"print(model(torch.tensor({IDS.tolist()})).logits.double().sum().item())"
    )
    command = [sys.executable, "-c", code, str(base), str(tmp_path / "adapter")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(logits(model, IDS).double().sum().item(), abs=1e-3)


def test_from_a_file_in_a_recipe_to_the_record(tmp_path: Path) -> None:
    path = tmp_path / "mine.qasm"
    path.write_text(PROGRAM, "utf-8")
    method = parse_method(f"{{name: qaa, ansatz: {json.dumps(str(path))}}}")
    path.unlink()
    built = build_method(tiny_llama(), MethodSpec.model_validate(method.model_dump()), 0)
    block: Any = quantum(built, None, None)
    assert (block.n_qubits, block.depth, block.n_angles) == (5, 1, 2)
    assert block.ansatz.startswith("own circuit")
    twin = method.model_copy(update={"options": {**method.options, "source": "no_entangler"}})
    found = next(iter(deltas(build_method(tiny_llama(), twin, 0).model).values()))
    assert [operation.gate for operation in found.read.circuit.operations] == ["h"] * 5 + ["rx"]


def test_what_does_not_fit_is_said_and_leaves_the_model_alone() -> None:
    base = tiny_llama()
    with pytest.raises(CircuitError, match=r"a circuit of 5 qubits is needed here; the one given has 4"):
        adapted(base=base, ansatz=build_ansatz("ry_cnot", 4, 1))
    assert not deltas(base)
    with pytest.raises(ConfigError, match=r"qaa\.ansatz: .*line 2"):
        QAAConfig(ansatz="OPENQASM 3.0;\nqubit[2 q;")
    with pytest.raises(ConfigError, match=r"qaa\.ansatz must be one of ry_cnot"):
        QAAConfig(ansatz="ry_cnott")
