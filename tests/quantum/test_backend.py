"""The protocol asks for what its docstring promises."""

import torch
from torch import Tensor

from qpeft.circuits import Circuit
from qpeft.quantum import Backend, ExactBackend, Shots, is_exact


class Coin:
    """A backend somebody else might write."""

    name = "coin"
    differentiable = False
    input_gradient = False
    shots = Shots(10)
    noise = None

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        return torch.full((*angles.shape[:-1], 2**circuit.n_qubits), 0.5**circuit.n_qubits)

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        return {"sides": 2}


def test_exact_means_neither_shots_nor_noise() -> None:
    backends: list[Backend] = [ExactBackend(), Coin()]
    assert [is_exact(backend) for backend in backends] == [True, False]
