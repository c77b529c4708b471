"""Circuits from PennyLane and back: templates, lines in arguments, and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qpeft.circuits import GATES, Circuit, Operation, Parameter, from_pennylane, to_pennylane
from qpeft.circuits.unitary import same_up_to_phase, unitary
from qpeft.errors import CircuitError

qml = pytest.importorskip("pennylane")
WIRES = range(3)


def matrix(function: Callable[..., Any], *arguments: Any) -> np.ndarray:
    return np.asarray(qml.matrix(function, wire_order=[*WIRES])(*arguments))


TEMPLATES = {
    "StronglyEntanglingLayers": (lambda w: qml.StronglyEntanglingLayers(w, wires=WIRES), (2, 3, 3)),
    "BasicEntanglerLayers": (lambda w: qml.BasicEntanglerLayers(w, wires=WIRES), (2, 3)),
    "RandomLayers": (lambda w: qml.RandomLayers(w, wires=WIRES, seed=3), (2, 4)),
    "ParticleConservingU2": (lambda w: qml.ParticleConservingU2(w, wires=WIRES, init_state=None), (2, 5)),
    "Givens": (lambda w: [qml.SingleExcitation(w[i], wires=[i, i + 1]) for i in range(2)], (2,)),
    "MultiRZ": (lambda w: qml.MultiRZ(w[0], wires=WIRES), (1,)),
    "AngleEmbedding": (lambda w: qml.AngleEmbedding(w, wires=WIRES), (3,)),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates(name: str) -> None:
    function, shape = TEMPLATES[name]
    ours = from_pennylane(function, np.zeros(shape))
    angles = np.random.default_rng(0).uniform(-3, 3, shape)
    assert ours.n_parameters == angles.size
    assert same_up_to_phase(unitary(ours, angles.ravel()), matrix(function, angles), 1e-10)
    again = from_pennylane(to_pennylane(ours), np.zeros(angles.size))
    assert same_up_to_phase(unitary(again, angles.ravel()), unitary(ours, angles.ravel()), 1e-10)


def test_lines_in_arguments_and_constants() -> None:
    def function(first: Any, second: Any, fixed: float = 0.0) -> None:
        qml.RX(2 * second[1] - 0.5, wires=0)
        qml.RY(first, wires=1)
        qml.CRZ(fixed, wires=[1, 0])
        qml.PhaseShift(-second[0], wires=0)

    node = qml.QNode(lambda *a, **k: (function(*a, **k), qml.expval(qml.PauliZ(0)))[1], qml.device("default.qubit"))
    for source in (function, node):
        found = from_pennylane(source, 0.0, np.zeros(2), fixed=0.25).operations
        assert [op.gate for op in found] == ["rx", "ry", "crz", "p"]
        assert [op.angle if isinstance(op.angle, float) else op.angle.index for op in found] == [2, 0, 0.25, 1]
        assert found[0].turn.scale == pytest.approx(2, abs=1e-12)
        assert found[0].turn.shift == pytest.approx(-0.5, abs=1e-12)


def test_a_tape() -> None:
    tape = qml.tape.QuantumScript([qml.RX(0.1, "a"), qml.CNOT(["a", "b"]), qml.Rot(0.2, 0.3, 0.4, "b")])
    ours = from_pennylane(tape)
    assert ours.operations[:2] == (Operation("rx", (0,), Parameter(0)), Operation("cx", (0, 1)))
    assert [angle.index for angle in ours.operations[2].angles] == [2, 3, 1]
    tape.trainable_params = [2]
    assert from_pennylane(tape).n_parameters == 1


def test_every_gate_goes_there_and_back() -> None:
    for gate in GATES.values():
        angles = tuple(Parameter(place, 2.0, 0.5) for place in range(gate.n_angles))
        operation = Operation(gate.name, (2, 0, 1)[: gate.n_qubits], angles[0] if len(angles) == 1 else angles or None)
        ours, values = Circuit(3, (operation,)), np.array([0.3, -1.0, 2.0, 0.7])[: gate.n_angles]
        assert same_up_to_phase(matrix(to_pennylane(ours), values), unitary(ours, values), 1e-12)
        back = from_pennylane(to_pennylane(ours), values)
        there = Circuit(3, (*back.operations, Operation("rz", (2,), 0.0)))
        assert same_up_to_phase(unitary(there, values), unitary(ours, values), 1e-10)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda w: qml.RX(w[0] * w[1], wires=0), r"gate rx on wires \(0,\): an angle must be a \* number \+ b"),
        (lambda w: qml.RX(np.sin(w[0]) + 0 * w[1], wires=0), "must be a \\* number"),
        (lambda w: qml.RX(w[0], wires=0), "number 1 of 2 turns none"),
        (lambda w: [qml.RX(w[0], wires=0), qml.RX(w[1], wires=0), qml.StatePrep([1, 0], wires=0)], "prepares a state"),
        (lambda w: (qml.RX(w[0], 0), qml.RX(w[1], 0), qml.QubitChannel([np.eye(2)], 0)), "no decomposition"),
        (lambda w: [qml.RX(x, 0) if x > 1.4 else qml.RY(x, 0) for x in (w[0], w[1] - 0.3)], "must not depend on"),
    ],
)
def test_what_is_no_circuit_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(CircuitError, match=message):
        from_pennylane(function, np.zeros(2))
