"""The contract of a backend: what everything that runs circuits relies on, one function a promise."""

from collections.abc import Callable

import torch
from torch import Tensor

from qpeft.circuits import Circuit, Operation, Parameter, build_ansatz
from qpeft.errors import ConfigError, ShapeError
from qpeft.quantum import Backend, ExactBackend, Execution, Executor, Gradient
from qpeft.testing.promises import check

CIRCUIT = build_ansatz("ryrz_cnot", 3, 2)
# What the noise of a good device may take off a probability of three qubits, and off a gradient's direction.
NOISE, ALIKE = 0.2, 0.9


def angles_of(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """The same random angles at each call, shape ``(*shape, 12)``."""
    return torch.randn(*shape, CIRCUIT.n_parameters, dtype=dtype, generator=torch.Generator().manual_seed(5))


def states_of(*shape: int) -> Tensor:
    """The same random states at each call, shape ``(*shape, 8)``."""
    states = torch.randn(*shape, 8, dtype=torch.complex128, generator=torch.Generator().manual_seed(6))
    unit: Tensor = states / states.norm(dim=-1, keepdim=True)
    return unit


def near(backend: Backend, found: Tensor, expected: Tensor) -> None:
    """Assert probabilities: within five standard errors of the backend's shots, and what noise may take."""
    error = torch.full_like(expected, 1e-6)
    if backend.shots:
        shots = backend.shots.of(3)
        error = error + 5 * ((expected * (1 - expected)) / shots).sqrt() + 1 / shots
    error = error + (NOISE if backend.noise else 0)
    assert found.shape == expected.shape, f"shape {tuple(expected.shape)} is needed; got {tuple(found.shape)}"
    worst = ((found - expected).abs() - error).max()
    assert worst <= 0, f"probabilities are off by {(found - expected).abs().max():.2g}, more than shots and noise may"


def order(backend: Backend) -> None:
    """Qubit 0 is the most significant bit."""
    for n in (2, 4):
        circuit = Circuit(n, (Operation("ry", (0,), Parameter(0)),))
        half_turn = torch.tensor([torch.pi])
        found = int(backend.probabilities(circuit, half_turn).argmax())
        assert found == 2 ** (n - 1), f"qubit 0 of {n} turned to 1 must be outcome {2 ** (n - 1)}; got {found}"
        chained = Circuit(n, (*circuit.operations, Operation("cx", (0, n - 1))))
        found = int(backend.probabilities(chained, half_turn).argmax())
        assert found == 2 ** (n - 1) + 1, f"cx from qubit 0 to {n - 1} must give {2 ** (n - 1) + 1}; got {found}"


def distribution(backend: Backend) -> None:
    """Probabilities are those of the circuit, for any leading axes."""
    for shape in ((), (2,), (2, 1)):
        angles = angles_of(*shape)
        found = backend.probabilities(CIRCUIT, angles, seed=3)
        assert (found >= 0).all(), "a probability is below 0"
        torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]))
        near(backend, found, ExactBackend().probabilities(CIRCUIT, angles))


def input_states(backend: Backend) -> None:
    """A circuit starts from the states that are given; a zero state gives zeros."""
    angles, states = angles_of(), states_of(2)
    expected = ExactBackend().probabilities(CIRCUIT, angles, states)
    near(backend, backend.probabilities(CIRCUIT, angles, states, seed=3), expected)
    zero = backend.probabilities(CIRCUIT, angles, torch.zeros(8), seed=3)
    assert torch.equal(zero, torch.zeros(8, dtype=torch.float64)), "a zero state must give zeros"


def precision(backend: Backend) -> None:
    """The result has the precision of the angles."""
    for dtype in (torch.float32, torch.float64):
        found = backend.probabilities(CIRCUIT, angles_of(dtype=dtype)).dtype
        assert found == dtype, f"angles of {dtype} must give {dtype}; got {found}"


def fixed_gates(backend: Backend) -> None:
    """Gates without angles, and with angles that are numbers."""
    circuit = Circuit(2, (Operation("h", (0,)), Operation("sdg", (0,)), Operation("cry", (0, 1), 0.4)))
    angles = torch.zeros(2, 0, dtype=torch.float64)
    near(backend, backend.probabilities(circuit, angles, seed=1), ExactBackend().probabilities(circuit, angles))


