"""Between amplitudes and Pauli coefficients, and how a small matrix acts on a few axes of many."""

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

# Below this many values behind an axis a batched product falls to pieces; a larger dense matrix is faster.
_FEW = 4


def apply_matrix(values: Tensor, matrix: Tensor, axes: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Multiply some of the axes a flat last axis stands for by a matrix.

    >>> apply_matrix(torch.tensor([1.0, 2.0]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), [0], [2])
    tensor([2., 1.])

    Args:
        values: shape ``(..., prod(sizes))``.
        matrix: shape ``(..., rows, columns)``, columns the product of the sizes of the axes; leading axes broadcast.
        axes: one, or several neighbours in rising order.
        sizes: of all axes.

    Returns:
        Shape ``(..., rows * rest)``, the result in the place of the axes.
    """
    first, count = axes[0], len(axes)
    left, middle = prod(sizes[:first]), prod(sizes[first : first + count])
    right = prod(sizes[first + count :])
    if 1 < right <= _FEW:
        eye = torch.eye(right, dtype=matrix.dtype, device=matrix.device)
        product = matrix[..., :, None, :, None] * eye[:, None, :]
        matrix, middle, right = product.flatten(-2).flatten(-3, -2), middle * right, 1
    batch = values.shape[:-1]
    if right == 1:
        return (values.reshape(*batch, left, middle) @ matrix.mT).flatten(-2)
    if matrix.dim() > 2:
        return (matrix.unsqueeze(-3) @ values.reshape(*batch, left, middle, right)).flatten(-3)
    # matmul would reorder all values, twice, to make one product of many.
    many = values.reshape(-1, middle, right)
    return torch.bmm(matrix.expand(len(many), -1, -1), many).reshape(*batch, -1)


def move_axis(values: Tensor, source: int, target: int, sizes: Sequence[int]) -> Tensor:
    """Move one of the axes a flat last axis stands for.

    >>> move_axis(torch.arange(4), 0, 1, [2, 2])
    tensor([0, 2, 1, 3])
    """
    batch = values.dim() - 1
    split = values.reshape(*values.shape[:-1], *sizes)
    return split.movedim(batch + source, batch + target).flatten(batch)


def pauli_coefficients(states: Tensor) -> Tensor:
    """Coefficients ``tr(P rho)`` of pure states, ``rho = |psi><psi|``.

    >>> pauli_coefficients(torch.tensor([1.0, 0.0]))  # I, X, Y, Z
    tensor([1., 0., 0., 1.])

    Args:
        states: amplitudes, shape ``(..., 2**n)``, real or complex.

    Returns:
        Shape ``(..., 4**n)``, real, P over I, X, Y, Z per qubit, qubit 0 outermost.
    """
    n_qubits = states.shape[-1].bit_length() - 1
    rho = states.unsqueeze(-1) * states.conj().unsqueeze(-2)
    even, odd = _phases(n_qubits, states.device, states.dtype.to_real() if states.is_complex() else states.dtype)
    if not states.is_complex():
        return _pauli_sums(_interleave(rho, n_qubits), n_qubits, transpose=False) * even
    real, imaginary = (_pauli_sums(_interleave(part, n_qubits), n_qubits, False) for part in (rho.real, rho.imag))
    return real * even - imaginary * odd


def observable_matrices(coefficients: Tensor, *, hermitian: bool) -> Tensor:
    """The matrices ``sum_P o_P P`` of observables.

    >>> observable_matrices(torch.tensor([0.0, 0.0, 0.0, 1.0]), hermitian=False)
    tensor([[ 1.,  0.],
            [ 0., -1.]])

    Args:
        coefficients: o, shape ``(..., 4**n)``, real.
        hermitian: give the whole, complex matrix; else its real, symmetric part, enough for real states.

    Returns:
        Shape ``(..., 2**n, 2**n)``.
    """
    n_qubits = (coefficients.shape[-1].bit_length() - 1) // 2
    even, odd = _phases(n_qubits, coefficients.device, coefficients.dtype)
    real = _separate(_pauli_sums(coefficients * even, n_qubits, transpose=True), n_qubits)
    if not hermitian:
        return real
    return torch.complex(real, -_separate(_pauli_sums(coefficients * odd, n_qubits, transpose=True), n_qubits))


def _pauli_sums(values: Tensor, n_qubits: int, transpose: bool) -> Tensor:
    """Per qubit rho_00 + rho_11, rho_01 + rho_10, rho_01 - rho_10, rho_00 - rho_11, or the transposed map."""
    rows = [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, 0.0], [1.0, 0.0, 0.0, -1.0]]
    one = values.new_tensor(rows)
    one = one.mT if transpose else one
    two, sizes = torch.kron(one, one), [4] * n_qubits
    for qubit in range(0, n_qubits, 2):
        pair = [qubit, qubit + 1][: n_qubits - qubit]
        values = apply_matrix(values, two if len(pair) == 2 else one, pair, sizes)
    return values


def _interleave(rho: Tensor, n_qubits: int) -> Tensor:
    """Shape ``(..., 2**n, 2**n)`` to ``(..., 4**n)``: row and column bit of each qubit side by side."""
    batch = rho.dim() - 2
    order = [batch + axis for qubit in range(n_qubits) for axis in (qubit, n_qubits + qubit)]
    split = rho.reshape(*rho.shape[:-2], *[2] * (2 * n_qubits))
    return split.permute(*range(batch), *order).flatten(batch)


def _separate(values: Tensor, n_qubits: int) -> Tensor:
    batch = values.dim() - 1
    order = [batch + 2 * qubit + side for side in (0, 1) for qubit in range(n_qubits)]
    split = values.reshape(*values.shape[:-1], *[2] * (2 * n_qubits)).permute(*range(batch), *order)
    return split.reshape(*values.shape[:-1], 2**n_qubits, 2**n_qubits)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept must be of use in training, too
def _phases(n_qubits: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of i to the number of Y, for each Pauli word."""
    count = torch.zeros(1, dtype=torch.int64)
    for _ in range(n_qubits):
        count = (count[:, None] + torch.tensor([0, 0, 1, 0])).flatten()
    even, odd = torch.tensor([1, 0, -1, 0])[count % 4], torch.tensor([0, 1, 0, -1])[count % 4]
    return even.to(device, dtype), odd.to(device, dtype)
