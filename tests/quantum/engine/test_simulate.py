"""The simulator: norm, dense algebra, batches, precision, gradients, known facts, and its errors."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.circuits import GATES, Circuit, Operation, Parameter, build_ansatz
from qpeft.errors import ShapeError
from qpeft.quantum.engine import final_state, probabilities

Make = Callable[..., Circuit]
Dense = Callable[..., np.ndarray]


def angles_for(circuit: Circuit, seed: int = 0, *batch: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 6 * torch.rand(*batch, circuit.n_parameters, generator=generator, dtype=dtype) - 3


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 8),
    names=st.lists(st.sampled_from(list(GATES)), max_size=25),
    wires=st.randoms(use_true_random=False),
)
def test_norm_is_kept(n: int, names: list[str], wires: Random) -> None:
    gates = [GATES[name] for name in names if GATES[name].n_qubits <= n]
    circuit = Circuit(
        n,
        tuple(
            Operation(g.name, tuple(wires.sample(range(n), g.n_qubits)), (1.3,) * g.n_angles or None) for g in gates
        ),
    )
    result = probabilities(circuit, torch.zeros(0, dtype=torch.float64))
    assert result.min() >= 0
    assert abs(result.sum() - 1) < 1e-12


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8])
def test_equals_dense_algebra(n: int, real: bool, random_circuit: Make, dense: Dense) -> None:
    for seed in range(8):
        circuit = random_circuit(seed, n, 10 + 5 * seed, real=real)
        angles = angles_for(circuit, seed)
        expected = dense(circuit, angles)
        state = final_state(circuit, angles)
        assert state.is_complex() != circuit.is_real
        np.testing.assert_allclose(state.numpy(), expected, atol=1e-12)
        single = probabilities(circuit, angles.float())
        assert single.dtype == torch.float32
        np.testing.assert_allclose(single.numpy(), np.abs(expected) ** 2, atol=5e-6)


@pytest.mark.parametrize("n", [13, 14])
def test_three_groups_of_qubits(n: int, dense: Dense) -> None:
    circuit = build_ansatz("ryrz_cnot", n, 2)
    angles = angles_for(circuit)
    np.testing.assert_allclose(final_state(circuit, angles).numpy(), dense(circuit, angles), atol=1e-12)


@pytest.mark.parametrize("complex_states", [False, True])
@pytest.mark.parametrize("name", ["ry_cnot", "rx_cnot"])
@pytest.mark.parametrize("n", [3, 8])
def test_starts_from_the_given_states(n: int, name: str, complex_states: bool, dense: Dense) -> None:
    circuit = build_ansatz(name, n, 2)
    angles = angles_for(circuit)
    states = torch.randn(4, 2**n, dtype=torch.complex128 if complex_states else torch.float64)
    result = final_state(circuit, angles, states)
    assert result.is_complex() == (complex_states or name == "rx_cnot")
    for row, state in zip(result, states, strict=True):
        np.testing.assert_allclose(row.numpy(), dense(circuit, angles, state.numpy()), atol=1e-12)


@pytest.mark.parametrize("n", [4, 8, 13])
@pytest.mark.parametrize(
    ("angle_batch", "state_batch"),
    [((), None), ((3,), None), ((2, 3), None), ((), (4,)), ((3,), (3,)), ((3, 1), (4,)), ((1,), (2, 3)), ((3,), ())],
)
def test_batches_broadcast(n: int, angle_batch: tuple[int, ...], state_batch: tuple[int, ...] | None) -> None:
    controlled = Circuit(n, (Operation("cry", (n - 1, 1), Parameter(0)), Operation("h", (0,))))
    circuit = build_ansatz("ry_cnot", n, 2) + controlled
    angles = angles_for(circuit, 1, *angle_batch)
    states = None if state_batch is None else torch.randn(*state_batch, 2**n, dtype=torch.float64)
    result = probabilities(circuit, angles, states)
    batch = torch.broadcast_shapes(angle_batch, state_batch or ())
    assert result.shape == (*batch, 2**n)
    all_angles = angles.expand(*batch, -1).reshape(-1, circuit.n_parameters)
    all_states = [None] * len(all_angles) if states is None else list(states.expand(*batch, -1).reshape(-1, 2**n))
    one_by_one = [probabilities(circuit, a, s) for a, s in zip(all_angles, all_states, strict=True)]
    torch.testing.assert_close(result.reshape(-1, 2**n), torch.stack(one_by_one))


def test_circuits_without_rotations_keep_the_batch() -> None:
    for operations in [(), (Operation("cx", (0, 1)),), (Operation("h", (0,)),)]:
        circuit = Circuit(2, operations)
        assert probabilities(circuit, torch.zeros(3, 0)).shape == (3, 4)
        assert probabilities(circuit, torch.zeros(3, 1, 0), torch.zeros(5, 4)).shape == (3, 5, 4)


@pytest.mark.parametrize("n", [3, 7])
def test_real_path_equals_complex_path(n: int, random_circuit: Make) -> None:
    circuit = random_circuit(3, n, 40, real=True)
    global_phase = Circuit(n, tuple(Operation("sdg", (wire,)) for wire in range(n)))
    angles = angles_for(circuit)
    assert not final_state(circuit, angles).is_complex()
    assert final_state(circuit + global_phase, angles).is_complex()
    torch.testing.assert_close(probabilities(circuit, angles), probabilities(circuit + global_phase, angles))


@pytest.mark.parametrize("n", [2, 7])
def test_gradients_to_angles_and_states(n: int, random_circuit: Make) -> None:
    circuit = random_circuit(5, n, 12)
    angles = angles_for(circuit).requires_grad_()
    states = torch.randn(2**n, dtype=torch.float64, requires_grad=True)
    readout = torch.randn(2**n, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, s: probabilities(circuit, a, s) @ readout, (angles, states))


def test_gradients_are_finite_where_amplitudes_vanish() -> None:
    for name in ("ry_cnot", "ryrz_cnot"):
        circuit = build_ansatz(name, 3, 2)
        angles = torch.zeros(circuit.n_parameters, requires_grad=True)
        states = torch.zeros(2, 8, requires_grad=True)
        (probabilities(circuit, angles, states).sum() + probabilities(circuit, angles)[1]).backward()
        assert angles.grad is not None
        assert states.grad is not None
        assert angles.grad.isfinite().all()
        assert states.grad.isfinite().all()


def test_autocast_does_not_lower_the_precision() -> None:
    circuit = build_ansatz("ry_cnot", 8, 4)
    angles = angles_for(circuit, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        result = probabilities(circuit, angles)
    assert torch.equal(result, probabilities(circuit, angles))


def test_half_precision_states_are_raised() -> None:
    circuit = build_ansatz("ry_cnot", 3, 1)
    states = torch.eye(8, dtype=torch.bfloat16)
    assert probabilities(circuit, torch.zeros(3), states).dtype == torch.float32


def test_two_runs_agree_to_the_bit() -> None:
    circuit = build_ansatz("rx_cnot", 9, 4)
    angles = angles_for(circuit)
    assert torch.equal(probabilities(circuit, angles), probabilities(circuit, angles.clone()))


def test_qubit_0_is_the_most_significant_bit() -> None:
    circuit = Circuit(4, (Operation("ry", (0,), torch.pi),))
    assert probabilities(circuit, torch.zeros(0)).argmax() == 2**3


@pytest.mark.parametrize("n", [3, 8])
def test_rx_and_ry_families_part_at_the_second_layer(n: int) -> None:
    """Known facts about arXiv:2410.09846, Eqs. 1 and 12."""
    for depth, same in [(1, True), (2, False)]:
        circuits = [build_ansatz(name, n, depth) for name in ("ry_cnot", "rx_cnot")]
        ry, rx = (probabilities(circuit, angles_for(circuit)) for circuit in circuits)
        assert torch.allclose(ry, rx, atol=1e-14, rtol=0) == same


@pytest.mark.parametrize("name", ["rxrz_cnot", "ryrz_cnot"])
def test_the_last_rz_layer_never_matters(name: str) -> None:
    """Known fact about arXiv:2410.09846, Eqs. 13 and 14: N angles without effect."""
    n = 4
    circuit = build_ansatz(name, n, 3)
    angles = angles_for(circuit).requires_grad_()
    readout = torch.randn(2**n, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(probabilities(circuit, angles) @ readout, angles)
    assert gradient[-n:].abs().max() < 1e-14
    assert gradient[:-n].abs().min() > 1e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_runs_on_the_device_of_the_angles() -> None:
    circuit = build_ansatz("ryrz_cnot", 7, 2)
    angles = angles_for(circuit)
    torch.testing.assert_close(probabilities(circuit, angles.cuda()).cpu(), probabilities(circuit, angles))


def test_errors_name_the_shape() -> None:
    circuit = build_ansatz("ry_cnot", 2, 3)
    with pytest.raises(ShapeError, match=r"angles must have 6 values .* got shape \(2, 5\)"):
        probabilities(circuit, torch.zeros(2, 5))
    with pytest.raises(ShapeError, match=r"states must have 2\*\*2 = 4 amplitudes .* got shape \(3,\)"):
        probabilities(circuit, torch.zeros(6), torch.zeros(3))
    with pytest.raises(ShapeError, match=r"float32 or float64; got torch\.bfloat16"):
        probabilities(circuit, torch.zeros(6, dtype=torch.bfloat16))
