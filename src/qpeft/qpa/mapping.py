"""Mapping: the small network that turns basis bits and a probability into n_mlp adapter numbers (Eq. 6)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

# Rows that go through the hidden layers at a time where there are more than twice as many: the paper's layers hold
# 480 numbers a row, 960 with activations. For m = 33 million (125 MB) and the released preset, generating and its VJP
# added 1414 MB at n_mlp = 64 without and 718 MB with parts; at 512, 512 and 476 MB; at 2048, 421 MB, undivided.
ROWS = 1 << 13

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh}


class Whitening(nn.Module):
    """A fixed matrix on the last hidden units; a buffer, so that it is saved and not trained."""

    matrix: torch.Tensor

    def __init__(self, width: int) -> None:
        """The identity, until the mapping's hidden units are known."""
        super().__init__()
        self.register_buffer("matrix", torch.eye(width))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, width) to the same."""
        return hidden @ self.matrix


def whitening(hidden: torch.Tensor) -> torch.Tensor:
    """The matrix V S^-1 sqrt(rows) of hidden = U S V^T, shape (width, width).

    Hidden units times it are uncorrelated (about zero) and of mean square 1. Directions the rows do not reach, to
    rounding, become zero.

    Args:
        hidden: Shape (rows, width).
    """
    rows, width = hidden.shape
    _, sizes, directions = torch.linalg.svd(hidden.double(), full_matrices=False)
    least = sizes[0] * max(rows, width) * torch.finfo(hidden.dtype).eps
    inverse = torch.where(sizes > least, rows**0.5 / sizes, torch.zeros_like(sizes))
    matrix = torch.zeros(width, width, dtype=torch.float64, device=hidden.device)
    matrix[:, : len(sizes)] = directions.T * inverse
    return matrix.to(hidden.dtype)


class Mapping(nn.Sequential):
    """A chain of layers; of many rows, hidden layers keep nothing for backward but compute a part again at a time."""

    @torch.no_grad()
    def whiten(self, rows: torch.Tensor) -> None:
        """Set the whitening in front of the last layer from these rows, shape (rows, inputs)."""
        white = self[-2]
        assert isinstance(white, Whitening)
        white.matrix.copy_(whitening(self[:-2](rows)))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(rows, inputs) to (rows, outputs)."""
        if len(rows) <= 2 * ROWS or len(self) < 2:
            whole: torch.Tensor = super().forward(rows)  # type: ignore[no-untyped-call]
            return whole
        hidden = self[:-1]
        pieces = torch.split(rows, ROWS)
        parts = [checkpoint(hidden, piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
        out: torch.Tensor = self[-1](torch.cat(parts))
        return out


def build_mapping(
    inputs: int, widths: Sequence[int], n_mlp: int, activation: str, *, whiten: bool = False
) -> "Mapping":
    """A chain of Linear layers with biases, inputs -> widths -> n_mlp.

    With the paper's widths (32, 64, 128, 128, 64, 32, 32) it holds 38400 + 32 N + 33 n_mlp numbers for
    inputs = N + 1; Table 1 of the paper leaves out the last 32 -> 32 layer, every published count contains it.

    >>> sum(p.numel() for p in build_mapping(8, (32, 64, 128, 128, 64, 32, 32), 2048, "none").parameters())
    106208

    Args:
        inputs: Input width, N bits and usually one probability.
        widths: Hidden widths, may be empty.
        n_mlp: Output width.
        activation: ``none``, ``gelu``, ``relu`` or ``tanh``, between the layers.
        whiten: Put a `Whitening` in front of the last layer, an identity until ``Mapping.whiten`` is called.

    Returns:
        A module from (n_chunks, inputs) to (n_chunks, n_mlp).
    """
    sizes = [inputs, *widths, n_mlp]
    layers: list[nn.Module] = []
    for index, (wide_in, wide_out) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(wide_in, wide_out))
        if activation != "none" and index < len(sizes) - 2:
            layers.append(ACTIVATIONS[activation]())
    if whiten:
        layers.insert(len(layers) - 1, Whitening(sizes[-2]))
    return Mapping(*layers)


def collapse(mapping: nn.Sequential) -> nn.Linear:
    """The single affine layer an activation-free mapping is equal to.

    Args:
        mapping: A chain of Linear layers, as the released code has it, and whitening.

    Returns:
        One Linear layer with (inputs + 1) * n_mlp numbers and the same outputs.
    """
    first = next(layer for layer in mapping if isinstance(layer, nn.Linear))
    weight = torch.eye(first.in_features, dtype=torch.float64, device=first.weight.device)
    bias = torch.zeros_like(weight[0])
    for layer in mapping:
        if isinstance(layer, Whitening):
            weight, bias = layer.matrix.double().T @ weight, layer.matrix.double().T @ bias
        elif isinstance(layer, nn.Linear):
            weight, bias = layer.weight.double() @ weight, layer.weight.double() @ bias + layer.bias.double()
    flat = nn.Linear(weight.shape[1], weight.shape[0]).to(first.weight)
    with torch.no_grad():
        flat.weight.copy_(weight)
        flat.bias.copy_(bias)
    return flat


def effective_size(inputs: int, widths: Sequence[int], n_mlp: int, activation: str) -> int:
    """Free numbers of the mapping: all of them with an activation, those of one affine layer without.

    >>> effective_size(8, (32, 64, 128, 128, 64, 32, 32), 2048, "none")  # 106208 stored
    18432
    """
    sizes = [inputs, *widths, n_mlp]
    stored = sum((a + 1) * b for a, b in pairwise(sizes))
    return min(stored, (inputs + 1) * n_mlp) if activation == "none" else stored
