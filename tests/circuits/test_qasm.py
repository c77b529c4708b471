"""OpenQASM 3: Qiskit reads every program and computes our probabilities from it."""

import numpy as np
import pytest

from qpeft.circuits import GATES, Circuit, Operation, Parameter, build_ansatz, to_qasm3
from qpeft.errors import CircuitError

pytest.importorskip("qiskit_qasm3_import")
qasm3 = pytest.importorskip("qiskit.qasm3")
quantum_info = pytest.importorskip("qiskit.quantum_info")


def dense_probabilities(circuit: Circuit, angles: list[float]) -> np.ndarray:
    """By Kronecker products of the gate table's matrices, wire 0 first."""
    state = np.eye(1, 2**circuit.n_qubits, dtype=complex).reshape((2,) * circuit.n_qubits)
    for op in circuit.operations:
        k = len(op.wires)
        values = [angle.of(angles) if isinstance(angle, Parameter) else angle for angle in op.angles]
        matrix = op.gate_row.matrix(*values).reshape((2,) * (2 * k))
        state = np.moveaxis(np.tensordot(matrix, state, (range(k, 2 * k), op.wires)), range(k), op.wires)
    return np.abs(state.ravel()) ** 2


def qiskit_probabilities(program: object, n: int) -> np.ndarray:
    theirs = quantum_info.Statevector(program).probabilities()
    return theirs.reshape((2,) * n).transpose(range(n)[::-1]).ravel()  # reverse the bits of the index


@pytest.mark.parametrize("name", ["ry_cnot", "rxrz_cnot"])
def test_qiskit_agrees_with_bound_angles_and_with_inputs(name: str) -> None:
    circuit = build_ansatz(name, 3, 2, "ring")
    angles = list(np.random.default_rng(1).uniform(-3, 3, circuit.n_parameters))
    expected = dense_probabilities(circuit, angles)
    np.testing.assert_allclose(qiskit_probabilities(qasm3.loads(to_qasm3(circuit, angles)), 3), expected, atol=1e-12)
    free = qasm3.loads(to_qasm3(circuit))
    bound = free.assign_parameters({f"theta_{index}": angle for index, angle in enumerate(angles)})
    np.testing.assert_allclose(qiskit_probabilities(bound, 3), expected, atol=1e-12)


def test_qiskit_knows_every_gate() -> None:
    layer = tuple(Operation("ry", (wire,), 0.3 + wire) for wire in range(3))
    gates = [
        Operation(gate.name, (2, 0, 1)[: gate.n_qubits], (1e-7, 0.4, -2.0, 1.0)[: gate.n_angles] or None)
        for gate in GATES.values()
    ]
    circuit = Circuit(3, tuple(op for gate in gates for op in (*layer, gate)))
    theirs = qiskit_probabilities(qasm3.loads(to_qasm3(circuit)), 3)
    np.testing.assert_allclose(theirs, dense_probabilities(circuit, []), atol=1e-12)


def test_measurement_reads_every_wire() -> None:
    theirs = qasm3.loads(to_qasm3(build_ansatz("ry_cnot", 3, 1), [0.0, 1e-7, 2.0], measure=True))
    assert theirs.count_ops()["measure"] == 3


def test_an_angle_that_is_no_number_is_refused() -> None:
    with pytest.raises(CircuitError, match="finite numbers; got nan"):
        to_qasm3(build_ansatz("ry_cnot", 1, 1), [float("nan")])


def test_counts_the_angles() -> None:
    with pytest.raises(CircuitError, match=r"3 parameter\(s\); got 2"):
        to_qasm3(build_ansatz("ry_cnot", 3, 1), [0.0, 1.0])
