"""Every gate, on every way a circuit is run: values and gradients are those of the dense matrix."""

import numpy as np
import pytest
import torch
from torch import Tensor

from qpeft.circuits import Circuit, Operation, Parameter, build_ansatz
from qpeft.circuits.unitary import unitary
from qpeft.errors import ShapeError
from qpeft.quantum import Execution, Executor
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.quantum.backends.exact import ExactBackend
from qpeft.quantum.backends.noisy import NoisyBackend
from qpeft.quantum.noise import NoiseModel
from qpeft.quantum.simple import simple

GATES = (
    *(Operation("u", (wire,), (Parameter(0, 0.5), Parameter(1, -2.0, 0.3), 0.2 + wire)) for wire in range(3)),
    *(Operation(name, (0, 2), Parameter(2, 1.5)) for name in ("rxx", "ryy", "rzz", "rzx", "rbs", "cp")),
    Operation("cu", (2, 1), (Parameter(0), Parameter(1), Parameter(3), Parameter(3, 2.0))),
    *(Operation(name, (1, 0)) for name in ("ch", "cs", "csx", "iswap")),
    *(Operation(name, (2, 0, 1)) for name in ("ccx", "ccz", "cswap")),
    *(Operation("p", (0,), Parameter(3)), Operation("sxdg", (1,)), Operation("tdg", (2,)), Operation("h", (2,))),
)
EVERY = Circuit(3, GATES)
ANGLES = torch.tensor([0.4, -0.7, 1.1, 2.0], dtype=torch.float64)


def dense(angles: Tensor, state: Tensor | None = None) -> Tensor:
    start = np.eye(8)[0] if state is None else state.numpy()
    return torch.from_numpy(np.abs(unitary(EVERY, angles.tolist()) @ start) ** 2)


@pytest.mark.parametrize("backend", ["exact", "noisy:readout=0", "pennylane", "aer"])
def test_values(backend: str) -> None:
    if backend == "pennylane":
        pytest.importorskip("pennylane")
    if backend == "aer":
        pytest.importorskip("qiskit_aer")
    run = Execution.open(backend).backend
    torch.testing.assert_close(run.probabilities(EVERY, ANGLES), dense(ANGLES), atol=1e-12, rtol=0)


def test_gradients_by_every_way_agree() -> None:
    weights = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = 1e-6 * torch.eye(4, dtype=torch.float64)
    expected = torch.stack([(dense(ANGLES + row) - dense(ANGLES - row)) @ weights / 2e-6 for row in step])
    for gradient in ("autograd", "shift", "surrogate"):
        angles = ANGLES.clone().requires_grad_()
        (Executor(EVERY, Execution.open("exact", gradient))(angles) @ weights).backward()
        torch.testing.assert_close(angles.grad, expected, atol=1e-8, rtol=0)


def test_embedded_and_under_noise() -> None:
    x = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    states = x / x.norm(dim=-1, keepdim=True)
    signs = torch.tensor([1 - 2 * (row >> 2 & 1) for row in range(8)], dtype=torch.float64)
    expected = torch.stack([dense(ANGLES, state) @ signs for state in states])
    for backend in (ExactBackend(), NoisyBackend(NoiseModel(readout=0.0))):
        found = EmbeddedCircuit(EVERY, wires=(0,), backend=backend)(x, ANGLES)
        torch.testing.assert_close(found.squeeze(-1), expected, atol=1e-12, rtol=0)
    device = NoisyBackend(NoiseModel(device="torino")).probabilities(build_ansatz("brickwork", 3, 1), torch.ones(8))
    assert abs(float(device.sum()) - 1) < 1e-5


def test_simple_circuits_stay_themselves() -> None:
    circuit, angles = build_ansatz("ry_cnot", 3, 1), torch.zeros(3)
    assert simple(circuit, angles) == (circuit, angles)
    with pytest.raises(ShapeError, match="4 values on the last axis"):
        simple(EVERY, angles)
