"""The matrix of a circuit, against Qiskit's."""

import numpy as np
import pytest

from qpeft.circuits import build_ansatz, to_qiskit
from qpeft.circuits.unitary import same_up_to_phase, unitary


def test_equals_qiskits_operator() -> None:
    quantum_info = pytest.importorskip("qiskit.quantum_info")
    circuit = build_ansatz("ry_crz", 3, 2)
    angles = np.random.default_rng(0).uniform(-3, 3, circuit.n_parameters)
    theirs = quantum_info.Operator(to_qiskit(circuit).assign_parameters(angles)).reverse_qargs().data
    np.testing.assert_allclose(unitary(circuit, angles), theirs, atol=1e-14)


def test_phase() -> None:
    assert same_up_to_phase(np.eye(4), 1j * np.eye(4))
    assert not same_up_to_phase(np.eye(4), np.diag([1, 1, 1, -1]))
    assert not same_up_to_phase(np.eye(4), np.eye(2))
