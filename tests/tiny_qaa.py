"""A tiny Llama with QAA, and what tests look at in it."""

from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor

from qpeft.tuners import QAAConfig, QAADelta
from tiny_models import tiny_llama

RANDOM = {"init_weights": False, "task_type": "CAUSAL_LM"}


def logits(model: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = model.eval()(input_ids=ids).logits
    return out


def adapted(seed: int = 0, base: Any = None, **options: Any) -> Any:
    """A tiny Llama with QAA that does something."""
    base = base or tiny_llama()
    torch.manual_seed(seed)
    return get_peft_model(base, QAAConfig(**{**RANDOM, **options}))


def deltas(model: Any) -> dict[str, QAADelta]:
    return {name: module for name, module in model.named_modules() if isinstance(module, QAADelta)}
