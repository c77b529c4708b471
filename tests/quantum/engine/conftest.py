"""Random circuits, and their dense simulation by tensor products of the gate table's matrices."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from qpeft.circuits import GATES, Circuit, Operation, Parameter

REAL_GATES = [name for name, gate in GATES.items() if gate.real]


def make_random_circuit(seed: int, n_qubits: int, n_gates: int, *, real: bool = False, simple: bool = True) -> Circuit:
    """Gates of the table, or only the simulator's own: fixed, with fixed angles, with parameters, some shared."""
    dice = random.Random(seed)
    names = [name for name in (REAL_GATES if real else GATES) if GATES[name].n_qubits <= n_qubits]
    names = [name for name in names if not (simple and GATES[name].pieces)]
    operations: list[Operation] = []
    n_parameters = 0
    for _ in range(n_gates):
        gate = GATES[dice.choice(names)]
        angles: list[float | Parameter] = []
        for _ in range(gate.n_angles):
            choice = dice.random()
            line = {} if simple else {"scale": dice.choice((1.0, -1.0, 0.5)), "shift": dice.choice((0.0, 0.7))}
            if choice < 0.2:
                angles.append(dice.uniform(-7, 7))
            elif choice < 0.35 and n_parameters:
                angles.append(Parameter(dice.randrange(n_parameters), **line))
            else:
                angles.append(Parameter(n_parameters, **line))
                n_parameters += 1
        wires = tuple(dice.sample(range(n_qubits), gate.n_qubits))
        operations.append(Operation(gate.name, wires, angles[0] if len(angles) == 1 else tuple(angles) or None))
    return Circuit(n_qubits, tuple(operations))


def simulate_densely(circuit: Circuit, angles: torch.Tensor, state: np.ndarray | None = None) -> np.ndarray:
    """The final state in complex128."""
    n = circuit.n_qubits
    result = (np.eye(1, 2**n, dtype=complex) if state is None else state).reshape((2,) * n)
    for op in circuit.operations:
        k = len(op.wires)
        values = [float(a.of(angles)) if isinstance(a, Parameter) else a for a in op.angles]
        matrix = op.gate_row.matrix(*values).reshape((2,) * (2 * k))
        result = np.moveaxis(np.tensordot(matrix, result, (range(k, 2 * k), op.wires)), range(k), op.wires)
    return result.ravel()


@pytest.fixture
def random_circuit() -> Callable[..., Circuit]:
    return make_random_circuit


@pytest.fixture
def dense() -> Callable[..., np.ndarray]:
    return simulate_densely
