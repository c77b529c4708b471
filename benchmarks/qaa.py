"""QAA at the true size of GPT-Neo-125M (random weights): counts, its step against LoRA, its circuit against PennyLane.

    python benchmarks/qaa.py --steps 7 --out benchmarks/results/qaa.json

Methods take turns within one process, so that the ratios do not depend on what else the machine does.
"""

import argparse
import gc
import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from qpeft.circuits import build_ansatz
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.records import MethodSpec, write_atomically
from qpeft.training.methods import build_method
from qpeft.training.studies.timing import take_turns
from step import prepare, taker

METHODS = {
    "lora q,v r=4": MethodSpec(name="lora", options={"r": 4, "target_modules": ["q_proj", "v_proj"]}),
    "qaa paper": MethodSpec(name="qaa", options={"preset": "paper"}),
    "qaa text": MethodSpec(name="qaa", options={"preset": "text"}),
    "qaa recommended": MethodSpec(name="qaa"),
    "sora q,v r=8": MethodSpec(name="sora", options={"r": 8, "target_modules": ["q_proj", "v_proj"]}),
    "prefix 8": MethodSpec(name="prefix", options={"num_virtual_tokens": 8}),
}
REFERENCE = "lora q,v r=4"
CIRCUITS = (("rx_cnot", 1), ("ry_cnot", 2))  # of the paper, and of our preset
TIMED = (REFERENCE, "qaa paper", "qaa text", "qaa recommended")


def gpt_neo() -> Any:
    """GPT-Neo-125M with random weights, equal at each call."""
    torch.manual_seed(0)
    layers = [[["global", "local"], 6]]
    config = GPTNeoConfig(hidden_size=768, num_layers=12, num_heads=12, attention_types=layers)
    config.resid_dropout = config.embed_dropout = config.attention_dropout = 0.0
    return GPTNeoForCausalLM(config)


def counts() -> list[dict[str, Any]]:
    """Trainable numbers of each method on the true model."""
    rows = []
    for name, method in METHODS.items():
        built = build_method(gpt_neo(), method, 0)
        trainable = sum(p.numel() for _, p in built.named_trainable())
        rows.append({"method": name, "trainable": trainable})
        print(f"{name:20} {trainable:>9,} trainable numbers")
        del built
        gc.collect()
    return rows


def steps(tokens: int, turns: int) -> list[dict[str, Any]]:
    """Alternating optimizer steps of every method."""
    ready = {name: prepare(gpt_neo(), METHODS[name]) for name in TIMED}
    ids = torch.randint(2, 50000, (1, tokens), generator=torch.Generator().manual_seed(0))
    times = take_turns({name: taker(*pair, ids) for name, pair in ready.items()}, turns, 2)
    rows = []
    for name, taken in times.items():
        ratios = [sum(a) / sum(b) for a, b in zip(taken, times[REFERENCE], strict=True)]
        spread = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        forward, backward, optimizer = (1e3 * median(part) for part in zip(*taken, strict=True))
        rows.append(
            {
                "method": name,
                "forward_ms": forward,
                "backward_ms": backward,
                "optimizer_ms": optimizer,
                "ratio": median(ratios),
                "ratio_quartiles": [spread[0], spread[2]],
            }
        )
        print(
            f"{name:20} forward {forward:8.1f} ms  backward {backward:8.1f} ms  optimizer {optimizer:6.2f} ms  "
            f"step over LoRA's {median(ratios):.3f} [{spread[0]:.3f}, {spread[2]:.3f}]"
        )
    return rows


def pennylane_layer(gate: str, n_qubits: int, depth: int) -> Callable[[Tensor, Tensor], Tensor]:
    """AmplitudeEmbedding, rotations and CNOTs, expectations of Z: PennyLane, broadcast over tokens, backprop."""
    import pennylane as qml

    rotation = {"rx_cnot": qml.RX, "ry_cnot": qml.RY}[gate]

    @qml.qnode(qml.device("default.qubit", wires=n_qubits), interface="torch", diff_method="backprop")
    def node(x: Tensor, angles: Tensor) -> Any:
        qml.AmplitudeEmbedding(x, wires=range(n_qubits), pad_with=0.0, normalize=True)
        for layer in angles.view(depth, n_qubits):
            for wire in range(n_qubits):
                rotation(layer[wire], wires=wire)
            for wire in range(n_qubits - 1):
                qml.CNOT([wire, wire + 1])
        return [qml.expval(qml.PauliZ(wire)) for wire in range(n_qubits)]

    return lambda x, angles: torch.stack(node(x, angles), -1)


def layer(ansatz: str, depth: int, tokens: int, turns: int) -> dict[str, Any]:
    """QAA's circuit, d = 768, n = 10: values, gradients and time of both, in turns."""
    ours = EmbeddedCircuit(build_ansatz(ansatz, 10, depth))
    theirs = pennylane_layer(ansatz, 10, depth)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, 768, generator=generator).requires_grad_()
    angles = (torch.rand(10 * depth, generator=generator) * 6 - 3).requires_grad_()
    weights = torch.randn(10, generator=generator)

    def run(read: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        z = read(x, angles).float()
        return z.detach(), *torch.autograd.grad((z * weights).sum(), (x, angles))

    pairs = zip(run(ours), run(theirs), strict=True)
    error = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
    times: dict[str, list[float]] = {"ours": [], "pennylane": []}
    for _ in range(turns):
        for name, read in (("ours", ours), ("pennylane", theirs)):
            began = time.perf_counter()
            run(read)
            times[name].append(time.perf_counter() - began)
    ratios = [b / a for a, b in zip(times["ours"], times["pennylane"], strict=True)]
    spread = quantiles(ratios, n=4)
    mine, peer = (1e3 * median(times[name]) for name in ("ours", "pennylane"))
    print(
        f"{ansatz} depth {depth}, d=768, {tokens} tokens, forward and backward: ours {mine:.1f} ms, PennyLane "
        f"default.qubit {peer:.1f} ms, ratio {median(ratios):.1f} [{spread[0]:.1f}, {spread[2]:.1f}], largest "
        f"relative difference {error:.1e}"
    )
    return {
        "ansatz": ansatz,
        "depth": depth,
        "tokens": tokens,
        "ours_ms": mine,
        "pennylane_ms": peer,
        "ratio": median(ratios),
        "ratio_quartiles": [spread[0], spread[2]],
        "relative_difference": error,
        "pennylane": version("pennylane"),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    body = {
        "tokens": arguments.tokens,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "layers": [layer(*circuit, arguments.tokens, 25) for circuit in CIRCUITS],
        "counts": counts(),
        "steps": steps(arguments.tokens, arguments.steps),
    }
    if arguments.out:
        write_atomically(arguments.out, json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
