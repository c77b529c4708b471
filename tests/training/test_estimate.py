"""Estimates: what they count is what runs do, published counts come out, and no weight is read or run."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPTNeoConfig

from qpeft.circuits import build_ansatz, circuit_cost
from qpeft.errors import ConfigError, ModelError
from qpeft.qpa import SOURCES
from qpeft.quantum import Shots
from qpeft.quantum.shift import parameter_shift_vjp
from qpeft.records import MethodSpec, RunSpec
from qpeft.training.estimate import Estimate, estimate_run
from qpeft.training.methods import METHODS, build_method
from qpeft.training.models import load_base
from qpeft.training.run import train_run
from tiny_methods import EXAMPLES, LORA, TARGETS

MakeSpec = Callable[..., RunSpec]
HEAD: dict[str, Any] = {"name": "lora", "options": {"r": 4, "target_modules": ["lm_head"]}}


def qpa(over: dict[str, Any] = LORA, **options: Any) -> dict[str, Any]:
    return {"name": "qpa", "options": {"n_mlp": 16, "depth": 2, **options}, "over": over}


def config_only(folder: Path, config: Any) -> str:
    """A model folder that holds nothing but config.json."""
    config.save_pretrained(folder)
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    return str(folder)


def estimated(name: str, method: dict[str, Any], **train: Any) -> Estimate:
    return estimate_run(
        RunSpec.model_validate({"label": "row", "model": {"name": name}, "method": method, "train": train})
    )


def test_every_method_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(METHODS)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_counts_are_those_of_the_built_method(name: str, make_spec: MakeSpec, base_folder: Path) -> None:
    found = estimate_run(make_spec(EXAMPLES[name]))
    base = load_base(str(base_folder))
    numbers = sum(p.numel() for p in base.model.parameters())
    built = build_method(base.model, MethodSpec.model_validate(EXAMPLES[name]), 0)
    adapter = sum(p.numel() for _, p in built.named_trainable())
    assert (found.base_numbers, found.base_bytes, found.adapter_numbers) == (numbers, 4 * numbers, adapter)
    if name != "qpa":
        assert found.trained_numbers == adapter
    assert found.effective_numbers is None
    assert bool(found.circuits) == (name in ("qaa", "qpa"))


def test_the_papers_gpt2_row(tmp_path: Path) -> None:
    """Table 8 of arXiv:2410.09846: LoRA of rank 4 on the head, n_mlp 2048."""
    method = {"name": "qpa", "options": {"n_mlp": 2048, "preset": "released"}, "over": HEAD}
    found = estimated(config_only(tmp_path / "gpt2", GPT2Config()), method, steps=110_154)
    assert (found.base_numbers, found.adapter_numbers) == (124_439_808, 204_100)
    assert (found.trained_numbers, found.effective_numbers) == (106_264, 18_432 + 56)
    (use,) = found.circuits
    assert use.cost == circuit_cost(build_ansatz("ry_cnot", 7, 8))
    assert (use.place, use.layers, use.copies, use.cost.n_qubits, use.cost.n_parameters) == ("generator", 8, 1, 7, 56)
    assert "untied" in found.notes[0]
    untied = found.memory.parameters - found.base_bytes
    assert untied == 4 * (768 * 50257 + 204_100), "the head's own copy is counted in memory"


def test_the_papers_gpt_neo_row(tmp_path: Path) -> None:
    """Table 3 of arXiv:2509.16244: 123,000 numbers in 12 modules."""
    config = GPTNeoConfig(
        hidden_size=768, num_layers=12, num_heads=12, attention_types=[[["global", "local"], 6]], vocab_size=50257
    )
    found = estimated(
        config_only(tmp_path / "neo", config), {"name": "qaa", "options": {"preset": "paper"}}, batch_size=2
    )
    assert (found.base_numbers, found.trained_numbers) == (125_198_592, 123_000)
    (use,) = found.circuits
    assert (use.place, use.layers, use.copies, use.cost.n_qubits, use.cost.n_parameters) == ("modules", 1, 12, 10, 10)
    assert use.forward == 12 * 2 * 128


def test_the_embedded_model_needs_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("weights are read")

    monkeypatch.setattr("safetensors.torch.load_file", fails)
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", fails)
    assert estimated("embedded", LORA).base_numbers == 5_310_720


def test_whitening_runs_the_circuit_once_more(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(qpa(whiten=True))
    plain, found = (sum(u.run for u in estimate_run(s).circuits) for s in (make_spec(qpa()), spec))
    record = train_run(spec, tmp_path / "run")
    assert record.quantum is not None
    assert found == record.quantum.circuit_executions == plain + 1


@pytest.mark.parametrize("preset", ["recommended", "released"])
@pytest.mark.parametrize("source", SOURCES)
def test_qpa_runs_as_many_circuits_as_estimated(source: str, preset: str, make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(qpa(source=source, preset=preset))
    found, record = estimate_run(spec), train_run(spec, tmp_path / "run")
    assert record.quantum is not None
    info = record.train_info
    assert sum(use.run for use in found.circuits) == record.quantum.circuit_executions
    assert bool(found.circuits) == (source in ("circuit", "frozen", "no_entangler"))
    assert (found.trained_numbers, found.adapter_numbers) == (info.num_trainable_params, info.num_adapter_params)
    assert (found.effective_numbers or found.trained_numbers) == info.effective_params
    assert found.file_bytes == info.file_size


def test_qaa_runs_as_many_circuits_a_token_as_estimated(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec({"name": "qaa"})
    (use,), record = estimate_run(spec).circuits, train_run(spec, tmp_path / "run")
    assert record.quantum is not None
    assert (use.copies, use.layers) == (record.quantum.n_circuits, record.quantum.depth) == (4, 2)
    full = 3 * 2 * 32
    assert 0 < record.train_info.train_tokens < full
    assert use.run * record.train_info.train_tokens == record.quantum.circuit_executions * full


@pytest.mark.parametrize("source", ["mlp", "quadratic", "linear"])
def test_twins_of_qaa_run_no_circuit(source: str, make_spec: MakeSpec) -> None:
    assert not estimate_run(make_spec({"name": "qaa", "options": {"source": source}})).circuits


def test_qpa_over_qaa_has_both_kinds_of_circuits(make_spec: MakeSpec) -> None:
    found = estimate_run(make_spec(qpa({"name": "qaa"}, n_generators=2)))
    kinds = {use.place: (use.copies, use.layers) for use in found.circuits}
    assert kinds == {"generator": (2, 2), "modules": (4, 2)}


@pytest.mark.parametrize("ansatz", ["ry_cnot", "rxrz_cnot"])
def test_parameter_shift_takes_as_many_evaluations(ansatz: str, make_spec: MakeSpec) -> None:
    """Counted in the rows that the rule itself asks for."""
    asked = []

    def counted(circuit: Any, angles: torch.Tensor) -> torch.Tensor:
        asked.append(len(angles))
        return torch.zeros(len(angles), 2**circuit.n_qubits)

    (use,) = estimate_run(make_spec(qpa(ansatz=ansatz)), gradient="shift").circuits
    circuit = build_ansatz(ansatz, use.cost.n_qubits, 2)
    parameter_shift_vjp(counted, circuit, torch.zeros(circuit.n_parameters), torch.zeros(2**circuit.n_qubits))
    assert [use.gradient] == asked == [2 * use.cost.n_parameters]
    assert (use.forward, use.run) == (1, 2 + 3 * (1 + use.gradient))


def test_ways_to_the_gradient(make_spec: MakeSpec) -> None:
    spec = make_spec(qpa())
    ways = {way: estimate_run(spec, gradient=way).circuits[0].gradient for way in ("autograd", "spsa")}
    assert ways == {"autograd": 0, "spsa": 2}
    frozen = make_spec(qpa(source="frozen"))
    assert estimate_run(frozen, gradient="shift").circuits[0].gradient == 0
    spec = make_spec({"name": "qaa"}, train={"gradient_accumulation": 3})
    (use,) = estimate_run(spec, gradient="spsa").circuits
    assert use.gradient == 2 * use.forward == 2 * 4 * 3 * 2 * 32


def test_shots_of_a_run(make_spec: MakeSpec) -> None:
    """The papers' 20 x 2^N."""
    found = estimate_run(make_spec(qpa()), gradient="shift", shots="20x")
    (use,) = found.circuits
    assert use.shots == 20 * 2**use.cost.n_qubits
    assert use.shots_step == use.shots * (1 + use.gradient)
    assert use.shots_run == use.shots * use.run
    assert estimate_run(make_spec(qpa()), shots="4096").circuits[0].shots == 4096
    (exact,) = estimate_run(make_spec(qpa())).circuits
    assert (exact.shots, exact.shots_step, exact.shots_run) == (None, None, None)


