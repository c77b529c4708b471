"""Frozen bases: leading singular vectors of a matrix, and random orthonormal columns."""

import torch
from torch import Tensor

Basis = tuple[Tensor, Tensor]
# Up to this smaller width the whole decomposition is taken; above it minutes a layer would go by.
EXACT = 1024
# Of the iteration for larger ones: vectors beyond r, and rounds.
EXTRA, ROUNDS = 16, 8


@torch.no_grad()
def singular_vectors(matrix: Tensor, r: int) -> Basis:
    """The r leading left and right singular vectors.

    >>> left, right = singular_vectors(torch.diag(torch.tensor([1.0, -3.0, 2.0])), 2)
    >>> left.T, (left.T @ torch.diag(torch.tensor([1.0, -3.0, 2.0])) @ right).round()
    (tensor([[0., 1., 0.], [0., 0., 1.]]), tensor([[3., 0.], [0., 2.]]))

    Args:
        matrix: Shape (d_out, d_in); computed in float32, or in float64 where it is that.
        r: From 1 to the smaller width.

    Returns:
        Shapes (d_out, r) and (d_in, r), orthonormal columns; the largest entry of each left one is positive, so that
        equal matrices have equal vectors. Equal at each call.
    """
    matrix = matrix.detach() if matrix.dtype == torch.float64 else matrix.detach().float()
    if min(matrix.shape) <= EXACT:
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        left, right = left[:, :r], right[:r].T
    else:
        devices = [matrix.device] if matrix.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            left, _, right = torch.svd_lowrank(matrix, q=min(2 * r + EXTRA, min(matrix.shape)), niter=ROUNDS)
        left, right = left[:, :r], right[:, :r]
    top = left.gather(0, left.abs().argmax(0, keepdim=True))
    signs = torch.where(top < 0, -1.0, 1.0)
    return (left * signs + 0.0).contiguous(), (right * signs + 0.0).contiguous()


@torch.no_grad()
def random_basis(d_out: int, d_in: int, r: int) -> Basis:
    """Orthonormal columns in directions drawn from torch's generator, shapes (d_out, r) and (d_in, r)."""
    left, right = (torch.linalg.qr(torch.randn(width, r))[0] for width in (d_out, d_in))
    return left, right
