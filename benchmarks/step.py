"""Time of one optimizer step: QPA over LoRA against LoRA, same model, same batch, alternating in one process.

    python benchmarks/step.py --steps 40 --out benchmarks/results/step.json

The embedded model with LoRA on every linear layer, and GPT-2 of true size (random weights) with LoRA on every linear
layer and, as in arXiv:2410.09846, on the head.
"""

import argparse
import gc
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from qpeft.qpa import QPAOptimizer
from qpeft.records import ExecutionSpec, MethodSpec, ModelSpec, TrainSpec, write_atomically
from qpeft.training.methods import build_method
from qpeft.training.models import load_base
from qpeft.training.studies.timing import Parts, quartiles, take_turns, timed_step

PRESETS = ("recommended", "released")


def gpt2() -> Any:
    """GPT-2 with random weights, equal at each call."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))


def embedded() -> Any:
    """The embedded model."""
    return load_base(ModelSpec(name="embedded")).model


# Of each case: the model, where LoRA sits, n_mlp, rows and tokens a step.
CASES: dict[str, tuple[Callable[[], Any], object, int, tuple[int, int]]] = {
    "embedded, every linear": (embedded, "all-linear", 512, (8, 128)),
    "GPT-2, every linear": (gpt2, "all-linear", 2048, (4, 128)),
    "GPT-2, head": (gpt2, ["lm_head"], 2048, (4, 128)),
}


def prepare(model: Any, method: MethodSpec, backend: str = "exact") -> tuple[Any, torch.optim.Optimizer]:
    """A model in training and its optimizer."""
    built = build_method(model, method, 0, ExecutionSpec(backend=backend))
    kind, options = built.optimizer(TrainSpec())
    parameters = options.pop("params", [p for _, p in built.named_trainable()])
    return built.model.train(), kind(parameters, **options)


def taker(model: Any, optimizer: torch.optim.Optimizer, ids: torch.Tensor) -> Callable[[], Parts]:
    """A step, to be called in turns."""
    return lambda: timed_step(model, optimizer, ids)


def case(name: str, steps: int, size: tuple[int, int] | None) -> list[dict[str, Any]]:
    """All contestants on one model."""
    make, targets, n_mlp, own_size = CASES[name]
    lora = MethodSpec(name="lora", options={"r": 4, "lora_alpha": 8, "target_modules": targets})
    methods = {"lora": lora} | {
        f"qpa {preset}": MethodSpec(name="qpa", options={"n_mlp": n_mlp, "preset": preset}, over=lora)
        for preset in PRESETS
    }
    ready = {method: prepare(make(), spec) for method, spec in methods.items()}
    ids = torch.randint(2, 4000, size or own_size, generator=torch.Generator().manual_seed(0))
    times = take_turns({method: taker(*pair, ids) for method, pair in ready.items()}, steps, 2)
    rows = []
    for method, parts in times.items():
        optimizer = ready[method][1]
        low, middle, high = quartiles([sum(a) / sum(b) for a, b in zip(parts, times["lora"], strict=True)])
        row = {
            "model": name,
            "method": method,
            "tokens": ids.numel(),
            "generated": optimizer.plan.m if isinstance(optimizer, QPAOptimizer) else None,
            "optimizer_ms": 1e3 * median(part[2] for part in parts),
            "step_ms": 1e3 * median(map(sum, parts)),
            "ratio": middle,
            "ratio_quartiles": [low, high],
        }
        rows.append(row)
        print(
            f"{name:24} {method:16} optimizer {row['optimizer_ms']:7.2f} ms  step {row['step_ms']:8.2f} ms  "
            f"over LoRA's {middle:.3f} [{low:.3f}, {high:.3f}]",
            flush=True,
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--size", type=int, nargs=2, help="rows and tokens of a step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.cases:
        rows += case(name, options.steps, tuple(options.size) if options.size else None)
        gc.collect()
    if options.out:
        write_atomically(options.out, json.dumps({"threads": options.threads, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
