"""Readouts against their definitions, their gradients and their errors."""

import pytest
import torch

from qpeft.errors import ShapeError
from qpeft.quantum.engine import marginal, pauli_z


def some_probabilities(n: int, *batch: int) -> torch.Tensor:
    return torch.softmax(torch.randn(*batch, 2**n, dtype=torch.float64), -1)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pauli_z_is_the_expectation_of_the_operator(n: int) -> None:
    p = some_probabilities(n, 3)
    z = torch.tensor([1.0, -1.0], dtype=torch.float64)
    for qubit in range(n):
        diagonal = torch.ones(1, dtype=torch.float64)
        for wire in range(n):
            diagonal = torch.kron(diagonal, z if wire == qubit else z.abs())
        torch.testing.assert_close(pauli_z(p)[:, qubit], p @ diagonal)


def test_pauli_z_is_the_difference_of_the_marginal() -> None:
    p = some_probabilities(4)
    for qubit in range(4):
        zero, one = marginal(p, [qubit])
        torch.testing.assert_close(pauli_z(p)[qubit], zero - one)


def test_marginals_follow_the_order_of_the_wires() -> None:
    p = some_probabilities(3, 2)
    torch.testing.assert_close(marginal(p, [2, 0]), p.view(2, 2, 2, 2).sum(2).mT.flatten(1))
    torch.testing.assert_close(marginal(p, range(3)), p)


def test_gradients() -> None:
    p = some_probabilities(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(pauli_z, p)
    assert torch.autograd.gradcheck(lambda q: marginal(q, [1, 0]), p)


@pytest.mark.parametrize("size", [0, 1, 3, 6])
def test_names_the_size_no_register_has(size: int) -> None:
    with pytest.raises(ShapeError, match=rf"got {size} in shape \(2, {size}\)"):
        pauli_z(torch.zeros(2, size))


@pytest.mark.parametrize("wires", [[], [0, 0], [2], [-1]])
def test_names_wrong_wires(wires: list[int]) -> None:
    with pytest.raises(ShapeError, match=r"different numbers in 0\.\.1, at least one; got \["):
        marginal(torch.ones(4) / 4, wires)
