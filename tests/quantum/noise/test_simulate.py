"""The noisy simulator: PennyLane's mixed states, the exact simulator, and the laws every simulation obeys."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.circuits import Circuit, Operation, Parameter, build_ansatz
from qpeft.errors import CircuitError, ShapeError
from qpeft.quantum import probabilities
from qpeft.quantum.engine import amplitude_embed, pauli_z
from qpeft.quantum.noise import NoiseModel, noisy_observables, noisy_probabilities, simulate
from qpeft.quantum.shift import finite_difference_vjp, parameter_shift_vjp

Make = Callable[..., Circuit]
Angles = Callable[..., torch.Tensor]
RICH = NoiseModel(
    depolarizing=0.01,
    depolarizing2=0.04,
    amplitude_damping=0.02,
    phase_damping=0.03,
    p10=0.02,
    p01=0.07,
    t1=1e-4,
    t2=7e-5,
    gate_time=1e-6,
    gate_time2=4e-6,
)
MODELS = [RICH, NoiseModel(device="torino"), NoiseModel(device="fez", readout=0.0)]


def states_of(*shape: int, seed: int = 0, is_complex: bool = False) -> torch.Tensor:
    dice = torch.Generator().manual_seed(seed)
    dtype = torch.complex128 if is_complex else torch.float64
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=dtype, generator=dice), dim=-1)


@pytest.mark.parametrize("seed", range(6))
def test_without_noise_it_is_the_exact_simulator(seed: int, line_circuit: Make, angles_of: Angles) -> None:
    n = 1 + seed % 4
    circuit = line_circuit(seed, n, 30, anywhere=True)
    angles = angles_of(circuit, seed)
    for states in (None, states_of(3, 2**n), states_of(2**n, is_complex=True)):
        ours = noisy_probabilities(circuit, NoiseModel(), angles, states)
        torch.testing.assert_close(ours, probabilities(circuit, angles, states), atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_numbers_of_ones_own_against_pennylane(seed: int, line_circuit: Make, angles_of: Angles) -> None:
    qml = pytest.importorskip("pennylane")
    n = 1 + seed
    circuit = line_circuit(seed, n, 16, anywhere=True)
    angles = angles_of(circuit, seed)
    pauli = {1: ["X", "Y", "Z"], 2: [a + b for a in "IXYZ" for b in "IXYZ"][1:]}
    matrix = {
        name: np.asarray(qml.pauli.string_to_pauli_word(name).matrix(wire_order=range(len(name))))
        for words in pauli.values()
        for name in words
    }

    @qml.qnode(qml.device("default.mixed", wires=n))
    def theirs() -> object:
        for op in circuit.operations:
            value = float(angles[op.angle.index]) if isinstance(op.angle, Parameter) else op.angle
            qml.QubitUnitary(op.gate_row.matrix(value), wires=op.wires)
            size = len(op.wires)
            p, seconds = ((RICH.depolarizing, RICH.gate_time), (RICH.depolarizing2, RICH.gate_time2))[size - 1]
            # (1 - p) rho + p I/d as a mixture of Pauli words
            words = [np.sqrt(p / 4**size) * matrix[name] for name in pauli[size]]
            qml.QubitChannel([np.sqrt(1 - p + p / 4**size) * np.eye(2**size), *words], wires=op.wires)
            for wire in op.wires:
                qml.AmplitudeDamping(RICH.amplitude_damping, wires=wire)
                qml.PhaseDamping(RICH.phase_damping, wires=wire)
                qml.ThermalRelaxationError(0.0, RICH.t1, RICH.t2, seconds, wires=wire)
        return qml.probs(wires=range(n))

    wanted = np.asarray(theirs()).reshape((2,) * n)
    for axis in range(n):
        flips = np.array([[1 - 0.02, 0.07], [0.02, 1 - 0.07]])
        wanted = np.moveaxis(np.tensordot(flips, wanted, (1, axis)), 0, axis)
    np.testing.assert_allclose(noisy_probabilities(circuit, RICH, angles), wanted.ravel(), atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from(MODELS))
def test_probabilities_are_probabilities(seed: int, n: int, model: NoiseModel) -> None:
    circuit = build_ansatz("ryrz_cnot", n, 2)
    angles = torch.randn(circuit.n_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for states in (None, states_of(2**n, seed=seed), states_of(2**n, seed=seed, is_complex=True)):
        p = noisy_probabilities(circuit, model, angles, states)
        assert p.min() >= 0
        assert p.sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name[:12])
def test_gradients(model: NoiseModel, line_circuit: Make, angles_of: Angles) -> None:
    """Autograd, parameter shift and finite differences, with shared parameters and controlled rotations."""
    circuit = line_circuit(5, 3, 30)
    angles, weights = angles_of(circuit), torch.linspace(-1, 1, 8, dtype=torch.float64)

    def ours(other: Circuit, rows: torch.Tensor) -> torch.Tensor:
        return noisy_probabilities(other, model, rows)

    leaf = angles.clone().requires_grad_()
    (ours(circuit, leaf) @ weights).backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().max() > 0.01
    torch.testing.assert_close(parameter_shift_vjp(ours, circuit, angles, weights), leaf.grad, atol=1e-12, rtol=0)
    torch.testing.assert_close(finite_difference_vjp(ours, circuit, angles, weights), leaf.grad, atol=1e-8, rtol=0)


def test_gradient_to_states() -> None:
    circuit, angles = build_ansatz("rx_cnot", 2, 1), torch.tensor([0.3, 0.9], dtype=torch.float64)
    for is_complex in (False, True):
        states = states_of(3, 4, is_complex=is_complex).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: noisy_probabilities(circuit, RICH, angles, x), (states,))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name[:12])
@pytest.mark.parametrize("is_complex", [False, True])
def test_observables_backwards_are_states_forwards(
    model: NoiseModel, is_complex: bool, line_circuit: Make, angles_of: Angles
) -> None:
    circuit = line_circuit(2, 3, 25)
    angles, states = angles_of(circuit), states_of(5, 8, is_complex=is_complex)
    observables = torch.cat((pauli_z(torch.eye(8)), torch.eye(8)[:, :2]), 1).double()
    matrices = noisy_observables(circuit, model, angles, observables, hermitian=is_complex)
    assert matrices.shape == (5, 8, 8)
    torch.testing.assert_close(matrices, matrices.mH)
    means = torch.einsum("bi,fij,bj->bf", states.conj(), matrices, states)
    forwards = noisy_probabilities(circuit, model, angles, states) @ observables
    torch.testing.assert_close(means.real, forwards, atol=1e-12, rtol=0)


def test_observables_are_differentiable_and_batched(angles_of: Angles) -> None:
    circuit = build_ansatz("ry_cnot", 3, 2)
    angles = angles_of(circuit, rows=(2, 4))
    z = pauli_z(torch.eye(8)).double()
    together = noisy_observables(circuit, RICH, angles, z)
    assert together.shape == (2, 4, 3, 8, 8)
    torch.testing.assert_close(together[1, 2], noisy_observables(circuit, RICH, angles[1, 2], z))
    leaf = angles[0, 0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: noisy_observables(circuit, RICH, a, z)[:, 0], (leaf,))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_batches(n: int, angles_of: Angles) -> None:
    circuit, model = build_ansatz("ry_cnot", n, 2), NoiseModel(device="torino")
    angles, states = angles_of(circuit, rows=(3, 1)), states_of(4, 2**n)
    together = noisy_probabilities(circuit, model, angles, states)
    assert together.shape == (3, 4, 2**n)
    for i in range(3):
        for j in range(4):
            alone = noisy_probabilities(circuit, model, angles[i, 0], states[j])
            torch.testing.assert_close(together[i, j], alone)
    assert noisy_probabilities(circuit, model, angles).shape == (3, 1, 2**n)
    torch.testing.assert_close(
        noisy_probabilities(circuit, model, angles[0, 0]),
        noisy_probabilities(circuit, model, angles[0, 0], torch.eye(2**n, dtype=torch.float64)[0]),
    )


@pytest.mark.parametrize("most", [1, 4**3 * 2])
def test_many_rows_are_simulated_a_few_at_a_time(
    most: int, monkeypatch: pytest.MonkeyPatch, angles_of: Angles
) -> None:
    circuit = build_ansatz("ry_cnot", 3, 2)
    angles = angles_of(circuit, rows=(5, 1))
    together = noisy_probabilities(circuit, RICH, angles)
    monkeypatch.setattr(simulate, "_AT_ONCE", most)
    torch.testing.assert_close(noisy_probabilities(circuit, RICH, angles), together)


def test_circuits_without_parameters_take_batches_too() -> None:
    circuit = Circuit(2, (Operation("h", (0,)),))
    assert noisy_probabilities(circuit, RICH, torch.zeros(3, 0)).shape == (3, 4)
    assert noisy_probabilities(Circuit(2), RICH, torch.zeros(0)).shape == (4,)


def test_precision_follows_angles_and_states() -> None:
    circuit, x = build_ansatz("ry_cnot", 2, 1), amplitude_embed(torch.ones(3), 2)
    assert noisy_probabilities(circuit, RICH, torch.ones(2), x).dtype == torch.float32
    assert noisy_probabilities(circuit, RICH, torch.ones(2), x.double()).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert noisy_probabilities(circuit, RICH, torch.ones(2), x).dtype == torch.float32


def test_a_plan_made_under_inference_mode_serves_training() -> None:
    circuit = build_ansatz("ry_cnot", 2, 3)
    with torch.inference_mode():
        noisy_probabilities(circuit, RICH, torch.ones(6))
    angles = torch.ones(6, requires_grad=True)
    noisy_probabilities(circuit, RICH, angles)[0].backward()
    assert angles.grad is not None


def test_refusals() -> None:
    circuit = build_ansatz("ry_cnot", 2, 1)
    with pytest.raises(ShapeError, match="2 values on the last axis"):
        noisy_probabilities(circuit, RICH, torch.zeros(3))
    with pytest.raises(ShapeError, match=r"2\*\*2 = 4 amplitudes"):
        noisy_probabilities(circuit, RICH, torch.zeros(2), torch.zeros(3))
    with pytest.raises(ShapeError, match=r"observables must have shape \(2\*\*2, features\)"):
        noisy_observables(circuit, RICH, torch.zeros(2), torch.zeros(2, 4))
    with pytest.raises(CircuitError, match="up to 12 qubits"):
        noisy_probabilities(Circuit(13), RICH, torch.zeros(0))
    with pytest.raises(CircuitError, match="entangler chain"):
        noisy_probabilities(build_ansatz("ry_cnot", 3, 1, "ring"), NoiseModel(device="fez"), torch.zeros(3))