def seeds(backend: Backend) -> None:
    """What is random follows from the seed alone; equal rows are measured each for itself."""
    angles = angles_of().expand(2, -1)
    one, same, other = (backend.probabilities(CIRCUIT, angles, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same), "equal seeds must give equal results"
    if not backend.shots:
        assert torch.equal(one, other), "without shots nothing may depend on the seed"
        return
    assert not torch.equal(one, other), "other seeds must give other results"
    assert not torch.equal(one[0], one[1]), "equal rows must be measured each for itself"
    counts = one * backend.shots.of(3)
    torch.testing.assert_close(counts, counts.round(), msg="frequencies must be counts over the declared shots")


def gradients(backend: Backend) -> None:
    """``differentiable`` and ``input_gradient`` are true, and the gradients are those of the probabilities."""
    angles, states = angles_of().requires_grad_(), states_of().requires_grad_()
    found = backend.probabilities(CIRCUIT, angles, states, seed=1)
    said = backend.differentiable
    assert found.requires_grad == said, f"differentiable says {said}, the result's requires_grad {found.requires_grad}"
    if not said:
        return
    own = torch.autograd.grad(found[0], (angles, states), allow_unused=True)
    exact = torch.autograd.grad(ExactBackend().probabilities(CIRCUIT, angles, states)[0], (angles, states))
    passes = own[1] is not None
    assert backend.input_gradient == passes, f"input_gradient says {backend.input_gradient}, but it is {passes}"
    if backend.noise is None:
        for mine, true in zip(own, exact, strict=True):
            if mine is not None:
                torch.testing.assert_close(mine, true)


def gradient_methods(backend: Backend) -> None:
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
        alike = float(torch.cosine_similarity(shifted, exact, dim=0))
        assert alike > ALIKE, f"parameter shift points elsewhere than the gradient (cosine {alike:.2f})"
    else:
        # Half a difference of two means of values within the cotangent's range: five standard errors of it.
        spread = 0.0 if backend.shots is None else 2.5 * float(cotangent.max() - cotangent.min())
        error = 1e-6 if backend.shots is None else spread * (0.5 / backend.shots.of(3)) ** 0.5
        worst = float((shifted - exact).abs().max())
        assert worst <= error, f"parameter shift is off by {worst:.2g}, more than {error:.2g}"
    if backend.differentiable:
        torch.testing.assert_close(gradient("autograd"), shifted, atol=1e-6, rtol=0)
        return
    try:
        gradient("autograd")
    except ConfigError:
        return
    raise AssertionError("autograd must be refused where the backend is not differentiable")


def shapes(backend: Backend) -> None:
    """Angles and states that do not fit are refused as ShapeError."""
    wrong = ((torch.zeros(11), None), (torch.zeros(12), torch.zeros(4)))
    for angles, states in wrong:
        try:
            backend.probabilities(CIRCUIT, angles, states)
        except ShapeError:
            continue
        what = "11 angles for 12 parameters" if states is None else "4 amplitudes for 3 qubits"
        raise AssertionError(f"ShapeError is needed for {what}; the backend took them")


def value(backend: Backend) -> None:
    """A backend is a value: it can be hashed, has a name, and its details are plain."""
    assert hash(backend) == hash(backend)
    assert isinstance(backend.name, str), f"name must be a word; got {backend.name!r}"
    details = backend.details(CIRCUIT)
    plain = all(isinstance(found, str | int | float) for found in details.values())
    assert plain, f"details must be texts and numbers, for a record; got {details}"


# Each works alone on a backend and raises where its promise is broken.
BACKEND_PARTS: dict[str, Callable[[Backend], None]] = {
    "order of qubits": order,
    "distribution": distribution,
    "input states": input_states,
    "precision": precision,
    "gates without angles": fixed_gates,
    "seeds": seeds,
    "gradients": gradients,
    "gradient methods": gradient_methods,
    "shapes": shapes,
    "value": value,
}


def check_backend(backend: Backend) -> None:
    """Try every promise of ``BACKEND_PARTS`` on a backend and tell all that are broken.

    >>> check_backend(ExactBackend())

    Args:
        backend: It must take input states of three qubits, and as a device noise that leaves probabilities within 0.2.

    Raises:
        AssertionError: One line for each broken promise.
    """
    check(BACKEND_PARTS, backend)
