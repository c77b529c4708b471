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


def column_gates(block: FactorBlock, table: Tensor) -> Tensor:
    """For each factor and qubit of a block the product of its gates, shape ``(..., S * k, 2, 2)``."""
    gates = table_rows(table, block.rounds[0])
    for rows in block.rounds[1:]:
        gates = table_rows(table, rows) @ gates
    return gates


def kron_factors(block: FactorBlock, table: Tensor) -> list[Tensor]:
    """The factors of one block, each of shape ``(..., 2**k, 2**k)``, columns permuted as the block says."""
    gates = column_gates(block, table)
    batch, size = gates.shape[:-3], 2**block.n_qubits
    products = outer_chain(gates.reshape(*batch, -1, block.n_qubits, 4))
    factors = products.flatten(-2).index_select(-1, block.entries).view(*batch, -1, size, size)
    if block.phase is not None:
        factors = factors * block.phase
    return list(factors.unbind(-3))


def table_rows(table: Tensor, rows: Tensor | None) -> Tensor:
    """Some matrices of a table, or all of them for None."""
    return table if rows is None else table.index_select(-3, rows)


def outer_chain(vectors: Tensor) -> Tensor:
    """All products of one entry per vector, ``(..., k, a)`` to ``(..., a**k)``, the first vector outermost.

    A Kronecker product of matrices is this product of their flattened entries in another order; one
    reordering at the end costs less than strided products on the way.

    >>> outer_chain(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    tensor([ 3.,  5.,  6., 10.])
    """
    while (count := vectors.shape[-2]) > 1:
        if count % 2:
            return _outer(vectors[..., 0, :], outer_chain(vectors[..., 1:, :]))
        # Halving takes log2(k) products instead of k - 1.
        vectors = _outer(vectors[..., 0::2, :], vectors[..., 1::2, :])
    return vectors.squeeze(-2)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return (left.unsqueeze(-1) * right.unsqueeze(-2)).flatten(-2)
