"""How many qubits a job needs, in exact integer arithmetic (arXiv:2410.09846 Eq. 8, arXiv:2509.16244)."""

from qpeft.errors import CircuitError


def n_chunks(m: int, n_mlp: int) -> int:
    """Chunks of size n_mlp that hold m numbers: ceil(m / n_mlp).

    >>> n_chunks(204_100, 2048)
    100

    Args:
        m: generated numbers, 1 or more.
        n_mlp: chunk size, 1 or more.

    Returns:
        1 or more.

    Raises:
        CircuitError: m or n_mlp is below 1.
    """
    _require_positive("m", m)
    _require_positive("n_mlp", n_mlp)
    return -(-m // n_mlp)


def qubits_for_chunks(m: int, n_mlp: int) -> int:
    """Qubits whose basis states number the chunks (arXiv:2410.09846, Eq. 8), at least one.

    >>> qubits_for_chunks(204_100, 2048)
    7

    Args:
        m: generated numbers, 1 or more.
        n_mlp: chunk size, 1 or more.

    Returns:
        N >= 1.

    Raises:
        CircuitError: m or n_mlp is below 1.
    """
    return qubits_for_dimension(n_chunks(m, n_mlp))


def qubits_for_dimension(d: int) -> int:
    """Qubits whose amplitudes hold a vector of d numbers, at least one.

    >>> qubits_for_dimension(768)
    10

    Args:
        d: vector length, 1 or more.

    Returns:
        ceil(log2(d)), or 1 where that is 0.

    Raises:
        CircuitError: d is below 1.
    """
    _require_positive("d", d)
    return max(1, (d - 1).bit_length())


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise CircuitError(f"{name} must be a whole number, 1 or more; got {value}")
