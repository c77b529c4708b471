"""Gate counts and depth against closed forms and Qiskit."""

import pytest

from qpeft.circuits import Circuit, Operation, build_ansatz, circuit_cost, to_qasm3


@pytest.mark.parametrize(("n", "depth"), [(2, 1), (5, 8), (7, 3)])
def test_chain_by_its_closed_form(n: int, depth: int) -> None:
    cost = circuit_cost(build_ansatz("ry_cnot", n, depth))
    assert cost.n_parameters == n * depth
    assert cost.n_two_qubit == (n - 1) * depth
    assert cost.n_gates == (2 * n - 1) * depth


def test_depth_counts_chains_not_gates() -> None:
    side_by_side = Circuit(2, (Operation("h", (0,)), Operation("x", (1,)), Operation("cx", (0, 1))))
    assert circuit_cost(side_by_side).depth == 2
    assert circuit_cost(side_by_side).two_qubit_depth == 1
    assert circuit_cost(Circuit(3)).depth == 0


@pytest.mark.parametrize("entangler", ["chain", "ring", "all_to_all"])
def test_depth_equals_qiskit(entangler: str) -> None:
    pytest.importorskip("qiskit_qasm3_import")
    qasm3 = pytest.importorskip("qiskit.qasm3")
    circuit = build_ansatz("ryrz_cnot", 5, 3, entangler)
    theirs = qasm3.loads(to_qasm3(circuit))
    cost = circuit_cost(circuit)
    assert cost.depth == theirs.depth()
    assert cost.two_qubit_depth == theirs.depth(lambda instruction: instruction.operation.num_qubits == 2)
    assert dict(cost.gates) == dict(theirs.count_ops())
