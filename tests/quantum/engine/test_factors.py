"""Products of vector entries, and Kronecker products of gates with permuted columns."""

from functools import reduce

import pytest
import torch

from qpeft.circuits import Circuit, Operation
from qpeft.quantum.engine.factors import gate_table, kron_factors, outer_chain
from qpeft.quantum.engine.plan import make_plan


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_outer_chain_is_the_kronecker_product_of_vectors(count: int) -> None:
    vectors = torch.randn(3, count, 4, dtype=torch.float64)
    for row, factors in zip(outer_chain(vectors), vectors, strict=True):
        torch.testing.assert_close(row, reduce(torch.kron, factors))


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("swapped", [False, True])
def test_factors_are_kronecker_products_of_gates(n: int, swapped: bool) -> None:
    angles = torch.randn(n, dtype=torch.float64)
    gates = [Operation("ryrx"[2 * (q % 2) :][:2], (q,), float(angles[q])) for q in range(n)]
    swap = (Operation("swap", (0, n - 1)),) if swapped and n > 1 else ()
    plan = make_plan(Circuit(n, (*swap, *gates)), angles.device, torch.complex128)
    (factor,) = kron_factors(plan.blocks[0], gate_table(plan.table, angles[:0]))
    expected = reduce(torch.kron, [torch.from_numpy(gate.gate_row.matrix(gate.angle)) for gate in gates])
    if swap:
        expected = expected.view(-1, *(2,) * n).transpose(1, n).reshape(2**n, -1)
    torch.testing.assert_close(factor, expected)
