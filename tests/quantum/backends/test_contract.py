"""What every backend has to keep, whoever wrote it: one table of constructors, one row a backend."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from qpeft.circuits import Circuit, Operation, Parameter, build_ansatz
from qpeft.errors import ConfigError, MissingExtraError, ShapeError
from qpeft.quantum import Backend, ExactBackend, Execution, Executor, Gradient, Shots
from qpeft.quantum.backends.aer import AerBackend
from qpeft.quantum.backends.ibm import IBMBackend
from qpeft.quantum.backends.noisy import NoisyBackend
from qpeft.quantum.backends.pennylane import PennyLaneBackend
from qpeft.quantum.backends.sampled import SampledBackend
from qpeft.quantum.noise import NoiseModel

SHOTS = Shots(4000)


@dataclass(frozen=True)
class Row:
    """One backend under test: its constructor, which gets an empty folder, and the libraries it needs."""

    name: str
    make: Callable[[Path], Backend]
    needs: tuple[str, ...] = ()


NUMBERS = NoiseModel(depolarizing=0.001, depolarizing2=0.01, readout=0.02)  # a device has gates on neighbours only
QISKIT = ("qiskit", "qiskit_aer")
IBM = (*QISKIT, "qiskit_ibm_runtime")
TABLE = [
    Row("exact", lambda folder: ExactBackend()),
    Row("sampled", lambda folder: SampledBackend(SHOTS)),
    Row("noisy", lambda folder: NoisyBackend(NUMBERS)),
    Row("noisy-shots", lambda folder: SampledBackend(SHOTS, NoisyBackend(NUMBERS))),
    Row("aer", lambda folder: AerBackend(), QISKIT),
    Row("aer-shots", lambda folder: AerBackend(shots=SHOTS), QISKIT),
    Row("aer-torino", lambda folder: AerBackend("torino"), IBM),
    Row("aer-torino-shots", lambda folder: AerBackend("torino", SHOTS), IBM),
    Row("default.qubit", lambda folder: PennyLaneBackend(), ("pennylane",)),
    Row("default.qubit-shots", lambda folder: PennyLaneBackend(shots=SHOTS), ("pennylane",)),
    Row("lightning.qubit", lambda folder: PennyLaneBackend("lightning.qubit"), ("pennylane",)),
    Row("lightning.qubit-shots", lambda folder: PennyLaneBackend("lightning.qubit", SHOTS), ("pennylane",)),
    Row("ibm", lambda folder: IBMBackend("fake_torino", SHOTS, journal=folder), IBM),
]
CIRCUIT = build_ansatz("ryrz_cnot", 3, 2)


def angles_of(*shape: int, circuit: Circuit = CIRCUIT, dtype: torch.dtype = torch.float64) -> Tensor:
    source = torch.Generator().manual_seed(5)
    return torch.randn(*shape, circuit.n_parameters, dtype=dtype, generator=source)


def states_of(*shape: int) -> Tensor:
    states = torch.randn(*shape, 8, dtype=torch.complex128, generator=torch.Generator().manual_seed(6))
    return states / states.norm(dim=-1, keepdim=True)


def allowed(backend: Backend, expected: Tensor) -> Tensor:
    """How far a value may be from the exact one: five standard errors of its shots, and what the noise takes."""
    error = torch.full_like(expected, 1e-6)
    if backend.shots:
        shots = backend.shots.of(3)
        error += 5 * ((expected * (1 - expected)) / shots).sqrt() + 1 / shots
    return error + (0.2 if backend.noise else 0)


@pytest.fixture(params=TABLE, ids=lambda row: row.name)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    for module in request.param.needs:
        pytest.importorskip(module)
    made: Backend = request.param.make(tmp_path)
    return made


@pytest.mark.parametrize("n", [2, 4])
def test_qubit_0_is_the_most_significant_bit(backend: Backend, n: int) -> None:
    circuit = Circuit(n, (Operation("ry", (0,), Parameter(0)),))
    assert backend.probabilities(circuit, torch.tensor([torch.pi])).argmax() == 2 ** (n - 1)
    chained = Circuit(n, (Operation("ry", (0,), Parameter(0)), Operation("cx", (0, n - 1))))
    assert backend.probabilities(chained, torch.tensor([torch.pi])).argmax() == 2 ** (n - 1) + 1


@pytest.mark.parametrize("shape", [(), (2,), (2, 1)], ids=str)
def test_agrees_with_exact(backend: Backend, shape: tuple[int, ...]) -> None:
    angles = angles_of(*shape)
    expected = ExactBackend().probabilities(CIRCUIT, angles)
    result = backend.probabilities(CIRCUIT, angles, seed=3)
    assert result.shape == expected.shape
    assert result.dtype == torch.float64
    assert (result >= 0).all()
    torch.testing.assert_close(result.sum(-1), torch.ones_like(result[..., 0]))
    assert ((result - expected).abs() <= allowed(backend, expected)).all()


def test_input_states(backend: Backend) -> None:
    angles, states = angles_of(), states_of(2)
    expected = ExactBackend().probabilities(CIRCUIT, angles, states)
    result = backend.probabilities(CIRCUIT, angles, states, seed=3)
    assert ((result - expected).abs() <= allowed(backend, expected)).all()
    zero = backend.probabilities(CIRCUIT, angles, torch.zeros(8), seed=3)
    assert torch.equal(zero, torch.zeros(8, dtype=torch.float64))


def test_precision_follows_the_angles(backend: Backend) -> None:
    assert backend.probabilities(CIRCUIT, angles_of(dtype=torch.float32)).dtype == torch.float32


def test_gates_without_angles(backend: Backend) -> None:
    circuit = Circuit(2, (Operation("h", (0,)), Operation("sdg", (0,)), Operation("cry", (0, 1), 0.4)))
    angles = torch.zeros(2, 0, dtype=torch.float64)
    expected = ExactBackend().probabilities(circuit, angles)
    result = backend.probabilities(circuit, angles, seed=1)
    assert result.shape == (2, 4)
    assert ((result - expected).abs() <= allowed(backend, expected)).all()


def test_seeds(backend: Backend) -> None:
    angles = angles_of().expand(2, -1)
    one, same, other = (backend.probabilities(CIRCUIT, angles, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    if backend.shots:
        assert not torch.equal(one, other)
        assert not torch.equal(one[0], one[1]), "equal rows are measured each for itself"
        counts = one * backend.shots.of(3)
        torch.testing.assert_close(counts, counts.round())
    else:
        assert torch.equal(one, other)


def test_declares_what_is_true_of_gradients(backend: Backend) -> None:
    angles, states = angles_of().requires_grad_(), states_of().requires_grad_()
    result = backend.probabilities(CIRCUIT, angles, states, seed=1)
    assert result.requires_grad == backend.differentiable
    if backend.differentiable:
        gradients = torch.autograd.grad(result[0], (angles, states), allow_unused=True)
        expected = torch.autograd.grad(ExactBackend().probabilities(CIRCUIT, angles, states)[0], (angles, states))
        assert backend.input_gradient == (gradients[1] is not None)
        if backend.noise is None:
            torch.testing.assert_close(gradients, expected)


def test_gradient_methods_agree_or_are_refused(backend: Backend) -> None:
    """Parameter shift measures the backend's own gradient, the surrogate has the exact one, autograd needs a graph."""
    cotangent = torch.randn(8, generator=torch.Generator().manual_seed(7), dtype=torch.float64)

    def gradient(method: str) -> Tensor:
        angles = angles_of().requires_grad_()
        executor = Executor(CIRCUIT, Execution(backend, Gradient(method), seed=2))
        return torch.autograd.grad(executor(angles) @ cotangent, angles)[0]

    angles = angles_of().requires_grad_()
    exact = torch.autograd.grad(ExactBackend().probabilities(CIRCUIT, angles) @ cotangent, angles)[0]
    torch.testing.assert_close(gradient("surrogate"), exact)
    shifted = gradient("shift")
    if backend.noise:
        assert torch.cosine_similarity(shifted, exact, dim=0) > 0.9
    else:
        # Half a difference of two means of values within the cotangent's range: five standard errors of it.
        spread = 0 if backend.shots is None else 2.5 * float(cotangent.max() - cotangent.min())
        error = 1e-6 if backend.shots is None else spread * (0.5 / backend.shots.of(3)) ** 0.5
        assert ((shifted - exact).abs() <= error).all()
    if backend.differentiable:
        torch.testing.assert_close(gradient("autograd"), shifted, atol=1e-6, rtol=0)
    else:
        with pytest.raises(ConfigError, match="autograd needs a backend with exact probabilities"):
            gradient("autograd")


