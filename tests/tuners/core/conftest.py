"""Pieces of the core tests: small bases of three kinds, and models whose adapter has trained-looking numbers."""

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch

import qpeft
from tiny_families import FAMILIES
from tiny_models import tiny_llama

BASES: dict[str, Callable[[], Any]] = {
    "llama": tiny_llama,
    "gpt2": FAMILIES["gpt2"],  # linear layers are Conv1D
    "gemma": FAMILIES["gemma"],  # the head is tied
}


@pytest.fixture
def make_base() -> Callable[[str], Any]:
    """Builds a base model in evaluation mode; equal at each call."""
    return lambda family: BASES[family]().eval()


@pytest.fixture
def trained(make_base: Callable[[str], Any]) -> Callable[..., Any]:
    """Builds a core model with random numbers and basis; equal at each call."""

    def build(family: str = "llama", base: Any = None, **options: Any) -> Any:
        torch.manual_seed(11)
        wanted = {"r": 4, "basis": "random", "target_modules": "all-linear", "init_weights": False, **options}
        config = qpeft.CoreConfig(task_type="CAUSAL_LM", **wanted)
        return peft.get_peft_model(make_base(family) if base is None else base, config).eval()

    return build


@pytest.fixture
def logits(ids: torch.Tensor) -> Callable[[Any], torch.Tensor]:
    """Logits of a model in evaluation mode for fixed tokens."""

    def compute(model: Any) -> torch.Tensor:
        with torch.no_grad():
            out: torch.Tensor = model.eval()(input_ids=ids).logits
        return out

    return compute
