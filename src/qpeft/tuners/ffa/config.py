"""FFAConfig: where the bottlenecks go, how narrow they are, and what bends them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from qpeft.errors import ConfigError
from qpeft.tuners._residual import INSERTIONS, ResidualConfig, check_fields
from qpeft.tuners._sites import PLACEMENTS

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "relu": functional.relu,
    "tanh": torch.tanh,
    "silu": functional.silu,
    "none": nn.Identity(),
}
COUNT = ("a whole number of at least 1", lambda value: type(value) is int and value >= 1)
SWITCH = ("true or false", lambda value: isinstance(value, bool))


def _is_number(value: Any) -> bool:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


CHECKS: dict[str, tuple[str, Any]] = {
    "bottleneck": ("None or a whole number of at least 1", lambda value: value is None or COUNT[1](value)),
    "reduction": COUNT,
    "use_bias": SWITCH,
    "init_weights": SWITCH,
    "dropout": ("a number of at least 0 and below 1", lambda value: _is_number(value) and 0 <= value < 1),
    "scale": ("a number above 0", lambda value: _is_number(value) and value > 0),
}


@dataclass
class FFAConfig(ResidualConfig):
    """Bottleneck adapters as a peft config: ``h + scale * W2 act(W1 h)``.

    W2 starts at zero, so that the model computes what it did. With ``insertion="after"`` this is the sequential
    adapter of Houlsby et al. (arXiv:1902.00751), with ``insertion="parallel"`` the parallel one of He et al.
    (arXiv:2110.04366). ``FFAConfig(placement="head")`` is the FFA of the QPA paper (arXiv:2410.09846): before the
    output head, b = d/4, no bias, 294,912 numbers on GPT-2; its activation is not stated there. It sits after the
    final norm, whose output the head reads, so that a head tied to the embedding stays whole.

    >>> FFAConfig(placement="head").reduction
    4

    Args:
        placement: ``attention``, ``feed_forward``, ``both`` or ``head`` (before the output head), by model family;
            ignored where ``target_modules`` names modules.
        insertion: ``after`` a module (sequential), ``parallel`` to it, which may be a linear layer of two widths, or
            ``before`` it.
        bottleneck: b, the width between W1 and W2; None is d // reduction.
        reduction: d / b, with d the width W1 reads; at most d.
        activation: ``gelu``, ``relu``, ``tanh``, ``silu`` or ``none``.
        use_bias: Add a vector in the bottleneck and one to the update. (peft gives the name ``bias`` another meaning.)
        dropout: Chance that a number in the bottleneck is dropped while training.
        scale: Factor on the update.
        target_modules: See ``ResidualConfig``.

    Raises:
        ConfigError: A value is out of its range, or ``parallel`` at ``head``: the final norm is not linear, what is
            beside it reads hidden states of another size than the head does.
    """

    METHOD: ClassVar[str] = "ffa"

    placement: str = "both"
    insertion: str = "after"
    bottleneck: int | None = None
    reduction: int = 4
    activation: str = "gelu"
    use_bias: bool = False
    dropout: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check every field at the door."""
        super().__post_init__()
        check_fields(self, CHECKS, {"placement": PLACEMENTS, "insertion": INSERTIONS, "activation": ACTIVATIONS})
        if self.target_modules is None and (self.placement, self.insertion) == ("head", "parallel"):
            raise ConfigError(
                "ffa.insertion must be 'after' or 'before' where ffa.placement is 'head'; got 'parallel', which would "
                "stand beside the final norm; use insertion='after', as the paper does"
            )