def test_wrong_shapes(backend: Backend) -> None:
    with pytest.raises(ShapeError, match="angles must have 12 values"):
        backend.probabilities(CIRCUIT, torch.zeros(11))
    with pytest.raises(ShapeError, match="8 amplitudes"):
        backend.probabilities(CIRCUIT, torch.zeros(12), torch.zeros(4))


def test_is_a_value_that_tells_about_itself(backend: Backend) -> None:
    assert hash(backend) == hash(backend)
    assert isinstance(backend.name, str)
    assert all(isinstance(value, str | int | float) for value in backend.details(CIRCUIT).values())


@pytest.mark.parametrize("row", [row for row in TABLE if row.needs], ids=lambda row: row.name)
def test_says_which_extra_is_missing(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where this process has the library loaded: every module of it is hidden."""
    vendors = ("qiskit", "qiskit_aer", "qiskit_ibm_runtime", "pennylane")
    for module in [name for name in sys.modules if name.split(".")[0] in vendors] + list(vendors):
        monkeypatch.setitem(sys.modules, module, None)
    circuit = build_ansatz("ry_cnot", 2, 1)
    # A circuit no other test has run, for which nothing is cached.
    circuit += Circuit(2, (Operation("ry", (0,), 0.1 + TABLE.index(row)),))
    with pytest.raises(MissingExtraError, match=r"pip install 'qpeft\[(qiskit|ibm|pennylane)\]'"):
        row.make(tmp_path).probabilities(circuit, torch.zeros(2))
