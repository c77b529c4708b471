"""Time of one optimizer step: QPA over LoRA against LoRA, same model, same batch, alternating in one process.

    python benchmarks/step.py --steps 40 --out benchmarks/results/step.json

The generator's share is measured beside it: one forward and backward of circuit and mapping without the model.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from qpeft.qpa import QPAOptimizer
from qpeft.records import MethodSpec, ModelSpec, TrainSpec, write_atomically
from qpeft.training.methods import build_method
from qpeft.training.models import load_base
from qpeft.training.studies.timing import Parts, take_turns, timed_step

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


def taker(model: Any, optimizer: torch.optim.Optimizer, ids: torch.Tensor) -> Callable[[], Parts]:
    """A step, to be called in turns."""
    return lambda: timed_step(model, optimizer, ids)


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
    times = take_turns({name: taker(*pair, ids) for name, pair in ready.items()}, arguments.steps, 5)
    reference = median(map(sum, times["lora"]))
    rows = []
    for name, parts in times.items():
        optimizer = ready[name][1]
        generated = optimizer.plan.m if isinstance(optimizer, QPAOptimizer) else None
        row = {
            "method": name,
            "generated": generated,
            "model_ms": 1e3 * median(forward + backward for forward, backward, _ in parts),
            "optimizer_ms": 1e3 * median(part[2] for part in parts),
            "step_ms": 1e3 * median(map(sum, parts)),
            "ratio": median(sum(a) / sum(b) for a, b in zip(parts, times["lora"], strict=True)),
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
