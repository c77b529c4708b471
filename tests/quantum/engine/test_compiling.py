"""Compiled instructions: few of them, and permutations that equal the product of the gates."""

import numpy as np
import pytest

from qpeft.circuits import Circuit, Operation, build_ansatz
from qpeft.errors import CircuitError
from qpeft.quantum.engine.compiling import Monomial, compile_circuit, controlled_entries, qubit_groups


def test_an_ansatz_is_two_instructions_per_rotation_layer() -> None:
    assert len(compile_circuit(build_ansatz("ry_cnot", 7, 8))) == 16
    assert len(compile_circuit(build_ansatz("rxrz_cnot", 7, 8, "all_to_all"))) == 32
    assert len(compile_circuit(build_ansatz("ry_cnot", 7, 8, "none"))) == 1


def test_a_run_of_permutations_is_their_product() -> None:
    operations = (
        Operation("cx", (0, 1)),
        Operation("swap", (2, 0)),
        Operation("y", (1,)),
        Operation("cz", (1, 2)),
        Operation("s", (0,)),
        Operation("cy", (2, 1)),
    )
    (step,) = compile_circuit(Circuit(3, operations))
    assert isinstance(step, Monomial)
    assert step.phase is not None
    state = np.random.default_rng(0).normal(size=8) + 0j
    expected = state.reshape(2, 2, 2)
    for op in operations:
        k = len(op.wires)
        matrix = op.gate_row.matrix().reshape((2,) * (2 * k))
        expected = np.moveaxis(np.tensordot(matrix, expected, (range(k, 2 * k), op.wires)), range(k), op.wires)
    np.testing.assert_allclose(step.phase * state[step.source], expected.ravel(), atol=1e-15)


def test_controlled_entries_by_hand() -> None:
    same, cross, other = controlled_entries(2, (0, 1))
    assert (same.tolist(), cross.tolist(), other.tolist()) == ([1, 1, 2, 5], [0, 0, 3, 4], [1, 0, 3, 2])


@pytest.mark.parametrize("n", range(1, 25))
def test_groups_cover_the_register_evenly(n: int) -> None:
    groups = qubit_groups(n)
    assert sum(groups) == n
    assert max(groups) - min(groups) <= 1
    assert max(groups) <= 6
    assert n < 12 or max(groups) <= 5


def test_refuses_a_register_no_memory_holds() -> None:
    with pytest.raises(CircuitError, match="at most 24 qubits; got 40"):
        compile_circuit(Circuit(40))
