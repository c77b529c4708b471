"""The fused kernels against the torch path: in Triton's interpreter, or on a GPU where there is one; and compiled."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from qpeft.circuits import ANSATZE, Circuit, Operation, Parameter, build_ansatz
from qpeft.errors import CircuitError, ConfigError
from qpeft.quantum import ExactBackend, open_backend
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.quantum.engine import amplitude_embed, probabilities

pytest.importorskip("triton")
Make = Callable[..., Circuit]
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
FUSED = ExactBackend(kernel="triton")
SHARED = Circuit(
    3,
    (
        Operation("ry", (0,), Parameter(1)),
        Operation("crz", (0, 2), Parameter(0)),
        Operation("rx", (1,), Parameter(1)),
        Operation("cry", (2, 1), 0.3),
    ),
)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def assert_equals_torch(circuit: Circuit, angles: Tensor, states: Tensor | None = None, atol: float = 1e-12) -> None:
    if not circuit.n_parameters:
        return  # without angles the torch path runs
    leaves = [leaf.clone().requires_grad_() for leaf in (angles, states) if leaf is not None]
    arguments = leaves if states is not None else [*leaves, None]
    ours, theirs = FUSED.probabilities(circuit, *arguments), probabilities(circuit, *arguments)
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)
    cotangent = normal(*ours.shape, seed=5, dtype=ours.dtype)
    for mine, other in zip(
        torch.autograd.grad(ours, leaves, cotangent), torch.autograd.grad(theirs, leaves, cotangent), strict=True
    ):
        torch.testing.assert_close(mine, other, atol=atol, rtol=0)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("name", ANSATZE)
def test_ansatz(name: str, n: int) -> None:
    circuit = build_ansatz(name, n, 2)
    assert_equals_torch(circuit, normal(circuit.n_parameters))


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_random_circuits(n: int, real: bool, random_circuit: Make) -> None:
    for seed in range(4):
        circuit = random_circuit(seed, n, 10 + 6 * seed, real=real)
        assert_equals_torch(circuit, normal(circuit.n_parameters), normal(2**n, seed=1))


@pytest.mark.parametrize("complex_states", [False, True])
@pytest.mark.parametrize(
    ("angle_batch", "state_batch"),
    [((), (4,)), ((3,), None), ((2, 2), None), ((3,), (3,)), ((3, 1), (2,)), ((1,), (2, 3)), ((3,), ()), ((), (0,))],
)
def test_batches(angle_batch: tuple[int, ...], state_batch: tuple[int, ...] | None, complex_states: bool) -> None:
    dtype = torch.complex128 if complex_states else torch.float64
    circuit = SHARED if complex_states else build_ansatz("ry_cnot", 3, 2)
    states = None if state_batch is None else normal(*state_batch, 8, seed=1, dtype=dtype)
    assert_equals_torch(circuit, normal(*angle_batch, circuit.n_parameters), states)


def test_single_precision_and_no_gradient() -> None:
    circuit = build_ansatz("ry_cnot", 6, 3)
    angles = normal(circuit.n_parameters, dtype=torch.float32)
    assert_equals_torch(circuit, angles, atol=2e-6)
    with torch.no_grad():
        torch.testing.assert_close(FUSED.probabilities(circuit, angles), probabilities(circuit, angles))


def test_qaa_through_the_kernel() -> None:
    """Amplitude embedding, RX, readout: the tokens are the programs of one launch."""
    circuit = build_ansatz("rx_cnot", 4, 1)
    x = [normal(3, 11).requires_grad_() for _ in range(2)]
    angles = [normal(4, seed=2).requires_grad_() for _ in range(2)]
    results = []
    for place, backend in enumerate((FUSED, ExactBackend())):
        z = EmbeddedCircuit(circuit, backend=backend)(x[place], angles[place])
        results.append([z, *torch.autograd.grad((z * normal(3, 4, seed=3)).sum(), (x[place], angles[place]))])
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=0)


def test_values_of_the_kernel_are_those_of_pennylane() -> None:
    qml = pytest.importorskip("pennylane")
    circuit = build_ansatz("ryrz_cnot", 4, 2)
    angles, x = normal(circuit.n_parameters), normal(13, seed=4)

    @qml.qnode(qml.device("default.qubit", wires=4))
    def theirs() -> object:
        qml.AmplitudeEmbedding(x.cpu().numpy(), wires=range(4), pad_with=0.0, normalize=True)
        for op in circuit.operations:
            gate = {"ry": qml.RY, "rz": qml.RZ, "cx": qml.CNOT}[op.gate]
            value = (float(angles[op.angle.index]),) if isinstance(op.angle, Parameter) else ()
            gate(*value, wires=op.wires)
        return qml.probs(wires=range(4))

    ours = FUSED.probabilities(circuit, angles, amplitude_embed(x, 4)).cpu()
    torch.testing.assert_close(ours, torch.as_tensor(theirs()), atol=1e-12, rtol=0)


def test_it_says_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = build_ansatz("ry_cnot", 13, 1)
    with pytest.raises(CircuitError, match=r"at most 12 qubits.* got 13.* kernel=torch"):
        FUSED.probabilities(circuit, torch.zeros(13))
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ConfigError, match="needs tensors on a GPU; got cpu; use kernel=torch"):
        FUSED.probabilities(build_ansatz("ry_cnot", 2, 1), torch.zeros(2))
    with pytest.raises(ConfigError, match="kernel must be"):
        ExactBackend(kernel="cuda")
    assert open_backend("exact:kernel=triton") == FUSED


def test_the_kernels_compile_for_gpus_without_spilling_states() -> None:
    """For A100 and H100, up to the largest state, by Triton's own compiler, which needs no GPU."""
    script = Path(__file__).with_name("compile_kernels.py")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2 * 2 * 6
    for row in rows:
        assert row["binary"] > 0, row
        # 32 bytes are the C library's cosine of huge angles; a spilled state would be 8 or more amplitudes besides.
        assert row["stack"] <= 32, row
        assert row["registers"] * 32 * row["warps"] <= 1 << 16, row
