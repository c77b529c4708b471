"""The bottleneck: hidden states down to a few numbers, bent, and up again."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from qpeft.errors import ConfigError
from qpeft.tuners._residual import exact
from qpeft.tuners.ffa.config import ACTIVATIONS, FFAConfig


class FFADelta(nn.Module):
    """The update of a hidden state, ``scale * (W2 act(W1 h + c1) + c2)``; c1 and c2 only with ``use_bias``.

    Args:
        config: A checked config.
        d_in: Width of h.
        d_out: Width of the update.

    Attributes:
        down: W1, shape ``(b, d_in)``, float32.
        up: W2, shape ``(d_out, b)``; zero at the start.
        down_bias: c1, shape ``(b,)``, or None.
        up_bias: c2, shape ``(d_out,)``, or None.

    Raises:
        ConfigError: The width is smaller than the reduction, so that no bottleneck is left.
    """

    def __init__(self, config: FFAConfig, d_in: int, d_out: int) -> None:
        super().__init__()
        b = d_in // config.reduction if config.bottleneck is None else config.bottleneck
        if b < 1:
            raise ConfigError(
                f"ffa.reduction must be at most the width of the hidden states, {d_in}; got {config.reduction}; lower "
                f"it, or set ffa.bottleneck"
            )
        self.insertion, self.activation = config.insertion, config.activation
        self.scale, self.dropout = float(config.scale), float(config.dropout)
        self.down = uniform((b, d_in), d_in)
        self.up = uniform((d_out, b), b)
        self.down_bias = uniform((b,), d_in) if config.use_bias else None
        self.up_bias = uniform((d_out,), b) if config.use_bias else None
        if config.init_weights:
            for parameter in (self.up, self.down_bias, self.up_bias):
                if parameter is not None:
                    nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """The update, shape ``(..., d_out)``, float32, of x, shape ``(..., d_in)``."""
        with exact(x):
            hidden = functional.linear(x.float(), self.down.float(), float_or_none(self.down_bias))
            hidden = ACTIVATIONS[self.activation](hidden)
            hidden = functional.dropout(hidden, self.dropout, self.training)
            return self.scale * functional.linear(hidden, self.up.float(), float_or_none(self.up_bias))


def uniform(shape: tuple[int, ...], fan_in: int) -> nn.Parameter:
    """The start of a linear layer in torch: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), float32."""
    bound = fan_in**-0.5
    return nn.Parameter(torch.empty(shape, dtype=torch.float32).uniform_(-bound, bound))


def float_or_none(bias: Tensor | None) -> Tensor | None:
    """A bias in float32, where there is one."""
    return None if bias is None else bias.float()
