"""Gate matrices from angles, and their Kronecker products over groups of qubits, all layers at once."""

import torch
from torch import Tensor

from qpeft.quantum.engine.plan import FactorBlock, Table


def gate_table(table: Table, angles: Tensor) -> Tensor:
    """All one-qubit matrices of a circuit, shape ``(..., G, 2, 2)``, for angles of shape ``(..., P)``."""
    if table.parameters is not None:
        angles = angles.index_select(-1, table.parameters)
    half = (angles / 2)[..., None, None]
    rotations = half.cos() * table.at_zero + half.sin() * table.at_pi
    if table.fixed is None:
        return rotations
    return torch.cat((rotations, table.fixed.expand(*angles.shape[:-1], -1, -1, -1)), -3)


def kron_factors(block: FactorBlock, table: Tensor) -> list[Tensor]:
    """The factors of one block, each of shape ``(..., 2**k, 2**k)``, rows permuted as the block says."""
    gates = _gates(table, block.rounds[0])
    for rows in block.rounds[1:]:
        gates = _gates(table, rows) @ gates
    stacked = kron_chain(gates.reshape(*gates.shape[:-3], -1, block.n_qubits, 2, 2))
    if block.rows is not None:
        stacked = stacked.flatten(-3, -2).index_select(-2, block.rows).view_as(stacked)
    if block.phase is not None:
        stacked = stacked * block.phase
    return list(stacked.unbind(-3))


def kron_chain(matrices: Tensor) -> Tensor:
    """Kronecker product along an axis: ``(..., k, a, a)`` to ``(..., a**k, a**k)``, first matrix outermost.

    >>> kron_chain(torch.eye(2).expand(3, 2, 2)).shape
    torch.Size([8, 8])
    """
    while (count := matrices.shape[-3]) > 1:
        # Halving takes log2(k) products instead of k - 1; an odd one is joined at once.
        if count % 2:
            return _kron(matrices[..., 0, :, :], kron_chain(matrices[..., 1:, :, :]))
        matrices = _kron(matrices[..., 0::2, :, :], matrices[..., 1::2, :, :])
    return matrices.squeeze(-3)


def _kron(left: Tensor, right: Tensor) -> Tensor:
    product = left[..., :, None, :, None] * right[..., None, :, None, :]
    return product.flatten(-4, -3).flatten(-2, -1)


def _gates(table: Tensor, rows: Tensor | None) -> Tensor:
    return table if rows is None else table.index_select(-3, rows)
