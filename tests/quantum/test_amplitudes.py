"""The embedded circuit against PennyLane and its own parts, three kinds of gradient, and the edges of its inputs."""

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qpeft.circuits import ANSATZE, Circuit, Operation, Parameter, build_ansatz, qubits_for_dimension
from qpeft.errors import ConfigError, ShapeError
from qpeft.quantum import PauliZ, amplitude_embed, finite_difference_vjp, parameter_shift_vjp, probabilities
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.quantum.backends.exact import ExactBackend
from qpeft.quantum.engine.readout import marginal, pauli_z
from qpeft.quantum.layer import QuantumLayer

PAPER, PATTERNS = ("ry_cnot", "rx_cnot", "rxrz_cnot", "ryrz_cnot"), ("chain", "ring", "all_to_all", "none")
FAMILIES = [(ansatz, entangler) for ansatz in PAPER for entangler in PATTERNS]
READINGS: list[tuple[str, tuple[int, ...] | None]] = [
    ("pauli_z", None),
    ("pauli_z", (2, 0)),
    ("probabilities", None),
    ("probabilities", (2, 0)),
]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def angles_of(circuit: Circuit, dtype: torch.dtype = torch.float64) -> Tensor:
    return normal(circuit.n_parameters, seed=1, dtype=dtype)


def plain(read: EmbeddedCircuit, x: Tensor, angles: Tensor) -> Tensor:
    """The same numbers step by step, from parts that have their own oracles."""
    p = probabilities(read.circuit, angles, amplitude_embed(x, read.circuit.n_qubits))
    return pauli_z(p)[..., list(read.measured)] if read.readout == "pauli_z" else marginal(p, read.measured)


