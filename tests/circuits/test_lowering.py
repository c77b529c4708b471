"""Simple circuits: equal up to a phase, and the same object's None where nothing is to be done."""

import numpy as np
import pytest

from qpeft.circuits import ANSATZE, Circuit, Operation, Parameter, build_ansatz, lowered
from qpeft.circuits.unitary import same_up_to_phase, unitary


@pytest.mark.parametrize("name", ANSATZE)
def test_every_family(name: str) -> None:
    circuit = build_ansatz(name, 4, 2)
    simple = lowered(circuit)
    if simple is None:
        assert all(not operation.gate_row.pieces for operation in circuit.operations)
        return
    angles = np.random.default_rng(0).uniform(-3, 3, circuit.n_parameters)
    theta = angles[list(simple.origin)] * simple.scales + simple.shifts
    assert same_up_to_phase(unitary(circuit, angles), unitary(simple.circuit, theta), 1e-12)


def test_equal_turns_share_an_angle() -> None:
    gates = [Operation("ry", (wire,), Parameter(0, scale)) for wire, scale in enumerate((1.0, 2.0, 1.0, 2.0))]
    simple = lowered(Circuit(4, tuple(gates)))
    assert simple is not None
    assert (simple.circuit.n_parameters, simple.origin, simple.scales) == (2, (0, 0), (1.0, 2.0))
