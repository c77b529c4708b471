"""Gates and noise channels as Pauli transfer matrices: real, and composed by multiplication.

A state is the vector of its Pauli coefficients ``r_P = tr(P rho)``, P over I, X, Y, Z per qubit, the first qubit
outermost. A channel is the matrix that maps r; doing A, then B, is ``B @ A``. The first row of every channel here is
(1, 0, ..., 0): the trace is kept.
"""

from math import exp, inf

import numpy as np
from numpy.typing import NDArray

from qpeft.circuits.gates import Matrix

Transfer = NDArray[np.float64]

_PAULIS: tuple[Matrix, ...] = (
    np.eye(2, dtype=np.complex128),
    np.array([[0, 1], [1, 0]], dtype=np.complex128),
    np.array([[0, -1j], [1j, 0]], dtype=np.complex128),
    np.diag([1, -1]).astype(np.complex128),
)


def transfer_of(unitary: Matrix) -> Transfer:
    """The transfer matrix of a gate.

    >>> transfer_of(np.diag([1, -1]).astype(complex)).diagonal()  # Z turns X and Y around
    array([ 1., -1., -1.,  1.])

    Args:
        unitary: shape ``(2**k, 2**k)`` for k = 1 or 2 qubits, the first the more significant bit.

    Returns:
        Shape ``(4**k, 4**k)``.
    """
    paulis = _PAULIS if len(unitary) == 2 else tuple(np.kron(p, q) for p in _PAULIS for q in _PAULIS)
    basis = np.stack(paulis)
    moved = unitary @ basis @ unitary.conj().T
    values: Transfer = np.einsum("pij,qji->pq", basis, moved).real / len(unitary)
    return values


def depolarizing(probability: float, n_qubits: int = 1) -> Transfer:
    """With this probability the qubits are replaced by the fully mixed state, ``(1 - p) rho + p I / 2**k``.

    This is Qiskit's convention; PennyLane's ``DepolarizingChannel(q)`` on one qubit has ``q = 3 p / 4``.

    >>> depolarizing(0.1).diagonal()
    array([1. , 0.9, 0.9, 0.9])
    """
    diagonal = np.full(4**n_qubits, 1 - probability)
    diagonal[0] = 1
    return np.diag(diagonal)


def amplitude_damping(probability: float) -> Transfer:
    """With this probability a 1 decays to 0.

    >>> amplitude_damping(1.0) @ [1, 0, 0, -1]  # |1> becomes |0>
    array([1., 0., 0., 1.])
    """
    shrink = (1 - probability) ** 0.5
    result = np.diag([1, shrink, shrink, 1 - probability])
    result[3, 0] = probability
    return result


def phase_damping(probability: float) -> Transfer:
    """The phase of a superposition fades: off-diagonal entries of the density matrix by ``sqrt(1 - p)``.

    >>> phase_damping(0.19).diagonal()
    array([1. , 0.9, 0.9, 1. ])
    """
    shrink = (1 - probability) ** 0.5
    return np.diag([1, shrink, shrink, 1])


def thermal_relaxation(t1: float | None, t2: float | None, duration: float) -> Transfer:
    """What waiting does at temperature 0: 1 decays to 0 at the rate 1/T1, superpositions fade at the rate 1/T2.

    >>> thermal_relaxation(t1=100e-6, t2=80e-6, duration=0.0).diagonal()
    array([1., 1., 1., 1.])

    Args:
        t1: seconds; None is no decay.
        t2: seconds; None is its largest value, 2 T1; what is above that is cut to it.
        duration: seconds, 0 or more.
    """
    t1 = inf if t1 is None else t1
    t2 = 2 * t1 if t2 is None else min(t2, 2 * t1)
    excited, coherent = exp(-duration / t1), exp(-duration / t2)
    result = np.diag([1, coherent, coherent, excited])
    result[3, 0] = 1 - excited
    return result


def beside(*channels: Transfer) -> Transfer:
    """Channels on neighbouring qubits at the same time, the first qubit outermost.

    >>> beside(np.eye(4), np.eye(4)).shape
    (16, 16)
    """
    result: Transfer = channels[0]
    for channel in channels[1:]:
        result = np.kron(result, channel).astype(np.float64)
    return result


def average_infidelity(channel: Transfer) -> float:
    """One minus the average gate fidelity of a channel to doing nothing.

    >>> round(average_infidelity(depolarizing(0.1)), 6)
    0.05
    """
    dimension = len(channel) ** 0.5
    return float(1 - (np.trace(channel) / dimension + 1) / (dimension + 1))


def gate_error(infidelity: float, relaxation: Transfer) -> Transfer:
    """The noise of a calibrated gate: depolarizing, then relaxation, together of the calibrated average infidelity.

    The depolarizing part takes what relaxation leaves of the error, as in qiskit-aer's device noise: the average
    fidelity is affine in its probability p, ``F = (1 - p) F_relax + p / d``. Where relaxation alone is worse than the
    calibration says, there is none.

    >>> round(average_infidelity(gate_error(0.01, thermal_relaxation(1e-4, 1e-4, 1e-7))), 6)
    0.01

    Args:
        infidelity: average gate infidelity, probability.
        relaxation: thermal relaxation of the gate's qubits during the gate, shape ``(4**k, 4**k)``.

    Returns:
        Shape ``(4**k, 4**k)``; it acts after the ideal gate.
    """
    dimension = len(relaxation) ** 0.5
    of_relaxation = average_infidelity(relaxation)
    if infidelity <= of_relaxation:
        return relaxation
    # No channel is worse on average than d / (d + 1), and no depolarizing has a p above d^2 / (d^2 - 1).
    excess = min(infidelity, dimension / (dimension + 1)) - of_relaxation
    probability = min(excess / (1 - of_relaxation - 1 / dimension), dimension**2 / (dimension**2 - 1))
    return relaxation @ depolarizing(probability, round(np.log2(dimension)))


def confusion(p10: float, p01: float) -> Transfer:
    """Chances to read 0 and 1 (rows) where 0 and 1 (columns) were there.

    >>> confusion(p10=0.1, p01=0.25)
    array([[0.9 , 0.25],
           [0.1 , 0.75]])
    """
    return np.array([[1 - p10, p01], [p10, 1 - p01]])