def gradients(read: Any, x: Tensor, angles: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Readings, and what flows back to x and the angles."""
    x, angles = x.clone().requires_grad_(), angles.clone().requires_grad_()
    z = read(x, angles)
    return (z.detach(), *torch.autograd.grad(z, (x, angles), cotangent))


@pytest.mark.parametrize("d", [24, 32, 768])
@pytest.mark.parametrize(("ansatz", "depth"), [("rx_cnot", 1), ("rx_cnot", 2), ("ry_cnot", 2), ("rxrz_cnot", 1)])
def test_values_and_gradients_equal_pennylane(d: int, ansatz: str, depth: int) -> None:
    qml = pytest.importorskip("pennylane")
    n = qubits_for_dimension(d)
    circuit, gates = build_ansatz(ansatz, n, depth), {"rx": qml.RX, "ry": qml.RY, "rz": qml.RZ}

    @qml.qnode(qml.device("default.qubit", wires=n), interface="torch", diff_method="backprop")
    def node(x: Tensor, angles: Tensor) -> Any:
        qml.AmplitudeEmbedding(x, wires=range(n), pad_with=0.0, normalize=True)
        number = iter(range(circuit.n_parameters))
        for _ in range(depth):
            for rotation in ANSATZE[ansatz].build.rotations:  # type: ignore[attr-defined]
                for wire in range(n):
                    gates[rotation](angles[next(number)], wires=wire)
                for wire in range(n - 1):
                    qml.CNOT(wires=[wire, wire + 1])
        return [qml.expval(qml.PauliZ(wire)) for wire in range(n)]

    x, angles, cotangent = normal(3, d), angles_of(circuit), normal(3, n, seed=2)
    ours = gradients(EmbeddedCircuit(circuit), x, angles, cotangent)
    theirs = gradients(lambda x, angles: torch.stack(node(x, angles), -1), x, angles, cotangent)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=0)
    single = EmbeddedCircuit(circuit)(x.float(), angles.float())
    torch.testing.assert_close(single, theirs[0].float(), atol=2e-6, rtol=0)


@pytest.mark.parametrize(("ansatz", "entangler"), FAMILIES)
def test_readings_are_even_and_free_of_scale(ansatz: str, entangler: str) -> None:
    circuit = build_ansatz(ansatz, 4, 2, entangler)
    read, x, angles = EmbeddedCircuit(circuit), normal(5, 11), angles_of(circuit)
    z = read(x, angles)
    assert z.abs().max() <= 1
    for factor in (-1.0, 3.7, -1e-12, 1e100):
        torch.testing.assert_close(read(factor * x, angles), z, atol=1e-14, rtol=0)


@pytest.mark.parametrize(("ansatz", "entangler"), FAMILIES)
def test_autograd_equals_parameter_shift_and_finite_differences(ansatz: str, entangler: str) -> None:
    circuit = build_ansatz(ansatz, 3, 2, entangler)
    x, angles, cotangent = normal(4, 6), angles_of(circuit), normal(4, 3, seed=2)
    read = EmbeddedCircuit(circuit)
    to_probabilities = cotangent @ pauli_z(torch.eye(8, dtype=torch.float64)).T
    states = amplitude_embed(x, 3)

    def on_states(shifted: Circuit, rows: Tensor) -> Tensor:
        return probabilities(shifted, rows[:, None], states).flatten(1)

    _, _, exact = gradients(read, x, angles, cotangent)
    shifted = parameter_shift_vjp(on_states, circuit, angles, to_probabilities.flatten())
    differences = finite_difference_vjp(on_states, circuit, angles, to_probabilities.flatten())
    torch.testing.assert_close(exact, shifted, atol=1e-13, rtol=0)
    torch.testing.assert_close(exact, differences, atol=1e-8, rtol=0)
    torch.autograd.gradcheck(read, (x.requires_grad_(), angles.requires_grad_()))


@pytest.mark.parametrize(("ansatz", "entangler"), FAMILIES)
@pytest.mark.parametrize(("readout", "wires"), READINGS)
def test_every_reading_is_what_its_parts_give(
    ansatz: str, entangler: str, readout: str, wires: tuple[int, ...] | None
) -> None:
    circuit = build_ansatz(ansatz, 3, 2, entangler)
    read = EmbeddedCircuit(circuit, readout, wires)
    x, angles = normal(2, 5, 6), angles_of(circuit)
    k = 3 if wires is None else 2
    assert read.n_features == (k if readout == "pauli_z" else 2**k)
    cotangent = normal(2, 5, read.n_features, seed=2)
    ours = gradients(read, x, angles, cotangent)
    assert ours[0].shape == (2, 5, read.n_features)
    theirs = gradients(lambda x, angles: plain(read, x, angles), x, angles, cotangent)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-14, rtol=0)


RX, CX = Operation("rx", (0,), Parameter(0)), Operation("cx", (0, 1))
ODD_CIRCUITS = {
    "empty": Circuit(2, ()),
    "permutations only": Circuit(2, (CX, Operation("x", (1,)), Operation("swap", (0, 1)))),
    "angles that stay": Circuit(2, (Operation("rx", (0,), 0.4), CX)),
    "angles that stay among others": Circuit(2, (RX, Operation("rx", (1,), 0.4), CX)),
    "a shared angle": Circuit(2, (RX, Operation("rx", (1,), Parameter(0)), CX)),
    "permutation first": Circuit(2, (CX, RX)),
    "rotation after permutation": Circuit(2, (RX, CX, Operation("rx", (1,), Parameter(1)))),
    "controlled rotation": Circuit(2, (Operation("h", (0,)), Operation("cry", (0, 1), Parameter(0)))),
    "phases": Circuit(2, (RX, Operation("s", (0,)), Operation("cz", (0, 1)), Operation("ry", (1,), Parameter(1)))),
    "no entangler on one qubit": Circuit(1, (RX,)),
}


@pytest.mark.parametrize("circuit", ODD_CIRCUITS.values(), ids=ODD_CIRCUITS)
def test_circuits_of_no_family(circuit: Circuit) -> None:
    read = EmbeddedCircuit(circuit)
    x, angles = normal(5, 2**circuit.n_qubits), angles_of(circuit)
    torch.testing.assert_close(read(x, angles), plain(read, x, angles), atol=1e-14, rtol=0)


@pytest.mark.parametrize(("ansatz", "depth"), [("rx_cnot", 1), ("ry_cnot", 2), ("rx_cnot", 2)])
def test_tokens_do_not_see_each_other(ansatz: str, depth: int) -> None:
    """Also across the chunks in which many states are worked on, and for hidden states that lie strided in memory."""
    circuit = build_ansatz(ansatz, 10, depth)
    read, angles = EmbeddedCircuit(circuit), angles_of(circuit)
    x = normal(770, 10, 9).transpose(0, 2)[..., :768]
    cotangent = normal(9, 10, 10, seed=2)
    z, to_x, to_angles = gradients(read, x, angles, cotangent)
    total = torch.zeros_like(angles)
    for place in [(i, j) for i in range(9) for j in range(10)]:
        one = gradients(read, x[place], angles, cotangent[place])
        torch.testing.assert_close(one[0], z[place], atol=1e-14, rtol=0)
        torch.testing.assert_close(one[1], to_x[place], atol=1e-14, rtol=0)
        total += one[2]
    torch.testing.assert_close(total, to_angles, atol=1e-12, rtol=0)


@pytest.mark.parametrize("ansatz", ["rx_cnot", "ry_cnot", "rxrz_cnot"])
def test_zero_tiny_and_huge_vectors(ansatz: str) -> None:
    circuit = build_ansatz(ansatz, 3, 1)
    read, angles = EmbeddedCircuit(circuit), angles_of(circuit, torch.float32)
    x, cotangent = normal(6, dtype=torch.float32), 50 * normal(3, seed=2, dtype=torch.float32)
    z, to_x, to_angles = gradients(read, x, angles, cotangent)
    for scale in (1e-15, 1e30):
        scaled = gradients(read, scale * x, angles, cotangent)
        torch.testing.assert_close(scaled[0], z, atol=1e-6, rtol=0)
        torch.testing.assert_close(scaled[1] * scale, to_x, atol=5e-5, rtol=0)
        torch.testing.assert_close(scaled[2], to_angles, atol=5e-5, rtol=0)
    for scale in (0.0, 1e-30):  # documented: counts as zero below 1e-19
        for result in gradients(read, scale * x, angles, cotangent):
            assert torch.equal(result, torch.zeros_like(result))
    # A zero vector among others leaves them alone.
    torch.testing.assert_close(read(torch.stack((0 * x, x)), angles)[1], z, atol=2e-6, rtol=0)


@pytest.mark.parametrize("ansatz", ["rx_cnot", "ry_cnot", "rxrz_cnot"])
def test_precision_is_never_lowered(ansatz: str) -> None:
    circuit = build_ansatz(ansatz, 3, 1)
    read, angles = EmbeddedCircuit(circuit), angles_of(circuit, torch.float32)
    x = normal(9, 6, dtype=torch.bfloat16)
    assert read(x, angles).dtype == torch.float32
    torch.testing.assert_close(read(x, angles), read(x.float(), angles), atol=0, rtol=0)
    assert read(x.double(), angles).dtype == read(x, angles.double()).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = read(x, angles)
    assert torch.equal(under, read(x, angles))
    double = EmbeddedCircuit(circuit, backend=ExactBackend(torch.float64))(x, angles)
    assert double.dtype == torch.float64


@pytest.mark.parametrize("ansatz", ["rx_cnot", "ry_cnot"])
def test_backward_under_autocast_is_exact_too(ansatz: str) -> None:
    read = EmbeddedCircuit(build_ansatz(ansatz, 5, 1))
    x, angles = normal(9, 24, dtype=torch.float32), angles_of(read.circuit, torch.float32)
    cotangent = normal(9, 5, seed=2, dtype=torch.float32)
    alone = gradients(read, x, angles, cotangent)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = gradients(read, x, angles, cotangent)
    assert all(torch.equal(one, other) for one, other in zip(under, alone, strict=True))


@pytest.mark.parametrize("ansatz", ["rx_cnot", "rxrz_cnot"])
def test_empty_batch(ansatz: str) -> None:
    read = EmbeddedCircuit(build_ansatz(ansatz, 3, 1))
    assert read(torch.zeros(2, 0, 6), angles_of(read.circuit, torch.float32)).shape == (2, 0, 3)


def test_inference_mode_first_and_training_after() -> None:
    """What is cached in inference mode must be of use in training."""
    layer = QuantumLayer(build_ansatz("ry_cnot", 4, 3, "ring"), readout=PauliZ((3, 1)))
    x = normal(5, 13, dtype=torch.float32)
    with torch.inference_mode():
        seen = layer(x)
    z = layer(x)
    assert torch.equal(z, seen)
    z.sum().backward()
    assert layer.angles.grad is not None
    assert layer.angles.grad.abs().max() > 0


def test_layer_trains_inside_a_model() -> None:
    torch.manual_seed(0)
    quantum = QuantumLayer(build_ansatz("ry_cnot", 3, 2))
    model = nn.Sequential(nn.Linear(5, 8), quantum, nn.Linear(3, 1))
    x = normal(32, 5, dtype=torch.float32)
    target, before = x[:, :1] * x[:, 1:2], quantum.angles.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(80):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert not torch.equal(quantum.angles, before)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), model(x))


@dataclass(frozen=True)
class Device:
    """A backend that cannot tell the gradient to its input states."""

    name: str = "far_away"
    differentiable: bool = False
    input_gradient: bool = False
    shots: None = None
    noise: None = None

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        assert states is not None
        return probabilities(circuit, angles, states)

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        return {}


def test_a_backend_without_input_gradient_measures_and_does_not_train() -> None:
    circuit = build_ansatz("rx_cnot", 3, 1)
    far, here = EmbeddedCircuit(circuit, backend=Device()), EmbeddedCircuit(circuit)
    x, angles = torch.randn(4, 8), torch.randn(3)
    torch.testing.assert_close(far(x, angles), here(x, angles))
    for given in ((x, angles.clone().requires_grad_()), (x.clone().requires_grad_(), angles)):
        with pytest.raises(ConfigError, match=r"'far_away' has no gradient to input states.*; train on the exact"):
            far(*given)
        with torch.no_grad():
            torch.testing.assert_close(far(*given), here(x, angles))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"readout": "pauli_x"}, "one of pauli_z, probabilities; got 'pauli_x'; nearest: pauli_z"),
        ({"wires": (0, 3)}, r"different numbers in 0\.\.2, at least one; got \[0, 3\]"),
        ({"wires": (1, 1)}, r"got \[1, 1\]"),
        ({"wires": (-1,)}, r"got \[-1\]"),
        ({"wires": ()}, r"got \[\]"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EmbeddedCircuit(build_ansatz("rx_cnot", 3, 1), **options)


@pytest.mark.parametrize("ansatz", ["rx_cnot", "ry_cnot", "rxrz_cnot"])
def test_bad_shapes_are_named(ansatz: str) -> None:
    read = EmbeddedCircuit(build_ansatz(ansatz, 3, 1))
    angles = angles_of(read.circuit)
    with pytest.raises(ShapeError, match=r"1 to 8 values for 3 qubit\(s\); got shape \(2, 9\)"):
        read(torch.ones(2, 9), angles)
    for wrong in (angles[:-1], torch.cat((angles, angles))):
        with pytest.raises(ShapeError, match=f"angles must have {len(angles)} values"):
            read(torch.ones(2, 8), wrong)
    with pytest.raises(ShapeError, match="float32 or float64"):
        read(torch.ones(2, 8, dtype=torch.bfloat16), angles.bfloat16())
