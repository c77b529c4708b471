"""The noisy backend keeps its precision, declares what is true, and tells a record what it ran on."""

import pytest
import torch

from qpeft.circuits import build_ansatz
from qpeft.errors import ConfigError
from qpeft.quantum.backends.noisy import NoisyBackend
from qpeft.quantum.noise import NoiseModel, noisy_probabilities

TORINO = NoiseModel(device="torino")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_that_of_the_result(dtype: torch.dtype) -> None:
    circuit = build_ansatz("rx_cnot", 3, 2)
    for angles in (torch.ones(6), torch.ones(6, dtype=torch.float64)):
        for states in (None, torch.eye(8), torch.eye(8, dtype=torch.complex128)):
            result = NoisyBackend(TORINO, dtype).probabilities(circuit, angles, states)
            assert result.dtype == dtype
            torch.testing.assert_close(
                result, noisy_probabilities(circuit, TORINO, angles, states).to(dtype), atol=1e-6, rtol=0
            )


def test_gradients_are_as_declared() -> None:
    backend = NoisyBackend(TORINO, torch.float64)
    angles, states = torch.ones(3, requires_grad=True), torch.eye(8, requires_grad=True)
    backend.probabilities(build_ansatz("ry_cnot", 3, 1), angles, states)[:, 0].sum().backward()
    assert backend.differentiable == (angles.grad is not None)
    assert backend.input_gradient == (states.grad is not None)


def test_a_backend_is_a_value_and_the_seed_changes_nothing() -> None:
    assert NoisyBackend(TORINO) == NoisyBackend(NoiseModel(device="torino"))
    assert hash(NoisyBackend(TORINO)) == hash(NoisyBackend(NoiseModel(device="torino")))
    circuit, angles = build_ansatz("ry_cnot", 2, 1), torch.ones(2)
    backend = NoisyBackend(TORINO)
    assert torch.equal(backend.probabilities(circuit, angles, seed=1), backend.probabilities(circuit, angles, seed=2))


def test_details() -> None:
    circuit = build_ansatz("ry_cnot", 3, 2)
    details = NoisyBackend(TORINO).details(circuit)
    assert details == {
        "device": "torino",
        "calibrated": "2025-02-26T15:26:08-05:00",
        "physical_qubits": "92 99 98",
        "transpile_level": 3,
        "transpile_seed": 0,
        "gates_cz": 4,
        "gates_rz": details["gates_rz"],
        "gates_sx": 15,
    }
    assert NoisyBackend(NoiseModel(readout=0.1)).details(circuit) == {"readout": 0.1}


def test_refuses_other_precisions() -> None:
    with pytest.raises(ConfigError, match=r"got torch\.float16"):
        NoisyBackend(TORINO, torch.float16)
