"""The table of positions, and the body of a model with the table added to what it gives to the output head."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qpeft.tuners._residual import ResidualLayer, added
from qpeft.tuners.headprefix.config import HeadPrefixConfig


class HeadPrefixDelta(nn.Module):
    """P_t of positions t.

    Args:
        config: A checked config.
        width: d, the width of the hidden states.

    Attributes:
        table: P, shape ``(num_positions, d)``, float32; zero at the start.
    """

    insertion = "after"

    def __init__(self, config: HeadPrefixConfig, width: int) -> None:
        super().__init__()
        start = torch.zeros if config.init_weights else torch.randn
        self.table = nn.Parameter(start(config.num_positions, width, dtype=torch.float32))

    def forward(self, positions: Tensor) -> Tensor:
        """Rows of P, shape ``(..., d)``, for positions of shape ``(...)``; zeros where P has no such row."""
        # The body of a model over several devices begins on another one than it ends.
        positions, last = positions.to(self.table.device), self.table.shape[0] - 1
        rows = functional.embedding(positions.clamp(0, last), self.table)
        inside = (positions >= 0) & (positions <= last)
        return torch.where(inside.unsqueeze(-1), rows, 0.0)


class HeadPrefixLayer(ResidualLayer):
    """The body of a model, whose last hidden states get the rows of their positions.

    The table is added to the body's output, not to the head's input: the head may be given some positions only
    (``logits_to_keep``), and only the body is told which positions it sees.
    """

    container = "headprefix_modules"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The body with the tables of the active adapters; what it returns is of the kind the body returns."""
        active = [] if self._disable_adapters else self.active_deltas()
        if not active:
            return self.base_layer(*args, **kwargs)
        call = dict(zip(inspect.signature(self.base_layer.forward).parameters, args, strict=False)) | kwargs
        # Read before the call, in which the body adds the new positions to the cache.
        cache = call.get("past_key_values")
        past = 0 if cache is None else cache.get_seq_length()
        out = self.base_layer(*args, **kwargs)
        hidden = y = out[0]
        positions = positions_of(call, past, hidden)
        for delta in active:
            y = added(y, delta(positions).to(y.device))
        if isinstance(out, tuple):
            return (y, *out[1:])
        out.last_hidden_state = y
        if out.get("hidden_states") and out.hidden_states[-1] is hidden:
            out.hidden_states = (*out.hidden_states[:-1], y)
        return out

    def get_decoder(self) -> nn.Module:
        """What transformers asks a model's body for; the body itself would answer without the table."""
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """What the model sets on its body (new embeddings, say) is set on the body, not on the layer around it."""
        body = self.__dict__.get("_modules", {}).get("base_layer")
        own = name in self.__dict__ or hasattr(type(self), name) or name.startswith("_") or name in self._modules
        if body is None or own or not hasattr(body, name):
            super().__setattr__(name, value)
        else:
            setattr(body, name, value)


def positions_of(call: Mapping[str, Any], past: int | Tensor, hidden: Tensor) -> Tensor:
    """The position of every new token in its text, shape ``(T,)``, ``(1, T)`` or ``(batch, T)``.

    The call's own ``position_ids`` hold; where a family gives them one row an axis, the first counts the text. Without
    them a 2-D ``attention_mask`` is counted, as ``generate`` does, and without both the tokens follow the cache.

    Args:
        call: Arguments of the body by name.
        past: Positions in the cache before the call.
        hidden: What the body returned, shape ``(batch, T, d)``.
    """
    length = hidden.shape[1]
    given, mask = call.get("position_ids"), call.get("attention_mask")
    if isinstance(given, Tensor):
        return given[0] if given.dim() == 3 else given
    if isinstance(mask, Tensor) and mask.dim() == 2:
        return (mask.long().cumsum(-1) - 1)[:, -length:]
    return torch.arange(length, device=hidden.device) + past
