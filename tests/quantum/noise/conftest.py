"""Random circuits of a line of qubits, of the gates that noise is told for."""

import random
from collections.abc import Callable

import pytest
import torch

from qpeft.circuits import GATES, Circuit, Operation, Parameter


def make_line_circuit(seed: int, n_qubits: int, n_gates: int, *, anywhere: bool = False) -> Circuit:
    """Fixed gates, rotations by fixed angles and by parameters, some shared; pairs are neighbours unless anywhere."""
    dice = random.Random(seed)
    names = [name for name, gate in GATES.items() if gate.n_qubits <= n_qubits and not gate.pieces]
    operations: list[Operation] = []
    count = 0
    for _ in range(n_gates):
        gate = GATES[dice.choice(names)]
        angle: float | Parameter | None = None
        if gate.n_angles:
            choice = dice.random()
            angle = dice.uniform(-7, 7) if choice < 0.3 else Parameter(dice.randrange(count) if count > 2 else count)
            count += angle == Parameter(count)
        first = dice.randrange(n_qubits - gate.n_qubits + 1)
        wires = [first, first + 1][: gate.n_qubits]
        wires = dice.sample(range(n_qubits), gate.n_qubits) if anywhere else dice.sample(wires, gate.n_qubits)
        operations.append(Operation(gate.name, tuple(wires), angle))
    return Circuit(n_qubits, tuple(operations))


def make_angles(circuit: Circuit, seed: int = 0, rows: tuple[int, ...] = ()) -> torch.Tensor:
    """Float64 angles of a circuit."""
    dice = torch.Generator().manual_seed(seed)
    return torch.randn(*rows, circuit.n_parameters, dtype=torch.float64, generator=dice)


@pytest.fixture
def line_circuit() -> Callable[..., Circuit]:
    return make_line_circuit


@pytest.fixture
def angles_of() -> Callable[..., torch.Tensor]:
    return make_angles
