"""Random circuits, and their dense simulation by tensor products of the gate table's matrices."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from qpeft.circuits import GATES, Circuit, Operation, Parameter

REAL_GATES = [name for name, gate in GATES.items() if gate.real]


def make_random_circuit(seed: int, n_qubits: int, n_gates: int, *, real: bool = False) -> Circuit:
    """Gates from the whole table: fixed, with fixed angles, with parameters of which some are shared."""
    dice = random.Random(seed)
    names = [name for name in (REAL_GATES if real else GATES) if GATES[name].n_qubits <= n_qubits]
    operations: list[Operation] = []
    n_parameters = 0
    for _ in range(n_gates):
        gate = GATES[dice.choice(names)]
        angle: float | Parameter | None = None
        if gate.n_angles:
            choice = dice.random()
            if choice < 0.2:
                angle = dice.uniform(-7, 7)
            elif choice < 0.35 and n_parameters:
                angle = Parameter(dice.randrange(n_parameters))
            else:
                angle = Parameter(n_parameters)
                n_parameters += 1
        operations.append(Operation(gate.name, tuple(dice.sample(range(n_qubits), gate.n_qubits)), angle))
    return Circuit(n_qubits, tuple(operations))


def simulate_densely(circuit: Circuit, angles: torch.Tensor, state: np.ndarray | None = None) -> np.ndarray:
    """The final state in complex128."""
    n = circuit.n_qubits
    result = (np.eye(1, 2**n, dtype=complex) if state is None else state).reshape((2,) * n)
    for op in circuit.operations:
        k = len(op.wires)
        angle = float(angles[op.angle.index]) if isinstance(op.angle, Parameter) else op.angle
        matrix = op.gate_row.matrix(angle).reshape((2,) * (2 * k))
        result = np.moveaxis(np.tensordot(matrix, result, (range(k, 2 * k), op.wires)), range(k), op.wires)
    return result.ravel()


@pytest.fixture
def random_circuit() -> Callable[..., Circuit]:
    return make_random_circuit


@pytest.fixture
def dense() -> Callable[..., np.ndarray]:
    return simulate_densely
