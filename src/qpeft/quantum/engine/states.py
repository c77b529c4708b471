"""States to start a circuit from: embedded vectors and basis states."""

import torch
from torch import Tensor

from qpeft.errors import ShapeError


def amplitude_embed(x: Tensor, n_qubits: int) -> Tensor:
    """Pad vectors with zeros to 2**n and scale them to length one (arXiv:2509.16244).

    A zero vector has no direction: it stays zero, and so does its gradient. A vector counts as zero if
    all its values are below 1e-19 (in float64, 1e-154), where the gradient would leave the number range.

    >>> amplitude_embed(torch.tensor([3.0, 0.0, 4.0]), n_qubits=2)
    tensor([0.6000, 0.0000, 0.8000, 0.0000])

    Args:
        x: shape ``(..., d)`` with 1 <= d <= 2**n, real or complex; half precision is raised to float32.
        n_qubits: n, 1 or more.

    Returns:
        Amplitudes of squared length 1 (or 0), shape ``(..., 2**n)``.

    Raises:
        ShapeError: d is 0 or does not fit the register.
    """
    size = 2**n_qubits
    if x.dim() == 0 or not 1 <= x.shape[-1] <= size:
        raise ShapeError(
            f"the last axis must hold 1 to {size} values for {n_qubits} qubit(s); got shape {tuple(x.shape)}; "
            "qubits_for_dimension tells how many qubits a vector needs"
        )
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    parts = torch.view_as_real(x).flatten(-2) if x.is_complex() else x
    # The result does not depend on the scale, so the largest value may be treated as a constant;
    # dividing by it keeps the squares of tiny and huge vectors inside the number range.
    largest = parts.detach().abs().amax(-1, keepdim=True)
    is_zero = largest < torch.finfo(largest.dtype).tiny ** 0.5
    unit = largest.masked_fill(is_zero, 1)
    squared = (parts / unit).square().sum(-1, keepdim=True)
    inverse = squared.masked_fill(is_zero, 1).rsqrt().masked_fill(is_zero, 0)
    return torch.nn.functional.pad(x / unit * inverse, (0, size - x.shape[-1]))


def basis_bits(n_qubits: int, count: int | None = None) -> Tensor:
    """The bits of the basis indices 0, 1, 2, ..., most significant first.

    >>> basis_bits(2)
    tensor([[0, 0],
            [0, 1],
            [1, 0],
            [1, 1]])

    Args:
        n_qubits: n, 1 or more.
        count: how many indices, at most 2**n; None is all.

    Returns:
        0 or 1, shape ``(count, n)``, int64.

    Raises:
        ShapeError: count is negative or more than 2**n.
    """
    count = 2**n_qubits if count is None else count
    if not 0 <= count <= 2**n_qubits:
        raise ShapeError(f"{n_qubits} qubit(s) have {2**n_qubits} basis states; got count={count}")
    shifts = torch.arange(n_qubits - 1, -1, -1)
    return torch.arange(count)[:, None] >> shifts & 1


def basis_state(bits: str) -> Tensor:
    """The state with one amplitude, at the index a bit string spells.

    >>> basis_state("10")
    tensor([0., 0., 1., 0.])

    Args:
        bits: one 0 or 1 per qubit, qubit 0 first.

    Returns:
        Shape ``(2**len(bits),)``, float32.

    Raises:
        ShapeError: the string is empty or holds anything but 0 and 1.
    """
    if not bits or set(bits) - {"0", "1"}:
        raise ShapeError(f"a basis state is spelt with one 0 or 1 per qubit; got {bits!r}")
    state = torch.zeros(2 ** len(bits))
    state[int(bits, 2)] = 1
    return state
