"""The simulator against PennyLane and Qiskit on random circuits from the whole gate table."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from qpeft.circuits import Circuit, to_pennylane, to_qiskit
from qpeft.quantum.engine import amplitude_embed, probabilities

Make = Callable[..., Circuit]
CASES = [(n, seed) for n in range(1, 7) for seed in range(4)]


def assert_matches(circuit: Circuit, angles: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(probabilities(circuit, angles).numpy(), expected, atol=1e-12, rtol=0)
    np.testing.assert_allclose(probabilities(circuit, angles.float()).numpy(), expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize(("n", "seed"), CASES)
def test_pennylane(n: int, seed: int, random_circuit: Make) -> None:
    qml = pytest.importorskip("pennylane")
    circuit = random_circuit(seed, n, 10 * (seed + 1), simple=False)
    angles = torch.randn(circuit.n_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    @qml.qnode(qml.device("default.qubit", wires=n))
    def theirs() -> object:
        to_pennylane(circuit)(angles.numpy())
        return qml.probs(wires=range(n))

    assert_matches(circuit, angles, np.asarray(theirs()))


@pytest.mark.parametrize(("n", "seed"), CASES)
def test_qiskit(n: int, seed: int, random_circuit: Make) -> None:
    quantum_info = pytest.importorskip("qiskit.quantum_info")
    circuit = random_circuit(100 + seed, n, 10 * (seed + 1), simple=False)
    angles = torch.randn(circuit.n_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    program = to_qiskit(circuit).assign_parameters(angles.tolist())
    theirs = quantum_info.Statevector(program).probabilities()
    # Qiskit counts qubit 0 as the least significant bit.
    assert_matches(circuit, angles, theirs.reshape((2,) * n).transpose(range(n)[::-1]).ravel())


@pytest.mark.parametrize(("d", "n"), [(24, 5), (32, 5), (768, 10)])
def test_amplitude_embedding_as_pennylane(d: int, n: int) -> None:
    qml = pytest.importorskip("pennylane")
    x = torch.randn(d, dtype=torch.float64, generator=torch.Generator().manual_seed(d))

    @qml.qnode(qml.device("default.qubit", wires=n))
    def theirs() -> object:
        qml.AmplitudeEmbedding(x.numpy(), wires=range(n), pad_with=0.0, normalize=True)
        return qml.state()

    np.testing.assert_allclose(amplitude_embed(x, n).numpy(), np.asarray(theirs()), atol=1e-15)
