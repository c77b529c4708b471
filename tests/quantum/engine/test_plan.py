"""Plans: cached per circuit, and free of work an ansatz does not need."""

import torch

from qpeft.circuits import build_ansatz
from qpeft.quantum.engine.plan import ApplyFactors, make_plan

CPU = torch.device("cpu")


def test_equal_circuits_share_a_plan() -> None:
    first = make_plan(build_ansatz("ry_cnot", 4, 2), CPU, torch.float32)
    assert make_plan(build_ansatz("ry_cnot", 4, 2), CPU, torch.float32) is first
    assert make_plan(build_ansatz("ry_cnot", 4, 2), CPU, torch.float64) is not first


def test_a_small_ansatz_is_one_matrix_per_layer() -> None:
    plan = make_plan(build_ansatz("ry_cnot", 5, 8), CPU, torch.float32)
    assert len(plan.body) == 8
    assert all(isinstance(step, ApplyFactors) for step in plan.body)
    assert plan.last is not None
    assert plan.table.parameters is plan.table.fixed is None
    assert plan.blocks[0].rounds == (None,)


def test_a_large_ansatz_is_factors_and_a_permutation() -> None:
    plan = make_plan(build_ansatz("ry_cnot", 10, 8), CPU, torch.float32)
    assert len(plan.steps) == 16
    assert [block.n_qubits for block in plan.blocks] == [5]
