"""Numbers a network can use, read from basis-state probabilities."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from qpeft.errors import ShapeError
from qpeft.quantum.engine.states import basis_bits


def pauli_z(probabilities: Tensor) -> Tensor:
    """Expectation of Z on each qubit: the chance of reading 0 minus that of reading 1 (arXiv:2509.16244).

    >>> pauli_z(torch.tensor([0.0, 0.5, 0.0, 0.5]))  # qubit 0 is undecided, qubit 1 is in |1>
    tensor([ 0., -1.])

    Args:
        probabilities: shape ``(..., 2**n)``, n >= 1.

    Returns:
        Values in [-1, 1] for probabilities that sum to one, shape ``(..., n)``, qubit 0 first.

    Raises:
        ShapeError: the last axis is not a power of two, 2 or larger.
    """
    n_qubits = _n_qubits(probabilities)
    return probabilities @ _signs(n_qubits, probabilities.device, probabilities.dtype)


def marginal(probabilities: Tensor, wires: Sequence[int]) -> Tensor:
    """Probabilities of the outcomes of some wires, whatever the others show.

    >>> marginal(torch.tensor([0.1, 0.2, 0.3, 0.4]), wires=[0])
    tensor([0.3000, 0.7000])

    Args:
        probabilities: shape ``(..., 2**n)``, n >= 1.
        wires: different qubits; the first becomes the most significant bit of the result.

    Returns:
        Shape ``(..., 2**len(wires))``.

    Raises:
        ShapeError: the last axis is not 2**n, or the wires repeat or lie outside the register.
    """
    n_qubits = _n_qubits(probabilities)
    if not wires or len(set(wires)) != len(wires) or not all(0 <= wire < n_qubits for wire in wires):
        raise ShapeError(f"wires must be different numbers in 0..{n_qubits - 1}, at least one; got {list(wires)}")
    batch = probabilities.shape[:-1]
    others = [wire for wire in range(n_qubits) if wire not in wires]
    order = [*range(len(batch)), *(len(batch) + wire for wire in [*wires, *others])]
    split = probabilities.reshape(*batch, *(2,) * n_qubits).permute(order)
    return split.reshape(*batch, 2 ** len(wires), -1).sum(-1)


@lru_cache(maxsize=64)
def _signs(n_qubits: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return (1 - 2 * basis_bits(n_qubits)).to(device, dtype)


def _n_qubits(probabilities: Tensor) -> int:
    size = probabilities.shape[-1] if probabilities.dim() else 0
    if size < 2 or size & (size - 1):
        raise ShapeError(
            f"the last axis must be 2**n with n >= 1, one entry per basis state; got {size} "
            f"in shape {tuple(probabilities.shape)}"
        )
    return size.bit_length() - 1
