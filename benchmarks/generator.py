"""QPA's generator: against the structure of the released code, and its share of a step of a model of 7B size.

The released code generates in every forward of the adapter, gate by gate; ours once an optimizer step, however many
micro-batches it accumulates. Its structure runs on TorchQuantum in the interpreter QPEFT_PEER_PYTHON.
"""

import gc
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from circuit import Worker, against, milliseconds, timed
from qpeft.qpa import QPAConfig
from qpeft.qpa.generator import Generator
from qpeft.training.studies.timing import take_turns

GPT2_HEAD = 4 * (768 + 50257)  # LoRA of rank 4 on GPT-2's head, as in Table 8
LAYERS, HIDDEN, INNER, VOCABULARY = 32, 4096, 11008, 32000  # of Llama-2-7B


def ours(m: int, n_mlp: int, preset: str) -> tuple[Callable[[], object], Generator]:
    """Forward and backward of the sum of squares, a new basis order before it where the preset draws one."""
    made = Generator(m, QPAConfig(n_mlp=n_mlp, preset=preset))

    def run() -> object:
        made.redraw()
        return torch.autograd.grad(made().square().sum(), list(made.parameters()))

    return run, made


def against_released(sizes: tuple[int, ...], turns: int) -> list[dict[str, Any]]:
    """Ours over the same numbers, the released structure in turns."""
    other = os.environ.get("QPEFT_PEER_PYTHON")
    if other is None:
        return [{"skipped": "set QPEFT_PEER_PYTHON to an interpreter that has torchquantum"}]
    worker, rows = Worker(other), []
    for n_mlp in sizes:
        run, made = ours(GPT2_HEAD, n_mlp, "released")
        task = {"peer": "generator", "n_qubits": made.n_qubits, "depth": 8, "more": [GPT2_HEAD, n_mlp]}
        task |= {"angles": torch.randn(8 * made.n_qubits).tolist(), "readout": [0.0]}
        first = worker.ask(task)
        if "error" in first:
            rows.append({"n_mlp": n_mlp, "skipped": first["error"]})
            continue
        row = {"n_mlp": n_mlp, "n_qubits": made.n_qubits, **against(run, worker, task, turns)}
        rows.append(row)
        print(f"n_mlp={n_mlp}: the released structure takes {row['ratio'][1]:.1f} times as long", flush=True)
    worker.close()
    return rows


def model_step(layers: int, tokens: int) -> Callable[[], object]:
    """Forward, and backward to the hidden states, of so many layers and the head at 7B width, weights frozen."""
    config = LlamaConfig(hidden_size=HIDDEN, intermediate_size=INNER, num_attention_heads=32, vocab_size=VOCABULARY)
    config.num_hidden_layers = layers
    model = LlamaForCausalLM(config).requires_grad_(False)
    x = torch.randn(1, tokens, HIDDEN).requires_grad_()
    labels = torch.randint(0, VOCABULARY, (1, tokens))
    return lambda: torch.autograd.grad(model(inputs_embeds=x, labels=labels).loss, x)


def share_of_7b(m: int, tokens: int, turns: int) -> dict[str, Any]:
    """Measured: one and two layers with the head, and the generator. From these: a step of 32 layers."""
    runs = {"generator": ours(m, 2048, "recommended")[0]}
    runs |= {f"{layers} layers": model_step(layers, tokens) for layers in (1, 2)}
    times = take_turns({name: partial(timed, run, 1) for name, run in runs.items()}, turns, 1)
    seconds = {name: milliseconds(taken)[1] / 1e3 for name, taken in times.items()}
    layer = seconds["2 layers"] - seconds["1 layers"]
    step = seconds["1 layers"] + (LAYERS - 1) * layer
    share = seconds["generator"] / step
    print(f"7B: {seconds}, a step about {step:.0f} s, the generator {100 * share:.1f} %", flush=True)
    gc.collect()
    return {"m": m, "tokens": tokens, "measured_s": seconds, "step_s": step, "share": share}


def measure(*, quick: bool) -> dict[str, Any]:
    """Both."""
    torch.set_num_threads(1)
    sizes = (512,) if quick else (256, 512, 1024, 2048, 4096, 8192)
    rows = against_released(sizes, 3 if quick else 9)
    return {"released": rows, "seven_b": None if quick else share_of_7b(33_000_000, 256, 3)}
