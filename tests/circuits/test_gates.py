"""The gate table: unitarity, flags that tell the truth, and agreement with Qiskit's matrices."""

import numpy as np
import pytest

from qpeft.circuits import GATES, Circuit, Gate, Operation, Parameter, gate_named, lowered
from qpeft.circuits.pennylane_circuits import NAMES
from qpeft.circuits.unitary import same_up_to_phase, unitary
from qpeft.errors import CircuitError

ANGLES = (0.7, -1.1, 0.4, 2.2)

every_gate = pytest.mark.parametrize("gate", GATES.values(), ids=GATES)


@every_gate
def test_is_unitary(gate: Gate) -> None:
    matrix = gate.matrix(*ANGLES)
    assert matrix.shape == (2**gate.n_qubits,) * 2
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(2**gate.n_qubits), atol=1e-15)


@every_gate
def test_real_says_whether_the_matrix_is_real(gate: Gate) -> None:
    assert gate.real == bool(np.abs(gate.matrix(*ANGLES).imag).max() == 0)


@every_gate
def test_controls_are_the_first_wires(gate: Gate) -> None:
    """Where a control is 0 nothing happens; the next wire is none, but for cz and ccz, which are the same in all."""
    matrix, size = gate.matrix(*ANGLES), 2**gate.n_qubits
    rest = size - (size >> gate.n_controls)
    assert np.array_equal(matrix[:rest], np.eye(size)[:rest])
    following = size - (size >> gate.n_controls + 1)
    assert not np.array_equal(matrix[:following], np.eye(size)[:following]) or gate.n_controls == gate.n_qubits - 1


@every_gate
def test_frequencies_are_those_of_the_matrix(gate: Gate) -> None:
    """Eigenvalue differences of the generator of each angle, from the eigenvalues of a small turn by it."""
    found: set[float] = set()
    for place in range(gate.n_angles):
        angles = [*ANGLES[: gate.n_angles]]
        before, angles[place] = gate.matrix(*angles), angles[place] + 0.1
        phases = -np.angle(np.linalg.eigvals(gate.matrix(*angles) @ before.conj().T)) / 0.1
        found |= {round(float(a - b), 6) for a in phases for b in phases if a - b > 1e-6}
    assert found <= set(gate.frequencies)
    assert found == set(gate.frequencies) or gate.name == "cu"  # whose theta has 1/2 and 1, and gamma only 1


@every_gate
def test_pieces_do_the_same(gate: Gate) -> None:
    """What simulators and devices run in a gate's place is the gate, up to a global phase."""
    wires = tuple(range(gate.n_qubits))
    angles = tuple(Parameter(place, 2.0, 0.3) for place in range(gate.n_angles))
    circuit = Circuit(gate.n_qubits, (Operation(gate.name, wires, angles[0] if len(angles) == 1 else angles or None),))
    turned = [2 * angle + 0.3 for angle in ANGLES[: gate.n_angles]]
    simple = lowered(circuit)
    if gate.n_angles or gate.pieces:
        assert simple is not None
        theta = np.array(ANGLES)[list(simple.origin)] * simple.scales + np.array(simple.shifts)
        assert all(not operation.gate_row.pieces for operation in simple.circuit.operations)
        assert same_up_to_phase(unitary(simple.circuit, theta), gate.matrix(*turned), 1e-14)


@every_gate
def test_equals_qiskit(gate: Gate) -> None:
    library, n = pytest.importorskip("qiskit.circuit"), gate.n_qubits
    if gate.name == "rbs":
        pytest.skip("Qiskit has no such gate; PennyLane's is compared below")
    program = library.QuantumCircuit(n)
    getattr(program, gate.name)(*ANGLES[: gate.n_angles], *range(n))
    theirs = program.data[0].operation.to_matrix().reshape((2,) * (2 * n))
    order = [*range(n)[::-1], *range(n, 2 * n)[::-1]]  # their wire 0 is the low bit
    np.testing.assert_allclose(gate.matrix(*ANGLES), theirs.transpose(order).reshape(2**n, 2**n), atol=1e-15)


@pytest.mark.parametrize("name", [*NAMES, "rbs"])
def test_equals_pennylane(name: str) -> None:
    qml, gate = pytest.importorskip("pennylane"), GATES[name]
    wires, angles = range(gate.n_qubits), ANGLES[: gate.n_angles]
    theirs = qml.SingleExcitation(-1.4, wires) if name == "rbs" else getattr(qml, NAMES[name])(*angles, wires=wires)
    np.testing.assert_allclose(gate.matrix(*angles), qml.matrix(theirs), atol=1e-15)


def test_errors_name_the_gate() -> None:
    with pytest.raises(CircuitError, match="got 'cnot'"):
        gate_named("cnot")
    with pytest.raises(CircuitError, match="nearest: swap"):
        gate_named("swp")
    with pytest.raises(CircuitError, match="gate rx needs an angle"):
        GATES["rx"].matrix()
    with pytest.raises(CircuitError, match="gate u needs 3 angles"):
        GATES["u"].matrix(0.1, 0.2)
