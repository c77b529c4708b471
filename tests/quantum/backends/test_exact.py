"""The exact backend keeps its precision and declares what is true."""

import pytest
import torch

from qpeft.circuits import build_ansatz
from qpeft.errors import ConfigError
from qpeft.quantum import ExactBackend, probabilities

# What rounding leaves of each precision on any processor.
EXACT = {torch.float32: 2e-6, torch.float64: 1e-12}


@pytest.mark.parametrize("dtype", list(EXACT))
def test_dtype_is_that_of_the_result(dtype: torch.dtype) -> None:
    circuit = build_ansatz("rx_cnot", 3, 2)
    for angles in (torch.ones(6), torch.ones(6, dtype=torch.float64)):
        for states in (None, torch.eye(8), torch.eye(8, dtype=torch.complex128)):
            result = ExactBackend(dtype).probabilities(circuit, angles, states)
            assert result.dtype == dtype
            expected = probabilities(
                circuit, angles.double(), states if states is None else states.to(torch.complex128)
            )
            torch.testing.assert_close(result.double(), expected, atol=EXACT[dtype], rtol=0)
    assert ExactBackend().probabilities(circuit, torch.ones(6)).dtype == torch.float32


def test_gradients_are_as_declared() -> None:
    backend = ExactBackend(torch.float64)
    angles, states = torch.ones(3, requires_grad=True), torch.eye(8, requires_grad=True)
    backend.probabilities(build_ansatz("ry_cnot", 3, 1), angles, states)[:, 0].sum().backward()
    assert backend.differentiable == (angles.grad is not None)
    assert backend.input_gradient == (states.grad is not None)


def test_refuses_other_precisions() -> None:
    with pytest.raises(ConfigError, match=r"got torch\.float16"):
        ExactBackend(torch.float16)
