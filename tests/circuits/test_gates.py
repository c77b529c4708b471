"""The gate table: unitarity, flags that tell the truth, and agreement with Qiskit's matrices."""

import numpy as np
import pytest

from qpeft.circuits import GATES, Gate, gate_named
from qpeft.errors import CircuitError

every_gate = pytest.mark.parametrize("gate", GATES.values(), ids=GATES)


@every_gate
def test_is_unitary(gate: Gate) -> None:
    matrix = gate.matrix(0.7)
    assert matrix.shape == (2**gate.n_qubits,) * 2
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(2**gate.n_qubits), atol=1e-15)


@every_gate
def test_real_says_whether_the_matrix_is_real(gate: Gate) -> None:
    assert gate.real == bool(np.abs(gate.matrix(0.7).imag).max() == 0)


@every_gate
def test_controlled_says_whether_the_first_wire_controls(gate: Gate) -> None:
    matrix = gate.matrix(0.7)
    acts_on_half = gate.n_qubits == 2 and np.array_equal(matrix[:2], np.eye(4)[:2])
    assert gate.controlled == acts_on_half


@every_gate
def test_frequencies_are_those_of_the_matrix(gate: Gate) -> None:
    """Eigenvalue differences of the generator, from the eigenvalues at a small angle."""
    phases = -np.angle(np.linalg.eigvals(gate.matrix(0.1))) / 0.1
    differences = {round(float(a - b), 6) for a in phases for b in phases if a - b > 1e-6}
    assert set(gate.frequencies) == (differences if gate.n_angles else set())


@every_gate
def test_equals_qiskit(gate: Gate) -> None:
    library = pytest.importorskip("qiskit.circuit.library")
    kind = getattr(
        library, f"{gate.name.upper()}Gate" if gate.name not in ("swap", "sdg") else f"{gate.name.title()}Gate"
    )
    theirs = (kind(0.7) if gate.n_angles else kind()).to_matrix()
    if gate.n_qubits == 2:
        theirs = theirs.reshape(2, 2, 2, 2).transpose(1, 0, 3, 2).reshape(4, 4)  # their wire 0 is the low bit
    np.testing.assert_allclose(gate.matrix(0.7), theirs, atol=1e-15)


def test_errors_name_the_gate() -> None:
    with pytest.raises(CircuitError, match="got 'cnot'"):
        gate_named("cnot")
    with pytest.raises(CircuitError, match="nearest: swap"):
        gate_named("swp")
    with pytest.raises(CircuitError, match="gate rx needs an angle"):
        GATES["rx"].matrix()
