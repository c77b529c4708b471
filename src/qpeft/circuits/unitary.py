"""The matrix of a small circuit, by Kronecker products: for comparing gates, not for simulating."""

from collections.abc import Sequence

import numpy as np

from qpeft.circuits.circuit import Circuit, Parameter
from qpeft.circuits.gates import Matrix


def unitary(circuit: Circuit, angles: Sequence[float] = ()) -> Matrix:
    """The unitary of a circuit, shape ``(2**n, 2**n)``.

    >>> from qpeft.circuits.circuit import Operation
    >>> unitary(Circuit(1, (Operation("x", (0,)),))).real
    array([[0., 1.],
           [1., 0.]])

    Args:
        circuit: a few qubits.
        angles: one value a parameter, radians.
    """
    n = circuit.n_qubits
    whole = np.eye(2**n, dtype=np.complex128).reshape((2,) * n + (2**n,))
    for op in circuit.operations:
        k = len(op.wires)
        values = [a.of(angles) if isinstance(a, Parameter) else a for a in op.angles]
        matrix = op.gate_row.matrix(*values).reshape((2,) * (2 * k))
        whole = np.moveaxis(np.tensordot(matrix, whole, (range(k, 2 * k), op.wires)), range(k), op.wires)
    return whole.reshape(2**n, 2**n)


def same_up_to_phase(first: Matrix, second: Matrix, tolerance: float = 1e-9) -> bool:
    """Whether two unitaries of one size differ by a factor of length one.

    >>> same_up_to_phase(np.eye(2), -1j * np.eye(2))
    True
    """
    if first.shape != second.shape:
        return False
    return bool(abs(abs(np.vdot(first, second)) / len(first) - 1) < tolerance)
