"""Where bottleneck adapters go in a model, as peft's tuner model."""

from torch import nn

from qpeft.tuners._residual import ResidualLayer, ResidualModel
from qpeft.tuners.ffa.config import FFAConfig
from qpeft.tuners.ffa.layer import FFADelta


class FFALayer(ResidualLayer):
    """A module of the base model with bottlenecks after, beside or before it."""

    container = "ffa_modules"


class FFALinear(FFALayer):
    """Bottlenecks at a linear layer."""


class FFAModel(ResidualModel):
    """A base model with bottleneck adapters at its attention and feed-forward modules, or wherever the config says."""

    prefix = "ffa_"
    tuner_layer_cls = FFALayer
    linear_layer_cls = FFALinear

    def build_delta(self, config: FFAConfig, d_in: int, d_out: int) -> nn.Module:
        """The bottleneck of one place."""
        return FFADelta(config, d_in, d_out)
