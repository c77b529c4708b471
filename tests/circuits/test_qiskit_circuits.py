"""Circuits from Qiskit and back: published circuits, expressions of parameters, and what is refused."""

import numpy as np
import pytest

from qpeft.circuits import GATES, Circuit, Operation, Parameter, build_ansatz, from_qiskit, to_qiskit
from qpeft.circuits.unitary import same_up_to_phase, unitary
from qpeft.errors import CircuitError

library = pytest.importorskip("qiskit.circuit")
PUBLISHED = pytest.importorskip("qiskit.circuit.library")
quantum_info = pytest.importorskip("qiskit.quantum_info")


def operator(program: object, angles: np.ndarray) -> np.ndarray:
    """Qiskit's own matrix, wire 0 the most significant."""
    return quantum_info.Operator(program.assign_parameters(angles)).reverse_qargs().data  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "program",
    [
        PUBLISHED.real_amplitudes(4, reps=2),
        PUBLISHED.efficient_su2(3, entanglement="circular", reps=2),
        PUBLISHED.excitation_preserving(3, reps=2),
        PUBLISHED.pauli_two_design(3, reps=3, seed=5),
        PUBLISHED.zz_feature_map(3, reps=2),
        PUBLISHED.qaoa_ansatz(quantum_info.SparsePauliOp(["ZZI", "IZZ", "ZIZ"]), reps=2),
    ],
    ids=["real_amplitudes", "efficient_su2", "excitation_preserving", "pauli_two_design", "zz_feature_map", "qaoa"],
)
def test_published_circuits(program: object) -> None:
    if "zz" in str(program.name).lower():  # type: ignore[attr-defined]
        with pytest.raises(CircuitError, match="depends on 2 parameters"):
            from_qiskit(program)
        return
    ours = from_qiskit(program)
    angles = np.random.default_rng(0).uniform(-3, 3, ours.n_parameters)
    assert same_up_to_phase(unitary(ours, angles), operator(program, angles), 1e-12)
    assert from_qiskit(to_qiskit(ours)) == ours


def test_lines_in_parameters_are_kept() -> None:
    b, a = library.Parameter("b"), library.Parameter("a")
    program = library.QuantumCircuit(2)
    program.rx(2 * b - 0.5, 0)
    program.ry(a, 1)
    program.rz(0 * a + 1.5, 1)
    program.barrier()
    program.measure_all()
    assert from_qiskit(program).operations == (
        Operation("rx", (0,), Parameter(1, 2.0, -0.5)),
        Operation("ry", (1,), Parameter(0)),
        Operation("rz", (1,), 1.5),
    )


def test_every_gate_goes_there_and_back() -> None:
    for gate in GATES.values():
        angles = tuple(Parameter(place, 2.0, 0.5) for place in range(gate.n_angles))
        ours = Circuit(
            3, (Operation(gate.name, (2, 0, 1)[: gate.n_qubits], angles[0] if len(angles) == 1 else angles or None),)
        )
        back = from_qiskit(to_qiskit(ours))
        values = np.array([0.3, -1.0, 2.0, 0.7])[: gate.n_angles]
        assert back == ours or gate.name == "rbs"
        assert same_up_to_phase(unitary(back, values), unitary(ours, values), 1e-12)


def test_what_is_no_circuit_is_refused() -> None:
    a, b = library.Parameter("a"), library.Parameter("b")
    for angle, message in ((a * b, "2 parameters"), (a.sin(), "no straight line"), (a * a, "no straight line")):
        program = library.QuantumCircuit(1)
        program.rx(angle, 0)
        with pytest.raises(CircuitError, match=rf"gate rx on wires \(0,\): .*{message}"):
            from_qiskit(program)
    program = library.QuantumCircuit(1, 1)
    program.measure(0, 0)
    program.x(0)
    with pytest.raises(CircuitError, match="after a measurement"):
        from_qiskit(program)
    program = library.QuantumCircuit(1)
    program.reset(0)
    with pytest.raises(CircuitError, match=r"gate reset on wires \(0,\)"):
        from_qiskit(program)


def test_a_custom_gate_under_a_known_name_counts_by_its_definition() -> None:
    inner = library.QuantumCircuit(1, name="h")
    inner.x(0)
    program = library.QuantumCircuit(1)
    program.append(inner.to_gate(), [0])
    assert from_qiskit(program).operations == (Operation("x", (0,)),)


def test_parameters_in_qiskits_order() -> None:
    assert to_qiskit(build_ansatz("ry_cnot", 12, 1)).parameters[11].name == "theta[11]"