def test_notes_say_what_is_left_out(make_spec: MakeSpec) -> None:
    assert estimate_run(make_spec(qpa())).notes == ()
    assert "simulated without noise" in estimate_run(make_spec(qpa()), shots="8").notes[0]
    assert "not counted" in estimate_run(make_spec({"name": "qaa"})).notes[0]
    assert "train by autograd only" in estimate_run(make_spec({"name": "qaa"}), gradient="shift").notes[-1]


@pytest.mark.parametrize("method", [{"name": "qaa"}, qpa(source="table"), qpa({"name": "qaa"})])
def test_an_estimate_leaves_nothing_behind_for_a_run(
    method: dict[str, Any], make_spec: MakeSpec, tmp_path: Path
) -> None:
    """Compiled circuits are cached; none may be one without numbers."""
    estimate_run(make_spec(method), gradient="shift", shots="8")
    assert train_run(make_spec(method), tmp_path / "run").curve[-1].loss > 0


@pytest.mark.parametrize("text", ["0", "-3", "x", "20 x", "1.5", "many", ""])
def test_shots_that_cannot_be_used(text: str, make_spec: MakeSpec) -> None:
    with pytest.raises(ConfigError, match=rf"4096, or 20x for 20 times 2\^N; got {re.escape(repr(text))}"):
        Shots.parse(text)
    with pytest.raises(ConfigError, match="shots must be"):
        estimate_run(make_spec(LORA), shots=text)


