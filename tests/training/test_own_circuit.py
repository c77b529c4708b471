"""A circuit of one's own, trained: from a file that is gone afterwards, ablated, exported, loaded elsewhere."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from qpeft.circuits import build_ansatz, from_qasm3
from qpeft.qpa import Generator, QPAConfig, load_generator
from qpeft.recipes import parse_method
from qpeft.records import MethodSpec, RunSpec
from qpeft.training.ablate import ablation
from qpeft.training.estimate import estimate_run
from qpeft.training.methods import build_method
from qpeft.training.reload import export_run
from qpeft.training.run import train_run

MakeSpec = Callable[..., RunSpec]
PROGRAM = """include "stdgates.inc";
input float a; input float b; input float c;
qubit[4] q;
h q;
rx(2 * a + 0.1) q[0]; rzz(b) q[0], q[3]; cp(c) q[1], q[2]; ccx q[0], q[1], q[2]; ry(-b) q[2]; rbs(a) q[1], q[3];
"""
DEFINED = "gate rbs(t) a, b { cx b, a; cry(2 * t) a, b; cx b, a; }\n"


@pytest.fixture
def method(tmp_path: Path) -> MethodSpec:
    """QPA over a LoRA of 256 numbers in 16 chunks, so that N is 4; its circuit from a file."""
    path = tmp_path / "mine.qasm"
    path.write_text(PROGRAM.replace("qubit[4]", DEFINED + "qubit[4]"), "utf-8")
    found = parse_method(
        f"{{name: qpa, n_mlp: 32, ansatz: {json.dumps(str(path))}, "
        "over: {name: lora, r: 2, target_modules: [q_proj, v_proj]}}"
    )
    path.unlink()
    return found


def test_from_file_to_a_process_that_never_saw_it(method: MethodSpec, make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(method.model_dump(), train={"steps": 2})
    text = spec.method.options["ansatz"]
    assert from_qasm3(text).n_parameters == 3
    changed = {**method.model_dump(), "options": {**method.options, "ansatz": text.replace("0.1", "0.2")}}
    assert make_spec(changed).identity() != make_spec(method.model_dump()).identity()
    record = train_run(spec, tmp_path / "run")
    assert record.quantum is not None
    assert (record.quantum.n_angles, record.quantum.depth) == (3, 1)
    assert record.quantum.ansatz.startswith("own circuit")
    generator, tensors, _ = load_generator(tmp_path / "run" / "adapter")
    adapter = tensors["offset"] + tensors["factors"] * generator()
    assert adapter.isfinite().all()
    export_run(tmp_path / "run", tmp_path / "out")
    code = (
        "import sys, torch\nfrom qpeft.qpa import load_generator\n"
        "g, t, _ = load_generator(__import__('pathlib').Path(sys.argv[1]))\n"
        "print((t['offset'] + t['factors'] * g()).double().sum().item())"
    )
    again = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")], capture_output=True, text=True, check=True
    )
    assert float(again.stdout) == pytest.approx(adapter.double().sum().item(), abs=1e-6)
    labels = [run.label for run in ablation(record, [0, 1]).runs]
    assert {"row", "row-frozen", "row-no_entangler"} <= set(labels)
    assert estimate_run(spec).circuits[0].cost.n_qubits == 4


def test_twins_come_from_the_circuit_itself(method: MethodSpec) -> None:
    config = QPAConfig.from_dict({**method.options, "source": "no_entangler"})
    (source,) = Generator(512, config).circuit_sources()
    assert [operation.gate for operation in source.circuit.operations] == ["h"] * 4 + ["rx", "ry"]
    assert source.angles.numel() == 2


def test_a_function_is_kept_as_its_circuit(llama: Any) -> None:
    config = QPAConfig(n_mlp=32, depth=3, ansatz=lambda n, depth: build_ansatz("brickwork", n, depth))
    generator = Generator(512, config)
    assert from_qasm3(generator.config.ansatz) == build_ansatz("brickwork", 4, 3)
    assert generator.config.depth == 1
    same = Generator(512, QPAConfig(n_mlp=32, depth=3, ansatz="brickwork"))
    assert torch.equal(generator(), same())


def test_a_circuit_of_another_size_is_refused(llama: Any, method: MethodSpec) -> None:
    small = {**method.options, "n_mlp": 4}
    built = build_method(llama, method.model_copy(update={"options": small}), 0)
    kind, options = built.optimizer(RunSpec.model_fields["train"].default)
    with pytest.raises(ValueError, match=r"qubits is needed here; the one given has 4"):
        kind(**options)


def test_exports_are_plain_loras(method: MethodSpec, make_spec: MakeSpec, tmp_path: Path, base_folder: Path) -> None:
    train_run(make_spec(method.model_dump(), train={"steps": 1}), tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    assert peft.PeftModel.from_pretrained(base, tmp_path / "out").peft_config["default"].peft_type == "LORA"


def test_qaa_from_file_to_a_process_that_never_saw_it(make_spec: MakeSpec, tmp_path: Path, base_folder: Path) -> None:
    path = tmp_path / "mine.qasm"
    path.write_text(PROGRAM.replace("qubit[4]", DEFINED + "qubit[5]"), "utf-8")
    method = parse_method(f"{{name: qaa, ansatz: {json.dumps(str(path))}}}")
    path.unlink()
    spec = make_spec(method.model_dump(), train={"steps": 2})
    record = train_run(spec, tmp_path / "run")
    assert record.quantum is not None
    assert (record.quantum.n_qubits, record.quantum.depth, record.quantum.n_angles) == (5, 1, 3)
    assert record.quantum.ansatz.startswith("own circuit")
    assert {"row", "row-frozen", "row-no_entangler"} <= {run.label for run in ablation(record, [0, 1]).runs}
    assert estimate_run(spec).circuits[0].cost.n_qubits == 5
    export_run(tmp_path / "run", tmp_path / "out")
    code = (
        "import sys, qpeft, torch\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n"
        "m = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(sys.argv[1]), sys.argv[2]).eval()\n"
        "print(m(torch.tensor([[5, 6, 7]])).logits.double().square().sum().item())"
    )
    command = [sys.executable, "-c", code, str(base_folder), str(tmp_path / "out")]
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    here = peft.PeftModel.from_pretrained(base, tmp_path / "run" / "adapter").eval()
    with torch.no_grad():
        wanted = here(torch.tensor([[5, 6, 7]])).logits.double().square().sum().item()
    assert float(again.stdout) == pytest.approx(wanted, rel=1e-6)
