"""The update of SoRA, ``(alpha / r) B (g * (A x))``, beside a linear layer (arXiv:2311.11696)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from qpeft.tuners._linear import LinearLayer, layers_of
from qpeft.tuners._residual import exact
from qpeft.tuners.sora.config import SoraConfig


class SoraDelta(nn.Module):
    """The update of one linear layer.

    Args:
        config: A checked config.
        d_in: Width of the layer's input.
        d_out: Width of its output.

    Attributes:
        A: shape ``(r, d_in)``.
        B: shape ``(d_out, r)``; zero at the start, so that the model computes what it did.
        gate: g, shape ``(r,)``.
    """

    insertion = "parallel"

    def __init__(self, config: SoraConfig, d_in: int, d_out: int) -> None:
        super().__init__()
        self.config = config
        self.scaling = config.lora_alpha / config.r
        self.dropout = nn.Dropout(config.lora_dropout)
        self.A = nn.Parameter(torch.empty(config.r, d_in))
        self.B = nn.Parameter(torch.zeros(d_out, config.r))
        self.gate = nn.Parameter(torch.ones(config.r))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        if config.gate_init == "normal":
            nn.init.normal_(self.gate)
        if not config.init_weights:
            nn.init.kaiming_uniform_(self.B, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """The update, shape ``(..., d_out)``, from x of shape ``(..., d_in)``; float32."""
        with exact(x):
            gated = linear(self.dropout(x.float()), self.A.float()) * self.gate.float()
            return linear(gated, self.B.float()) * self.scaling

    @torch.no_grad()
    def weight(self) -> Tensor:
        """The update as a matrix, ``(alpha / r) B diag(g) A``, shape ``(d_out, d_in)``, float32."""
        return self.scaling * (self.B.float() * self.gate.float()) @ self.A.float()


class SoraLinear(LinearLayer):
    """A linear layer with the updates of its adapters; peft's ``all-linear`` knows it by the word in its name."""

    container = "sora_modules"


def sora_layers(model: nn.Module, adapter_name: str) -> dict[str, SoraLinear]:
    """Names, as ``named_modules`` gives them, and layers that an adapter reaches.

    Raises:
        ModelError: The model has no SoRA adapter of this name.
    """
    return layers_of(model, SoraLinear, adapter_name, "Sora")
