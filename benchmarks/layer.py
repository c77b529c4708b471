"""QAA's layer: growth with width and tokens, its share of a transformer block, bytes it keeps for backward."""

from collections.abc import Callable
from functools import partial
from math import log2
from statistics import linear_regression
from typing import Any

import torch
from torch import Tensor
from transformers import GPTNeoConfig
from transformers.models.gpt_neo.modeling_gpt_neo import GPTNeoBlock

from circuit import milliseconds, timed
from qpeft.circuits import build_ansatz, qubits_for_dimension
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.quantum.starts import random_angles
from qpeft.training.studies.timing import quartiles, take_turns

CIRCUITS = (("rx_cnot", 1), ("ry_cnot", 2))  # of the paper, and of our preset


def ours(ansatz: str, depth: int, d: int, tokens: int) -> Callable[[], Tensor]:
    """Forward and backward of the embedded circuit."""
    read = EmbeddedCircuit(build_ansatz(ansatz, qubits_for_dimension(d), depth))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, d, generator=generator).requires_grad_()
    angles = random_angles(read.circuit.n_parameters).requires_grad_()
    cotangent = torch.randn(tokens, read.n_features, generator=generator)
    return lambda: torch.autograd.grad(read(x, angles), (x, angles), cotangent)[0]


def block(tokens: int) -> Callable[[], Tensor]:
    """Forward and backward of one block of GPT-Neo-125M, weights frozen as under an adapter."""
    config = GPTNeoConfig(hidden_size=768, num_heads=12, num_layers=2, attention_types=[[["global", "local"], 1]])
    config._attn_implementation = "eager"
    module = GPTNeoBlock(config, 0).requires_grad_(False)
    x = torch.randn(1, tokens, 768).requires_grad_()

    def run() -> Tensor:
        out = module(x)
        out = out[0] if isinstance(out, tuple) else out
        return torch.autograd.grad(out.sum(), x)[0]

    return run


def kept_bytes(ansatz: str, depth: int, d: int, tokens: int) -> int:
    """Between forward and backward, the hidden states themselves not counted."""
    read = EmbeddedCircuit(build_ansatz(ansatz, qubits_for_dimension(d), depth))
    x, angles = torch.randn(tokens, d).requires_grad_(), random_angles(read.circuit.n_parameters).requires_grad_()
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        read(x, angles)
    kept.pop(x.data_ptr(), None)
    return sum(kept.values())


def measure(*, quick: bool) -> dict[str, Any]:
    """All sizes in turns."""
    torch.set_num_threads(1)
    widths = (256, 768) if quick else (256, 512, 768, 1024, 2048, 4096, 8192)
    counts = (64, 256) if quick else (64, 128, 256, 512, 1024, 2048, 4096)
    sizes = [("rx_cnot", 1, d, 256) for d in widths] + [("rx_cnot", 1, 768, tokens) for tokens in counts]
    sizes += [("ry_cnot", 2, d, 256) for d in widths]
    runs: dict[str, Callable[[], tuple[float, ...]]] = {
        "|".join(map(str, size)): partial(timed, ours(*size)) for size in dict.fromkeys(sizes)
    }
    runs["block"] = partial(timed, block(256))
    times = take_turns(runs, 3 if quick else 5, 1)
    rows: list[dict[str, Any]] = []
    for name, taken in times.items():
        if name == "block":
            continue
        ansatz, depth, d, tokens = name.split("|")
        size = {"ansatz": ansatz, "depth": int(depth), "d": int(d), "tokens": int(tokens)}
        rows.append(
            {**size, "ms": milliseconds(taken), "kept_mb": kept_bytes(ansatz, int(depth), int(d), int(tokens)) / 1e6}
        )
    shares = {
        f"{ansatz} {depth}": list(
            quartiles([a[0] / b[0] for a, b in zip(times[f"{ansatz}|{depth}|768|256"], times["block"], strict=True)])
        )
        for ansatz, depth in CIRCUITS
    }
    return {"rows": rows, "shares": shares, "exponents": _exponents(rows)}


def _exponents(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    fits = []
    for of, other, value, theory in (("tokens", "d", 768, 1.0), ("d", "tokens", 256, 1.0)):
        points = sorted(
            {(row[of], row["ms"][1]) for row in rows if row["ansatz"] == "rx_cnot" and row[other] == value}
        )
        if len(points) > 2:
            slope = linear_regression(*zip(*((log2(a), log2(b)) for a, b in points), strict=True)).slope
            fits.append({"of": f"time in {of}, {other} = {value}", "fitted": slope, "theory": theory})
    return fits