def test_what_a_quantum_computer_would_be_busy_for(make_spec: MakeSpec) -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    spec = make_spec(qpa(), execution={"backend": "ibm:device=fake_torino,shots=4000", "gradient": "shift"})
    found = estimate_run(spec)
    (use,) = found.circuits
    assert (use.shots, use.gradient) == (4000, 2 * use.cost.n_parameters)
    assert f"about {use.shots_run * 250e-6:,.0f} s of the quantum computer at 250 us" in found.notes[-1]
    assert not any("quantum computer" in note for note in estimate_run(make_spec(qpa())).notes)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model.name must be a name of .* a folder .* got"):
        estimated(str(tmp_path), LORA)


def test_methods_that_read_the_weights_are_refused() -> None:
    method = {"name": "peft", "options": {"peft_type": "ADAMSS", **TARGETS}}
    message = r"cannot put ADAMSS on LlamaForCausalLM: .*leave out a start that is made from the weights"
    with pytest.raises(ModelError, match=message):
        estimated("embedded", method)


def test_a_start_made_from_the_weights_changes_no_count(make_spec: MakeSpec) -> None:
    pissa = {"name": "lora", "options": {"r": 4, "init_lora_weights": "pissa", **TARGETS}}
    assert estimate_run(make_spec(pissa)) == estimate_run(make_spec(LORA))


def test_options_are_checked_as_for_a_run(make_spec: MakeSpec) -> None:
    with pytest.raises(ConfigError, match=r"method.rr is not a field of LoraConfig; nearest: r"):
        estimate_run(make_spec({"name": "lora", "options": {"rr": 4}}))
    with pytest.raises(ModelError, match=r"cannot put LORA on LlamaForCausalLM: .*nowhere") as caught:
        estimate_run(make_spec({"name": "lora", "options": {"target_modules": ["nowhere"]}}))
    assert "made from the weights" not in str(caught.value)
