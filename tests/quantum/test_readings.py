"""What is known of QAA's readings on paper: closed form, dead start, spread, the trace that padding leaves."""

import math
from functools import reduce

import pytest
import torch
from torch import Tensor

from qpeft.circuits import build_ansatz
from qpeft.quantum import amplitude_embed
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.quantum.starts import random_angles


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_one_layer_equals_its_closed_form() -> None:
    """z_i is the mean of the product over j <= i of cos(a_j) Z_j + sin(a_j) Y_j."""
    n, d = 5, 24
    circuit = build_ansatz("rx_cnot", n, 1)
    x, angles = normal(7, d), normal(circuit.n_parameters, seed=1)
    state = amplitude_embed(x, n).to(torch.complex128)
    pauli = torch.tensor([[[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, -1j], [1j, 0]]], dtype=torch.complex128)
    mixed = [math.cos(a) * pauli[1] + math.sin(a) * pauli[2] for a in angles.tolist()]
    for i, z in enumerate(EmbeddedCircuit(circuit)(x, angles).T):
        observable = reduce(torch.kron, mixed[: i + 1] + [pauli[0]] * (n - i - 1))
        expected = torch.einsum("ta,ab,tb->t", state.conj(), observable, state).real
        torch.testing.assert_close(z, expected, atol=1e-14, rtol=0)


def test_first_angle_only_rescales_the_first_reading() -> None:
    circuit = build_ansatz("rx_cnot", 5, 1)
    read, x, angles = EmbeddedCircuit(circuit), normal(7, 24), normal(circuit.n_parameters, seed=1)
    plain_first = read(x, torch.zeros_like(angles))[:, 0]
    torch.testing.assert_close(read(x, angles)[:, 0], angles[0].cos() * plain_first)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_rx_angles_of_zero_have_no_gradient(depth: int) -> None:
    """Why the angles do not start at zero."""
    circuit = build_ansatz("rx_cnot", 5, depth)
    read, x = EmbeddedCircuit(circuit), normal(6, 24)

    def largest_slope(angles: Tensor) -> float:
        return torch.autograd.functional.jacobian(lambda a: read(x, a), angles).abs().max().item()

    assert largest_slope(torch.zeros(circuit.n_parameters, dtype=torch.float64)) < 1e-15
    assert largest_slope(random_angles(circuit.n_parameters).double()) > 0.1


def test_start_is_spread_over_the_whole_circle() -> None:
    torch.manual_seed(0)
    angles = random_angles(2000)
    assert angles.abs().max() <= math.pi
    assert angles.std().item() == pytest.approx(math.pi / math.sqrt(3), rel=0.05)


def test_spread_over_random_states() -> None:
    """A traceless A with A^2 = 1 and real entries varies by 2/(N+2); RX makes half of it imaginary, which reads 0."""
    n = 8
    x = normal(4000, 2**n)
    real = EmbeddedCircuit(build_ansatz("ry_cnot", n, 2))
    spread = real(x, normal(real.circuit.n_parameters, seed=1)).std(0)
    torch.testing.assert_close(spread, torch.full_like(spread, math.sqrt(2 / (2**n + 2))), rtol=0.06, atol=0)
    paper = EmbeddedCircuit(build_ansatz("rx_cnot", n, 2))
    torch.manual_seed(0)
    over_starts = [paper(x[:500], random_angles(paper.circuit.n_parameters).double()).std(0) for _ in range(20)]
    assert torch.stack(over_starts).square().mean().sqrt().item() == pytest.approx(2 ** (-n / 2), rel=0.15)


def test_padding_shifts_the_first_two_readings() -> None:
    circuit = build_ansatz("rx_cnot", 10, 1)
    z = EmbeddedCircuit(circuit)(normal(400, 768), torch.zeros(10, dtype=torch.float64)).mean(0)
    expected = torch.tensor([1 / 3, -1 / 3, *[0.0] * 8], dtype=torch.float64)
    torch.testing.assert_close(z, expected, atol=8e-3, rtol=0)
