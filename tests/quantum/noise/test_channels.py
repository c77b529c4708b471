"""Channels against Qiskit's and PennyLane's definitions, and the properties every channel has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.circuits import GATES
from qpeft.quantum.noise import channels

PROBABILITY = st.floats(0, 1)
SECONDS = st.floats(1e-8, 1e-3)


def every_channel(p: float, t1: float, t2: float, duration: float) -> list[channels.Transfer]:
    relaxation = channels.thermal_relaxation(t1, t2, duration)
    return [
        channels.depolarizing(p),
        channels.depolarizing(p, 2),
        channels.amplitude_damping(p),
        channels.phase_damping(p),
        relaxation,
        channels.gate_error(p / 2, relaxation),
        channels.gate_error(p / 2, channels.beside(relaxation, channels.amplitude_damping(p))),
    ]


def choi(transfer: channels.Transfer) -> np.ndarray:
    """Choi matrix: positive exactly for the channels nature allows."""
    one = channels._PAULIS
    basis = one if len(transfer) == 4 else [np.kron(p, q) for p in one for q in one]
    return sum(transfer[i, j] * np.kron(q.T, p) for i, p in enumerate(basis) for j, q in enumerate(basis))


@settings(deadline=None, max_examples=40)
@given(PROBABILITY, SECONDS, SECONDS, st.floats(0, 1e-4))
def test_every_channel_keeps_the_trace_and_is_completely_positive(
    p: float, t1: float, t2: float, duration: float
) -> None:
    for channel in every_channel(p, t1, t2, duration):
        np.testing.assert_allclose(channel[0], np.eye(len(channel))[0], atol=1e-12)
        assert np.linalg.eigvalsh(choi(channel)).min() > -1e-9


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 0.5), SECONDS, SECONDS, st.floats(0, 1e-6))
def test_a_gate_error_has_the_calibrated_infidelity(p: float, t1: float, t2: float, duration: float) -> None:
    for relaxation in (
        channels.thermal_relaxation(t1, t2, duration),
        channels.beside(channels.thermal_relaxation(t1, t2, duration), channels.thermal_relaxation(t2, t1, duration)),
    ):
        least = channels.average_infidelity(relaxation)
        found = channels.average_infidelity(channels.gate_error(p, relaxation))
        assert found == pytest.approx(max(p, least), abs=1e-9)


@pytest.mark.parametrize("name", [name for name, gate in GATES.items() if gate.n_qubits < 3])
def test_gates_are_qiskits(name: str) -> None:
    info = pytest.importorskip("qiskit.quantum_info")
    matrix = GATES[name].matrix(0.7, -1.0, 0.3, 2.0)
    np.testing.assert_allclose(channels.transfer_of(matrix), info.PTM(info.Operator(matrix)).data.real, atol=1e-12)


@pytest.mark.parametrize(("t1", "t2"), [(1e-4, 5e-5), (1e-4, 1e-4), (1e-4, 1.7e-4), (1e-4, 2e-4)])
def test_relaxation_is_aers(t1: float, t2: float) -> None:
    info = pytest.importorskip("qiskit.quantum_info")
    noise = pytest.importorskip("qiskit_aer.noise")
    theirs = info.PTM(noise.thermal_relaxation_error(t1, t2, 3e-6)).data.real
    np.testing.assert_allclose(channels.thermal_relaxation(t1, t2, 3e-6), theirs, atol=1e-12)
    np.testing.assert_allclose(channels.thermal_relaxation(t1, 3 * t1, 3e-6).diagonal()[1], np.exp(-0.015), atol=1e-12)


@pytest.mark.parametrize("qubits", [1, 2])
def test_depolarizing_is_aers(qubits: int) -> None:
    info = pytest.importorskip("qiskit.quantum_info")
    noise = pytest.importorskip("qiskit_aer.noise")
    theirs = info.PTM(noise.depolarizing_error(0.03, qubits)).data.real
    np.testing.assert_allclose(channels.depolarizing(0.03, qubits), theirs, atol=1e-12)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.7, 0.99])
def test_damping_is_pennylanes(p: float) -> None:
    qml = pytest.importorskip("pennylane")
    for ours, theirs in (
        (channels.amplitude_damping(p), qml.AmplitudeDamping(p, wires=0)),
        (channels.phase_damping(p), qml.PhaseDamping(p, wires=0)),
        (channels.depolarizing(p), qml.DepolarizingChannel(0.75 * p, wires=0)),
    ):
        kraus = [np.asarray(matrix) for matrix in theirs.kraus_matrices()]
        basis = channels._PAULIS
        wanted = [[sum(np.trace(a @ k @ b @ k.conj().T) for k in kraus).real / 2 for b in basis] for a in basis]
        np.testing.assert_allclose(ours, wanted, atol=1e-12)


def test_confusion_columns_sum_to_one() -> None:
    np.testing.assert_allclose(channels.confusion(0.1, 0.3).sum(0), 1)
