"""Native circuits do what the circuit does, with no more noisy gates than Qiskit's transpiler writes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.circuits import Circuit, Operation, build_ansatz
from qpeft.errors import CircuitError
from qpeft.quantum.engine.simulate import final_state
from qpeft.quantum.noise import NativeCircuit, native_circuit

Make = Callable[..., Circuit]


def with_values(native: NativeCircuit, angles: torch.Tensor) -> Circuit:
    """The native circuit with its angles filled in."""
    operations = []
    for gate in native.gates:
        angle = None
        if gate.turn is not None:
            angle = gate.turn.constant + sum(factor * float(angles[index]) for index, factor in gate.turn.terms)
        operations.append(Operation(gate.name, gate.wires, angle))
    return Circuit(native.n_qubits, tuple(operations))


@pytest.mark.parametrize("seed", range(12))
def test_native_gates_do_the_same(seed: int, line_circuit: Make, angles_of: Callable[..., torch.Tensor]) -> None:
    n = 1 + seed % 4
    circuit = line_circuit(seed, n, 30)
    angles = angles_of(circuit, seed)
    native = native_circuit(circuit)
    assert set(native.counts()) <= {"rz", "sx", "x", "cz"}
    eye, none = torch.eye(2**n, dtype=torch.complex128), torch.zeros(0, dtype=torch.float64)
    ours = final_state(with_values(native, angles), none, eye)
    overlap = (ours.conj() * final_state(circuit, angles, eye)).sum() / 2**n
    assert abs(overlap) == pytest.approx(1, abs=1e-10)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["x", "y", "z", "h", "s", "sdg", "t", "sx"]), max_size=12))
def test_fixed_runs_take_two_sx_or_fewer(names: list[str]) -> None:
    circuit = Circuit(1, tuple(Operation(name, (0,)) for name in names))
    native = native_circuit(circuit)
    counts = native.counts()
    assert counts.get("sx", 0) + 2 * counts.get("x", 0) <= 2
    none, eye = torch.zeros(0, dtype=torch.float64), torch.eye(2, dtype=torch.complex128)
    overlap = (final_state(with_values(native, none), none, eye).conj() * final_state(circuit, none, eye)).sum()
    np.testing.assert_allclose(abs(overlap), 2, atol=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 7, 10])
def test_counts_are_those_of_qiskit_at_level_3(n: int) -> None:
    qiskit = pytest.importorskip("qiskit")
    parameters = iter(pytest.importorskip("qiskit.circuit").ParameterVector("angle", 8 * n))
    program = qiskit.QuantumCircuit(n)
    circuit = build_ansatz("ry_cnot", n, 8)
    for operation in circuit.operations:
        getattr(program, operation.gate)(*([next(parameters)] if operation.gate == "ry" else []), *operation.wires)
    theirs = qiskit.transpile(program, basis_gates=["rz", "sx", "x", "cz"], optimization_level=3, seed_transpiler=0)
    ours = native_circuit(circuit).counts()
    assert ours["cz"] == theirs.count_ops()["cz"] == 8 * (n - 1)
    assert ours["sx"] <= theirs.count_ops()["sx"]


def test_turns_hold_the_parameters() -> None:
    turns = [gate.turn for gate in native_circuit(build_ansatz("rxrz_cnot", 3, 2)).gates if gate.turn]
    assert sorted(index for turn in turns for index, _ in turn.terms) == list(range(12))


def test_distant_pairs_are_refused() -> None:
    with pytest.raises(CircuitError, match=r"operation 7 is cx on wires \(3, 0\); choose the entangler chain"):
        native_circuit(build_ansatz("ry_cnot", 4, 2, entangler="ring"))
