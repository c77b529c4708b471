"""The update of SoRA, ``(alpha / r) B (g * (A x))``, beside a linear layer (arXiv:2311.11696)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from qpeft.errors import ModelError
from qpeft.tuners._peft import check_adapters_to_merge
from qpeft.tuners._residual import ResidualLayer, exact
from qpeft.tuners.sora.config import SoraConfig

PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


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


class SoraLinear(ResidualLayer):
    """A linear layer with the updates of its adapters; peft's ``all-linear`` knows it by the word in its name."""

    container = "sora_modules"

    def delta(self, adapter_name: str) -> SoraDelta:
        """The update of one adapter."""
        found: SoraDelta = self.deltas[adapter_name]  # type: ignore[assignment]
        return found

    def base_weight(self) -> Tensor:
        """The weight that an update can be added to.

        Raises:
            ModelError: The weight is quantised or sharded.
        """
        base = self.get_base_layer()
        weight = getattr(base, "weight", None)
        if weight is None or type(weight.data) is not Tensor or weight.dtype not in PLAIN:
            kind = "no weight" if weight is None else f"a {type(weight.data).__name__} of {weight.dtype}"
            raise ModelError(
                f"an adapter can be merged only into a plain weight of floating point numbers; {type(base).__name__} "
                f"has {kind}; keep the adapter as it is, or load the base model without quantisation and merge there"
            )
        return weight.data

    def update(self, adapter_name: str) -> Tensor:
        """The change of the base weight, in its shape."""
        change = self.delta(adapter_name).weight()
        return change.T if isinstance(self.get_base_layer(), Conv1D) else change

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add updates to the base weight.

        Args:
            safe_merge: Refuse where the result is not finite.
            adapter_names: None is the active adapters.

        Raises:
            ModelError: The weight is quantised or sharded, or the result is not finite.
        """
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.deltas:
                weight = self.base_weight()
                merged = weight + self.update(name)
                if safe_merge and not torch.isfinite(merged).all():
                    raise ModelError(f"adapter {name!r} would merge to values that are not finite; it seems broken")
                weight.copy_(merged)
                self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take every merged update out again; equal to before up to the rounding of the base weight."""
        while self.merged_adapters:
            name = self.merged_adapters.pop()
            weight = self.base_weight()
            weight.copy_(weight - self.update(name))


def sora_layers(model: nn.Module, adapter_name: str) -> dict[str, SoraLinear]:
    """Names, as ``named_modules`` gives them, and layers that an adapter reaches.

    Raises:
        ModelError: The model has no SoRA adapter of this name.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, SoraLinear)}
    found = {name: layer for name, layer in layers.items() if adapter_name in layer.deltas}
    if not found:
        known = sorted({adapter for layer in layers.values() for adapter in layer.deltas})
        raise ModelError(
            f"a model with a SoRA adapter named {adapter_name!r} was required; {type(model).__name__} has "
            f"{', '.join(known) or 'none'}; wrap it with peft.get_peft_model(model, SoraConfig(...)) first"
        )
    return found
