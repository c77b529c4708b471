"""The PennyLane backend: every gate, honest gradients, states as they are, seeds, NaN refused."""

import pytest
import torch

from qpeft.circuits import GATES, Circuit, Operation, Parameter, build_ansatz
from qpeft.errors import BackendError
from qpeft.quantum import ExactBackend, Shots, amplitude_embed
from qpeft.quantum.backends.pennylane import PennyLaneBackend

pytest.importorskip("pennylane")
DEVICES = ["default.qubit", "lightning.qubit", "default.mixed"]
SOURCE = torch.Generator().manual_seed(2)
CIRCUIT = build_ansatz("rxrz_cnot", 3, 2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("gate", GATES)
def test_every_gate(device: str, gate: str) -> None:
    turns = tuple(Operation("ry", (wire,), 0.7 + wire) for wire in range(3))
    row = GATES[gate]
    middle = Operation(gate, (2, 0, 1)[: row.n_qubits], tuple(map(Parameter, range(row.n_angles))) or None)
    circuit = Circuit(3, (*turns, middle, *(Operation("rx", (wire,), 0.4) for wire in range(3))))
    angles = torch.full((circuit.n_parameters,), 1.3, dtype=torch.float64)
    expected = ExactBackend().probabilities(circuit, angles)
    result = PennyLaneBackend(device).probabilities(circuit, angles)
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("angle_axes", "state_axes"), [((), (3,)), ((2, 1), (3,)), ((3,), ()), ((1,), (1, 1))])
def test_axes_broadcast(device: str, angle_axes: tuple[int, ...], state_axes: tuple[int, ...]) -> None:
    angles = torch.randn(*angle_axes, 12, dtype=torch.float64, generator=SOURCE)
    states = torch.randn(*state_axes, 8, dtype=torch.complex128, generator=SOURCE)
    expected = ExactBackend().probabilities(CIRCUIT, angles, states)
    torch.testing.assert_close(PennyLaneBackend(device).probabilities(CIRCUIT, angles, states), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_lengths_of_states_are_kept(device: str) -> None:
    angles = torch.zeros(12, dtype=torch.float64)
    states = torch.stack([torch.zeros(8), 3 * torch.eye(8)[2]]).double()
    result = PennyLaneBackend(device).probabilities(CIRCUIT, angles, states)
    assert result.sum(-1).tolist() == pytest.approx([0, 9])


def test_gradients_of_padded_states_are_finite_and_right() -> None:
    """24 of 32 amplitudes, as an embedded hidden state has them: the case where adjoint gives NaN."""
    circuit = build_ansatz("ry_cnot", 5, 2)
    angles = torch.randn(10, dtype=torch.float64, generator=SOURCE).requires_grad_()
    x = torch.randn(4, 24, dtype=torch.float64, generator=SOURCE).requires_grad_()
    weights = torch.randn(4, 32, dtype=torch.float64, generator=SOURCE)

    def gradients(backend: PennyLaneBackend | ExactBackend) -> tuple[torch.Tensor, ...]:
        result = backend.probabilities(circuit, angles, amplitude_embed(x, 5))
        return torch.autograd.grad((weights * result).sum(), (angles, x))

    torch.testing.assert_close(gradients(PennyLaneBackend()), gradients(ExactBackend()))


@pytest.mark.parametrize(
    "backend",
    [PennyLaneBackend(shots=Shots(100)), PennyLaneBackend("lightning.qubit"), PennyLaneBackend("default.mixed")],
    ids=lambda backend: f"{backend.device}-{backend.shots}",
)
def test_everything_else_declares_no_gradient(backend: PennyLaneBackend) -> None:
    angles = torch.zeros(12, requires_grad=True)
    assert (backend.differentiable, backend.input_gradient) == (False, False)
    assert not backend.probabilities(CIRCUIT, angles).requires_grad


def test_nan_is_refused() -> None:
    angles = torch.full((12,), float("nan"))
    for device in ("default.qubit", "lightning.qubit"):
        with pytest.raises(BackendError, match="not finite"):
            PennyLaneBackend(device).probabilities(CIRCUIT, angles)
    angles = torch.zeros(12, requires_grad=True)
    with pytest.raises(BackendError, match="not finite"):
        (PennyLaneBackend().probabilities(CIRCUIT, angles) * float("inf")).sum().backward()


def test_options_reach_the_device() -> None:
    """A seed among the options wins over that of the call."""
    backend = PennyLaneBackend(shots=Shots(100), options=(("seed", 5),), noise="a device's own")
    one, other = (backend.probabilities(CIRCUIT, torch.ones(12), seed=seed) for seed in (1, 2))
    assert torch.equal(one, other)
    assert backend.noise == "a device's own"
    assert backend.details(CIRCUIT)["seed"] == 5


@pytest.mark.parametrize("device", DEVICES)
def test_relative_shots_follow_the_qubits(device: str) -> None:
    result = PennyLaneBackend(device, Shots.parse("20x")).probabilities(CIRCUIT, torch.ones(12), seed=1)
    counts = result * 20 * 8
    torch.testing.assert_close(counts, counts.round())
    assert counts.sum() == 160
