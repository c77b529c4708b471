"""Gradients without exact states: each agrees with autograd, exactly or in expectation, and counts its circuits."""

import pytest
import torch
from torch import Tensor

from qpeft.circuits import Circuit, Operation, Parameter, build_ansatz
from qpeft.errors import ConfigError, ShapeError
from qpeft.quantum import Execution, Executor, Gradient, probabilities

CIRCUIT = build_ansatz("ry_cnot", 3, 2)
SHARED = Circuit(
    2,
    (Operation("rx", (0,), Parameter(0)), Operation("cry", (0, 1), Parameter(1)), Operation("ry", (1,), Parameter(0))),
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(circuit: Circuit, angles: Tensor, cotangent: Tensor) -> Tensor:
    leaf = angles.clone().requires_grad_()
    return torch.autograd.grad(probabilities(circuit, leaf) @ cotangent, leaf)[0]


def found(executor: Executor, angles: Tensor, cotangent: Tensor) -> Tensor:
    leaf = angles.clone().requires_grad_()
    return torch.autograd.grad(executor(leaf) @ cotangent.to(leaf.dtype), leaf)[0]


def problem(circuit: Circuit = CIRCUIT) -> tuple[Tensor, Tensor, Tensor]:
    angles, cotangent = drawn(circuit.n_parameters), drawn(2**circuit.n_qubits, seed=1)
    return angles, cotangent, exact(circuit, angles, cotangent)


@pytest.mark.parametrize("circuit", [CIRCUIT, SHARED], ids=["ansatz", "shared and controlled"])
@pytest.mark.parametrize("gradient", ["autograd", "surrogate", "shift"])
def test_the_exact_ones(gradient: str, circuit: Circuit) -> None:
    angles, cotangent, wanted = problem(circuit)
    executor = Executor(circuit, Execution.open("exact", gradient))
    torch.testing.assert_close(found(executor, angles, cotangent), wanted, atol=1e-12, rtol=0)
    further = {"shift": 2 * circuit.n_parameters if circuit is CIRCUIT else 2 + 2 + 4}.get(gradient, 0)
    assert executor.meter.circuits == 1 + further == 1 + executor.gradient.further(circuit)


def agree(samples: Tensor, wanted: Tensor) -> bool:
    """Whether the mean of samples is the wanted vector, within five standard errors of each number."""
    error = samples.std(0) / len(samples) ** 0.5
    return bool(((samples.mean(0) - wanted).abs() <= 5 * error + 1e-9).all()) and bool((error > 0).any())


@pytest.mark.parametrize(
    ("backend", "gradient"),
    [
        ("exact", "shift:coordinates=2"),
        ("exact", "spsa:step=0.001"),
        ("exact", "spsa:samples=3,step=0.001"),
        ("sampled:shots=50", "shift"),
        ("sampled:shots=50", "shift:coordinates=3"),
    ],
)
def test_the_random_ones_agree_in_expectation(backend: str, gradient: str) -> None:
    angles, cotangent, wanted = problem()
    executor = Executor(CIRCUIT, Execution.open(backend, gradient, seed=5))
    samples = torch.stack([found(executor, angles, cotangent) for _ in range(400)])
    assert agree(samples, wanted)
    assert executor.meter.circuits == 400 * (1 + executor.gradient.further(CIRCUIT))
    if backend != "exact":
        assert executor.meter.shots_spent == 50 * executor.meter.circuits


def test_surrogate_is_the_measured_value_with_the_exact_slope() -> None:
    angles, cotangent, wanted = problem()
    executor = Executor(CIRCUIT, Execution.open("noisy:device=torino,shots=100"))
    value = executor(angles)
    assert executor.method == "surrogate"
    torch.testing.assert_close(value * 100, (value * 100).round())
    torch.testing.assert_close(found(executor, angles, cotangent), wanted, atol=1e-12, rtol=0)


def test_autograd_under_noise_is_the_gradient_of_the_noisy_circuit() -> None:
    angles, cotangent, noiseless = problem()
    through, shifted = (
        found(Executor(CIRCUIT, Execution.open("noisy:device=fez", way)), angles, cotangent)
        for way in ("autograd", "shift")
    )
    torch.testing.assert_close(through, shifted, atol=1e-10, rtol=0)
    assert not torch.allclose(through, noiseless, rtol=0.01)


@pytest.mark.parametrize("method", ["nelder-mead", "cobyla"])
def test_a_search_goes_downhill(method: str) -> None:
    circuit = build_ansatz("ry_cnot", 2, 1)
    angles, cotangent, wanted = problem(circuit)
    executor = Executor(circuit, Execution.open("exact", f"{method}:evaluations=40,step=0.2"))
    direction = found(executor, angles, cotangent)
    assert torch.cosine_similarity(direction, wanted, dim=0) > 0.5
    step = 0.05 * direction / direction.norm()
    assert probabilities(circuit, angles - step) @ cotangent < probabilities(circuit, angles) @ cotangent
    assert 1 + circuit.n_parameters < executor.meter.circuits <= 1 + 40


def test_a_search_that_finds_nothing_lower_stays() -> None:
    circuit = build_ansatz("ry_cnot", 2, 1)
    flat = torch.ones(4, dtype=torch.float64)
    for method in ("nelder-mead", "cobyla"):
        still = found(Executor(circuit, Execution.open("exact", method)), drawn(2), flat)
        assert still.norm() < 1e-6


def test_none_leaves_the_angles_alone() -> None:
    executor = Executor(CIRCUIT, Execution.open("exact", "none"))
    assert not executor(drawn(CIRCUIT.n_parameters).requires_grad_()).requires_grad


@pytest.mark.parametrize("text", ["auto", "shift:coordinates=8", "spsa:samples=4,step=0.2", "surrogate:refresh=200"])
def test_texts_come_back(text: str) -> None:
    assert str(Gradient.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shfit", "gradient must be one of .*; got 'shfit'; nearest: shift"),
        ("shift:samples=2", r"gradient shift: option must be one of coordinates; got 'samples'"),
        ("autograd:step=1", r"option must be one of \(none\)"),
        ("spsa:samples=0", "gradient samples must be a whole number of at least 1; got 0"),
        ("spsa:step=-1", "gradient step must be more than 0 radians; got -1"),
        ("spsa:samples=few", "must hold numbers"),
        ("shift:coordinates", "options must be key=value"),
        ("shift:coordinates=1,coordinates=2", "each key once"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Gradient.parse(text)


def test_ways_that_are_closed_say_so() -> None:
    with pytest.raises(ConfigError, match="autograd needs a backend with exact probabilities"):
        Execution.open("sampled:shots=10", "autograd")
    with pytest.raises(ConfigError, match="evaluations must be at least 8 for 6 angles; got 7"):
        Executor(CIRCUIT, Execution.open("exact", "cobyla:evaluations=7"))


@pytest.mark.parametrize("circuit", [CIRCUIT, SHARED], ids=["ansatz", "shared and controlled"])
def test_a_batch_of_angles_is_shifted_member_by_member(circuit: Circuit) -> None:
    angles, cotangent = drawn(4, circuit.n_parameters), drawn(4, 2**circuit.n_qubits, seed=1)
    ours, exact = (Executor(circuit, Execution.open("exact", way)) for way in ("shift", "autograd"))
    found = []
    for executor in (ours, exact):
        leaf = angles.clone().requires_grad_()
        found.append(torch.autograd.grad(executor(leaf), leaf, cotangent)[0])
    torch.testing.assert_close(*found, atol=1e-12, rtol=0)
    with pytest.raises(ShapeError, match=r"cobyla takes one vector of angles; got shape \(4, "):
        Executor(circuit, Execution.open("exact", "cobyla"))(angles.requires_grad_())
