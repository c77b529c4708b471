"""On a GPU: the fused kernels against the torch path, and steps in bfloat16 at the size of GPT-2, GPT-Neo and 7B.

Skipped without one. The largest model takes 14 GB of weights and about as much again.
"""

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoConfig, LlamaConfig, PretrainedConfig

from circuit import milliseconds
from qpeft.circuits import build_ansatz, qubits_for_dimension
from qpeft.quantum import ExactBackend
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.quantum.starts import random_angles
from qpeft.records import MethodSpec
from qpeft.training.studies.timing import quartiles, take_turns, timed_step, wall
from step import prepare

BURST = 20
LORA = MethodSpec(name="lora", options={"r": 4, "lora_alpha": 8, "target_modules": "all-linear"})
QPA = MethodSpec(name="qpa", options={"n_mlp": 2048}, over=LORA)
METHODS = {
    "lora": (LORA, "exact"),
    "qpa": (QPA, "exact"),
    "qpa, triton": (QPA, "exact:kernel=triton"),
    "qaa": (MethodSpec(name="qaa"), "exact"),
}
KINDS = [["global", "local"], 6]  # of GPT-Neo's attention
MODELS: dict[str, PretrainedConfig] = {
    "GPT-2": GPT2Config(),
    "GPT-Neo-125M": GPTNeoConfig(hidden_size=768, num_layers=12, num_heads=12, attention_types=[KINDS]),
    "7B": LlamaConfig(),
}


def burst(run: Callable[[], Tensor]) -> tuple[float, ...]:
    """Seconds of one of many calls in a row."""
    began = wall(run())
    for _ in range(BURST):
        last = run()
    return ((wall(last) - began) / BURST,)


def compared(kernels: dict[str, Callable[[], Tensor]], turns: int) -> dict[str, Any]:
    """Both kernels in turns, and how far their gradients are apart."""
    apart = (kernels["torch"]() - kernels["triton"]()).abs().max().item()
    times = take_turns({name: partial(burst, run) for name, run in kernels.items()}, turns, 2)
    row: dict[str, Any] = {f"{name}_ms": milliseconds(taken)[1] for name, taken in times.items()}
    row["ratio"] = quartiles([a[0] / b[0] for a, b in zip(times["torch"], times["triton"], strict=True)])
    return row | {"gradients_apart": apart}


def circuit(n_qubits: int, depth: int, device: str, turns: int) -> dict[str, Any]:
    """QPA's circuit, forward and backward."""
    made = build_ansatz("ry_cnot", n_qubits, depth)
    angles = random_angles(made.n_parameters).to(device).requires_grad_()
    readout = torch.randn(2**n_qubits).to(device)

    def run(backend: ExactBackend) -> Tensor:
        return torch.autograd.grad(backend.probabilities(made, angles), angles, readout)[0]

    kernels = {name: partial(run, ExactBackend(kernel=name)) for name in ("torch", "triton")}
    return {"n_qubits": n_qubits, "depth": depth, **compared(kernels, turns)}


def layer(ansatz: str, depth: int, d: int, tokens: int, device: str, turns: int) -> dict[str, Any]:
    """QAA's layer, forward and backward."""
    made = build_ansatz(ansatz, qubits_for_dimension(d), depth)
    x = torch.randn(tokens, d).to(device).requires_grad_()
    angles = random_angles(made.n_parameters).to(device).requires_grad_()
    cotangent = torch.randn(tokens, made.n_qubits).to(device)

    def run(kernel: str) -> Tensor:
        read = EmbeddedCircuit(made, backend=ExactBackend(kernel=kernel))
        return torch.autograd.grad(read(x, angles), (x, angles), cotangent)[1]

    kernels = {name: partial(run, name) for name in ("torch", "triton")}
    return {"ansatz": ansatz, "depth": depth, "d": d, "tokens": tokens, **compared(kernels, turns)}


def steps(name: str, config: PretrainedConfig, size: tuple[int, int], device: str, turns: int) -> list[dict[str, Any]]:
    """Optimizer steps of each method over LoRA's, one method after another holding the model."""
    ids = torch.randint(2, config.vocab_size, size).to(device)
    parts: dict[str, tuple[float, float, float]] = {}
    for method, (spec, backend) in METHODS.items():
        torch.manual_seed(0)
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        trained, optimizer = prepare(model, spec, backend)
        times = take_turns({method: partial(timed_step, trained, optimizer, ids)}, turns, 3)
        parts[method] = quartiles([sum(t) for t in times[method]])
        del model, trained, optimizer
        gc.collect()
    own = parts["lora"][1]
    return [
        {"model": name, "method": method, "tokens": ids.numel(), "step_ms": 1e3 * three[1], "ratio": three[1] / own}
        for method, three in parts.items()
    ]


def measure(*, quick: bool) -> dict[str, Any]:
    """Everything, or why nothing."""
    if not torch.cuda.is_available():
        return {"skipped": "no GPU here"}
    turns = 5 if quick else 15
    circuits = [circuit(n, 8, "cuda", turns) for n in ((5, 10) if quick else range(4, 13))]
    sizes = [(768, 256)] if quick else [(768, 256), (768, 4096), (4096, 4096)]
    layers = [layer(*kind, *size, "cuda", turns) for kind in (("rx_cnot", 1), ("ry_cnot", 2)) for size in sizes]
    names = ["GPT-2"] if quick else list(MODELS)
    rows = [row for name in names for row in steps(name, MODELS[name], (4, 512), "cuda", turns)]
    return {"device": torch.cuda.get_device_name(), "circuits": circuits, "layers": layers, "steps": rows}
