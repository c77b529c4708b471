"""Circuits that undo themselves: every gate's mirror is its inverse, at the angles that are said to make it so."""

import numpy as np
import pytest

from qpeft.circuits import GATES, Circuit, Operation, Parameter, build_ansatz, identity_angles, mirrored
from qpeft.circuits.mirror import INVERSES, SELF_INVERSE
from qpeft.circuits.unitary import unitary
from qpeft.errors import CircuitError

INVERTIBLE = [gate for gate in GATES.values() if gate.n_angles or gate.name in INVERSES or gate.name in SELF_INVERSE]


def of(*gates: Operation, n_qubits: int = 3) -> Circuit:
    return Circuit(n_qubits, gates)


@pytest.mark.parametrize("gate", INVERTIBLE, ids=lambda gate: gate.name)
def test_a_gate_and_its_mirror_are_the_identity(gate: object) -> None:
    name, n_qubits, n_angles = gate.name, gate.n_qubits, gate.n_angles  # type: ignore[attr-defined]
    angles = tuple(Parameter(i, 1.5, 0.25 * i) for i in range(n_angles))
    block = mirrored(of(Operation(name, tuple(range(n_qubits)), angles if n_angles > 1 else (*angles, None)[0])))
    found = identity_angles(block, np.random.default_rng(0).normal(size=block.n_parameters))
    np.testing.assert_allclose(unitary(block, found), np.eye(8), atol=1e-12)


def test_whole_circuits_and_sums_of_blocks() -> None:
    one, other = build_ansatz("ry_crz", 3, 2), build_ansatz("strongly_entangling", 3, 1)
    blocks = mirrored(one) + mirrored(other)
    start = np.random.default_rng(0).normal(size=blocks.n_parameters)
    found = identity_angles(blocks, start)
    np.testing.assert_allclose(unitary(blocks, found), np.eye(8), atol=1e-12)
    assert found[: one.n_parameters] == tuple(start[: one.n_parameters])


def test_what_cannot_be_the_identity_is_said() -> None:
    with pytest.raises(CircuitError, match=r"ry on wires \(0,\) has no partner"):
        identity_angles(build_ansatz("ry_cnot", 3, 1), [0.0] * 3)
    with pytest.raises(CircuitError, match=r"the inverse of each gate; iswap has none"):
        mirrored(of(Operation("iswap", (0, 1))))
    twice = [Operation("ry", (0,), Parameter(0)), Operation("ry", (0,), Parameter(0))]
    with pytest.raises(CircuitError, match=r"angle 0 would have to take two values"):
        identity_angles(of(*twice), [0.5])
