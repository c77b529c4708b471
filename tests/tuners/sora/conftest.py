"""Pieces of the SoRA tests: a tiny GPT-2, models whose adapter has trained-looking numbers, a regression on gates."""

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from torch import nn

from qpeft.tuners._peft import register
from qpeft.tuners.sora import SoraConfig, SoraDelta, SoraModel
from tiny_models import tiny_llama

register("sora", SoraConfig, SoraModel)
ROWS, GATES, XI = 64, 16, 0.1


def tiny_gpt2(**overrides: Any) -> Any:
    """A random GPT-2, whose linear layers are Conv1D and whose head shares its weight; equal at each call."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(5)
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 97}
    return GPT2LMHeadModel(GPT2Config(bos_token_id=1, eos_token_id=1, **{**sizes, **overrides})).eval()


BASES = {"llama": lambda: tiny_llama().eval(), "gpt2": tiny_gpt2}


@pytest.fixture
def make_base() -> Callable[[str], Any]:
    """Builds ``llama`` or ``gpt2`` in evaluation mode."""
    return lambda family: BASES[family]()


@pytest.fixture
def trained(make_base: Callable[[str], Any]) -> Callable[..., Any]:
    """Builds a SoRA model with random A, B and gates, some of which are zero; equal at each call."""

    def build(family: str = "llama", zeros: bool = True, **options: Any) -> Any:
        torch.manual_seed(11)
        config = SoraConfig(task_type="CAUSAL_LM", init_weights=False, **options)
        model = peft.get_peft_model(make_base(family), config).eval()
        with torch.no_grad():
            for place, (name, p) in enumerate((n, p) for n, p in model.named_parameters() if n.endswith(".gate")):
                assert "sora_modules" in name
                if zeros:
                    p[place % p.numel()] = 0.0
                    p[0] = 0.0
        return model

    return build


@pytest.fixture
def logits(ids: torch.Tensor) -> Callable[[Any], torch.Tensor]:
    """Logits of a model in evaluation mode for fixed tokens."""

    def compute(model: Any) -> torch.Tensor:
        with torch.no_grad():
            out: torch.Tensor = model.eval()(input_ids=ids).logits
        return out

    return compute


class Regression(nn.Module):
    """Its output with SoRA is ``x g``: B is a row of ones, A the identity, the base weight zero."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(GATES, 1, bias=False)
        nn.init.zeros_(self.lin.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin(x)[:, 0]


@pytest.fixture
def regression() -> Callable[..., tuple[Any, SoraDelta]]:
    """Builds a linear regression whose coefficients are the gates, and its update; equal at each call."""

    def build(**options: Any) -> tuple[Any, SoraDelta]:
        torch.manual_seed(1)
        config = SoraConfig(r=GATES, lora_alpha=GATES, target_modules=["lin"], prox_lambda=XI, **options)
        model = peft.get_peft_model(Regression(), config)
        delta = model.base_model.model.lin.delta("default")
        with torch.no_grad():
            delta.A.copy_(torch.eye(GATES))
            delta.B.fill_(1.0)
        return model, delta

    return build


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """X of shape (64, 16) and y of shape (64,), double precision; half of the true coefficients are zero."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, GATES, generator=generator, dtype=torch.float64)
    truth = torch.tensor([1, -1, 0.8, -0.8, 0.6, -0.6, 0.5, -0.5] + 8 * [0], dtype=torch.float64)
    return x, x @ truth + 0.1 * torch.randn(ROWS, generator=generator, dtype=torch.float64)
