"""The backward of probabilities: equal to autograd and parameter shift, flat in memory, whatever it keeps."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qpeft.circuits import ANSATZE, Circuit, Operation, Parameter, build_ansatz
from qpeft.quantum import parameter_shift_vjp
from qpeft.quantum.engine import adjoint, final_state, probabilities

Make = Callable[..., Circuit]
SHARED = Circuit(
    3,
    (
        Operation("ry", (0,), Parameter(0)),
        Operation("rx", (1,), Parameter(1)),
        Operation("crz", (0, 2), Parameter(0)),
        Operation("rz", (1,), Parameter(1)),
        Operation("h", (2,)),
        Operation("cry", (2, 1), Parameter(1)),
        Operation("cry", (1, 0), 0.3),
        Operation("rx", (0,), 0.7),
    ),
)


@pytest.fixture(params=["kept", "computed again"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(adjoint, "MOST_KEPT", 1 << 40 if request.param == "kept" else 0)
    return str(request.param)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def by_autograd(circuit: Circuit, angles: Tensor, states: Tensor | None) -> Tensor:
    state = final_state(circuit, angles, states)
    return torch.view_as_real(state).square().sum(-1) if state.is_complex() else state.square()


def assert_equal_gradients(circuit: Circuit, angles: Tensor, states: Tensor | None = None) -> None:
    leaves = [leaf.clone().requires_grad_() for leaf in (angles, states) if leaf is not None]
    arguments = leaves if states is not None else [*leaves, None]
    ours, theirs = probabilities(circuit, *arguments), by_autograd(circuit, *arguments)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    cotangent = normal(*ours.shape, seed=5)
    for mine, other in zip(
        torch.autograd.grad(ours, leaves, cotangent),
        torch.autograd.grad(theirs, leaves, cotangent, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", [1, 3, 6, 7, 9, 12])
@pytest.mark.parametrize("name", [name for name in ANSATZE if name != "brickwork"])  # which is empty on one wire
def test_ansatz_equals_autograd(n: int, name: str, mode: str) -> None:
    circuit = build_ansatz(name, n, 3)
    assert_equal_gradients(circuit, normal(circuit.n_parameters))


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("n", [2, 3, 7, 8])
def test_random_circuits_equal_autograd(n: int, real: bool, mode: str, random_circuit: Make) -> None:
    for seed in range(6):
        circuit = random_circuit(seed, n, 12 + 6 * seed, real=real)
        assert_equal_gradients(circuit, normal(circuit.n_parameters), normal(2**n, seed=1))
        assert_equal_gradients(circuit, normal(circuit.n_parameters))


@pytest.mark.parametrize("complex_states", [False, True])
@pytest.mark.parametrize(
    ("angle_batch", "state_batch"),
    [((), (4,)), ((3,), None), ((2, 3), None), ((3,), (3,)), ((3, 1), (4,)), ((1,), (2, 3)), ((3,), ())],
)
def test_batches_equal_autograd(
    angle_batch: tuple[int, ...], state_batch: tuple[int, ...] | None, complex_states: bool, mode: str
) -> None:
    dtype = torch.complex128 if complex_states else torch.float64
    for circuit in (SHARED, build_ansatz("ryrz_cnot", 8, 2), build_ansatz("ry_cnot", 12, 2)):
        size = 2**circuit.n_qubits
        states = None if state_batch is None else normal(*state_batch, size, seed=1, dtype=dtype)
        assert_equal_gradients(circuit, normal(*angle_batch, circuit.n_parameters), states)


def test_equals_the_parameter_shift_rule(mode: str) -> None:
    for circuit in (SHARED, build_ansatz("ryrz_cnot", 7, 2)):
        angles, cotangent = normal(circuit.n_parameters), normal(2**circuit.n_qubits, seed=2)
        leaf = angles.clone().requires_grad_()
        (exact,) = torch.autograd.grad(probabilities(circuit, leaf), leaf, cotangent)
        shifted = parameter_shift_vjp(probabilities, circuit, angles, cotangent)
        torch.testing.assert_close(exact, shifted, atol=1e-13, rtol=0)


def test_gradients_to_either_input_alone(mode: str) -> None:
    states, angles = normal(8, seed=1), normal(SHARED.n_parameters)
    both = [states.requires_grad_(), angles.requires_grad_()]
    expected = torch.autograd.grad(probabilities(SHARED, angles, states)[1], both)
    alone = (
        torch.autograd.grad(probabilities(SHARED, angles.detach(), states)[1], states)[0],
        torch.autograd.grad(probabilities(SHARED, angles, states.detach())[1], angles)[0],
    )
    for mine, other in zip(alone, expected, strict=True):
        assert torch.equal(mine, other)


def test_autocast_around_backward_changes_nothing(mode: str) -> None:
    circuit = build_ansatz("ry_cnot", 8, 2)
    angles = normal(circuit.n_parameters, dtype=torch.float32).requires_grad_()
    (expected,) = torch.autograd.grad(probabilities(circuit, angles)[3], angles)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(torch.autograd.grad(probabilities(circuit, angles)[3], angles)[0], expected)


def test_a_second_derivative_is_refused_and_final_state_gives_it() -> None:
    circuit = build_ansatz("ry_cnot", 3, 2)
    angles = normal(circuit.n_parameters).requires_grad_()
    (first,) = torch.autograd.grad(probabilities(circuit, angles)[0], angles, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(first[0], angles)
    assert torch.autograd.functional.hessian(lambda a: final_state(circuit, a)[0].square(), angles).isfinite().all()


def saved_bytes(n_qubits: int, depth: int) -> int:
    """What the graph keeps between forward and backward."""
    circuit = build_ansatz("ry_cnot", n_qubits, depth)
    angles = normal(circuit.n_parameters, dtype=torch.float32).requires_grad_()
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.numel() != angles.numel():  # the angles themselves
            seen[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        p = probabilities(circuit, angles)
    p[0].backward()
    assert angles.grad is not None
    return sum(seen.values())


def test_memory_is_flat_in_depth() -> None:
    """Two states of 2**14 float32: the first, which is the ground state, and the last."""
    assert {saved_bytes(14, depth) for depth in (8, 32, 128)} == {2 * 4 * 2**14}
