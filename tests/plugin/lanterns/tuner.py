"""A tuner on qpeft's ResidualModel: hidden states scaled number by number."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from qpeft.method import Method
from qpeft.tuners import ResidualConfig, ResidualLayer, ResidualModel, register_method


@dataclass
class GlowConfig(ResidualConfig):
    """Where it glows, and how strongly."""

    METHOD: ClassVar[str] = "glow"

    placement: str = "feed_forward"
    strength: float = 1.0
    insertion: str = "after"


class GlowDelta(nn.Module):
    """``strength * gain * y``."""

    def __init__(self, config: GlowConfig, width: int) -> None:
        super().__init__()
        self.insertion, self.strength = config.insertion, config.strength
        self.gain = nn.Parameter(torch.zeros(width) if config.init_weights else torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        """The update."""
        return self.strength * self.gain * x.float()


class GlowLayer(ResidualLayer):
    """A module with its glow."""

    container = "glow_deltas"


class GlowLinear(GlowLayer):
    """A linear layer with its glow."""


class GlowModel(ResidualModel):
    """A base model that glows."""

    prefix = "glow_"
    tuner_layer_cls = GlowLayer
    linear_layer_cls = GlowLinear

    def build_delta(self, config: Any, d_in: int, d_out: int) -> nn.Module:
        """The delta of one place."""
        return GlowDelta(config, d_out)


register_method(Method("glow", "GLOW", "hidden states scaled number by number"), GlowConfig, GlowModel)
