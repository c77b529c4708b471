"""Time of one optimizer step: QPA over LoRA against LoRA, same model, same batch, alternating in one process.

    python benchmarks/step.py --steps 40 --out benchmarks/results/step.json

The generator's share is measured beside it: one forward and backward of circuit and mapping without the model.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from qpeft.qpa import QPAOptimizer
from qpeft.records import MethodSpec, ModelSpec, TrainSpec, write_atomically
from qpeft.training.methods import build_method
from qpeft.training.models import load_base

LORA = MethodSpec(name="lora", options={"r": 4, "lora_alpha": 8, "target_modules": "all-linear"})


def qpa(n_mlp: int, preset: str) -> MethodSpec:
    """QPA over the LoRA of this benchmark."""
    return MethodSpec(name="qpa", options={"n_mlp": n_mlp, "preset": preset}, over=LORA)


def prepare(method: MethodSpec, model: str) -> tuple[Any, torch.optim.Optimizer]:
    """A model and its optimizer."""
    base = load_base(ModelSpec(name=model))
    built = build_method(base.model, method, 0)
    kind, options = built.optimizer(TrainSpec())
    parameters = options.pop("params", [p for _, p in built.named_trainable()])
    return built.model.train(), kind(parameters, **options)


def step(model: Any, optimizer: torch.optim.Optimizer, ids: torch.Tensor) -> tuple[float, float]:
    """Seconds of forward and backward, and of the optimizer."""
    began = time.perf_counter()
    model(input_ids=ids, labels=ids).loss.backward()
    middle = time.perf_counter()
    optimizer.step()
    optimizer.zero_grad()
    return middle - began, time.perf_counter() - middle


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--n-mlp", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    methods = {
        "lora": LORA,
        **{f"qpa {preset}": qpa(arguments.n_mlp, preset) for preset in ("recommended", "released")},
    }
    ready = {name: prepare(method, arguments.model) for name, method in methods.items()}
    ids = torch.randint(2, 4000, (arguments.batch, arguments.tokens), generator=torch.Generator().manual_seed(0))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ready}
    for turn in range(arguments.steps + 5):
        for name, (model, optimizer) in ready.items():
            taken = step(model, optimizer, ids)
            if turn >= 5:
                times[name].append(taken)
    reference = median(sum(pair) for pair in times["lora"])
    rows = []
    for name, pairs in times.items():
        optimizer = ready[name][1]
        generated = optimizer.plan.m if isinstance(optimizer, QPAOptimizer) else None
        row = {
            "method": name,
            "generated": generated,
            "model_ms": 1e3 * median(pair[0] for pair in pairs),
            "optimizer_ms": 1e3 * median(pair[1] for pair in pairs),
            "step_ms": 1e3 * median(sum(pair) for pair in pairs),
            "ratio": median(sum(a) / sum(b) for a, b in zip(pairs, times["lora"], strict=True)),
        }
        rows.append(row)
        print(
            f"{name:16} model {row['model_ms']:8.2f} ms  optimizer {row['optimizer_ms']:7.2f} ms  "
            f"step {row['step_ms']:8.2f} ms  ratio to lora {row['ratio']:.3f}"
        )
    print(
        f"{arguments.steps} alternating steps of {arguments.batch} x {arguments.tokens} tokens, "
        f"{torch.get_num_threads()} threads, lora step {1e3 * reference:.1f} ms"
    )
    if arguments.out:
        write_atomically(
            arguments.out, json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
