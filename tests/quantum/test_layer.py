"""QuantumLayer against PennyLane, every way to its gradient, files and copies, and refusals before backward."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qpeft.circuits import Circuit, Operation, Parameter, build_ansatz, mirrored
from qpeft.errors import CircuitError, ConfigError, ShapeError
from qpeft.quantum import (
    Amplitude,
    Angle,
    EmbeddedCircuit,
    Inputs,
    LinearMap,
    PauliZ,
    Probabilities,
    QuantumLayer,
    SampledBackend,
    Shots,
    probabilities,
)

qml = pytest.importorskip("pennylane")
RING = build_ansatz("two_local:rotations=ry+rz,gate=crx,entangler=ring", 3, 1)
WORDS = ["ZZI", "XIY", "IZI", "YXZ", "XIX"]
UPLOADS = Angle("ry+rx", uploads=2, scale=0.7, shift=0.2)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def queue(circuit: Circuit, angles: Tensor) -> None:
    """A circuit of RY, RZ and CRX in PennyLane's own words."""
    gates = {"ry": qml.RY, "rz": qml.RZ, "crx": qml.CRX, "cx": qml.CNOT}
    for operation in circuit.operations:
        turn = [angles[operation.turn.index]] if isinstance(operation.turn, Parameter) else []
        gates[operation.gate](*turn, wires=operation.wires)


def word(text: str) -> Any:
    letters = {"X": qml.PauliX, "Y": qml.PauliY, "Z": qml.PauliZ}
    return qml.prod(*(letters[letter](wire) for wire, letter in enumerate(text) if letter != "I"))


def node(embed: Callable[[Tensor, int], None], uploads: int, measure: Callable[[], Any]) -> Any:
    """What a user of PennyLane writes: embedding and circuit in turns, then expectations."""

    @qml.qnode(qml.device("default.qubit", wires=3), interface="torch", diff_method="backprop")
    def run(x: Tensor, angles: Tensor) -> Any:
        for turn, part in enumerate(angles.chunk(uploads)):
            embed(x, turn)
            queue(RING, part)
        return measure()

    def stacked(x: Tensor, angles: Tensor) -> Tensor:
        found = run(x, angles)
        return found if isinstance(found, Tensor) else torch.stack(tuple(found), -1)

    return stacked


def turned(x: Tensor, turn: int) -> None:
    qml.AngleEmbedding(0.7 * x[:, :3] + 0.2, wires=range(3), rotation="Y")
    qml.AngleEmbedding(0.7 * x[:, 3:] + 0.2, wires=range(2), rotation="X")


def padded(x: Tensor, turn: int) -> None:
    qml.AmplitudeEmbedding(x, wires=range(3), pad_with=0.0, normalize=True)


CASES: dict[str, tuple[Any, Any, Any, Any]] = {
    "angles, words": (UPLOADS, WORDS, turned, lambda: [qml.expval(word(text)) for text in WORDS]),
    "angles, Z": (UPLOADS, "pauli_z", turned, lambda: [qml.expval(qml.PauliZ(wire)) for wire in range(3)]),
    "angles, two": (UPLOADS, Probabilities((2, 0)), turned, lambda: qml.probs(wires=[2, 0])),
    "amplitudes, words": (Amplitude(), WORDS, padded, lambda: [qml.expval(word(text)) for text in WORDS]),
    "amplitudes, Z": ("amplitude", PauliZ((2, 1)), padded, lambda: [qml.expval(qml.PauliZ(wire)) for wire in (2, 1)]),
    "amplitudes, all": ("amplitude", "probabilities", padded, lambda: qml.probs(wires=[0, 1, 2])),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["exact", "pennylane"])
def test_values_and_gradients_equal_pennylane(case: str, backend: str) -> None:
    embedding, readout, embed, measure = CASES[case]
    layer = QuantumLayer(RING, embedding, readout, backend).double()
    x, cotangent = normal(4, 5), normal(4, layer.n_features, seed=2)
    theirs = node(embed, 2 if embed is turned else 1, measure)
    leaves = x.requires_grad_(), layer.angles
    z, other = layer(x), theirs(x, layer.angles)
    torch.testing.assert_close(z, other, atol=1e-12, rtol=0)
    ours, wanted = (torch.autograd.grad(each, leaves, cotangent) for each in (z, other))
    for mine, their in zip(ours, wanted, strict=True):
        torch.testing.assert_close(mine, their, atol=1e-11, rtol=0)
    single = layer.float()(x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), theirs(x, layer.angles.double()), atol=5e-6, rtol=0)


def test_a_trained_map_equals_linear_and_angle_embedding() -> None:
    layer = QuantumLayer(RING, LinearMap(4, uploads=2)).double()
    x = normal(3, 4)

    def embed(mapped: Tensor, turn: int) -> None:
        qml.AngleEmbedding(mapped[:, 3 * turn : 3 * turn + 3], wires=range(3), rotation="Y")

    assert layer.data_map is not None
    other = node(embed, 2, lambda: [qml.expval(qml.PauliZ(wire)) for wire in range(3)])
    theirs = other(x @ layer.data_map.weight.T + layer.data_map.bias, layer.angles)
    torch.testing.assert_close(layer(x), theirs, atol=1e-12, rtol=0)
    leaves = tuple(layer.parameters())
    assert len(leaves) == 3
    ours, wanted = (torch.autograd.grad(z.square().sum(), leaves) for z in (layer(x), theirs))
    for mine, their in zip(ours, wanted, strict=True):
        torch.testing.assert_close(mine, their, atol=1e-12, rtol=0)


def test_inputs_are_the_first_angles_of_the_circuit() -> None:
    circuit = Circuit(
        2,
        (
            Operation("ry", (0,), Parameter(0, 2.0)),
            Operation("rx", (1,), Parameter(2)),
            Operation("cx", (0, 1)),
            Operation("rz", (0,), Parameter(0, 1.0, 0.5)),
            Operation("rxx", (0, 1), Parameter(1)),
        ),
    )
    layer = QuantumLayer(circuit, Inputs(2), "probabilities").double()
    x = normal(5, 2)
    assert layer.angles.shape == (1,)
    wanted = probabilities(circuit, torch.cat((x, layer.angles.expand(5, 1)), -1))
    torch.testing.assert_close(layer(x), wanted, atol=1e-14, rtol=0)
    own = QuantumLayer(RING, Angle(circuit=build_ansatz("ry_cnot", 3, 2))).double()
    assert own(normal(2, 6)).shape == (2, 3)


@pytest.mark.parametrize("embedding", [UPLOADS, LinearMap(5), "amplitude"], ids=["angle", "linear", "amplitude"])
@pytest.mark.parametrize("gradient", ["shift", "surrogate", "spsa:samples=3000,step=0.01"])
def test_measured_gradients_are_those_of_autograd(embedding: Any, gradient: str) -> None:
    """Of angles, of a trained map, and of the input where that can be measured."""
    exact = QuantumLayer(RING, embedding, WORDS).double()
    other = QuantumLayer(RING, embedding, WORDS, "pennylane:device=lightning.qubit", gradient).double()
    if gradient.startswith("spsa"):
        other = QuantumLayer(RING, embedding, WORDS, "exact", gradient).double()
    other.load_state_dict(exact.state_dict())
    x, cotangent = normal(2, 5), normal(2, 5, seed=1)
    reached = embedding != "amplitude" or gradient == "surrogate"
    x.requires_grad_(reached)
    found = [
        torch.autograd.grad(layer(x), [*layer.parameters(), *[x] * reached], cotangent) for layer in (exact, other)
    ]
    for mine, their in zip(*found, strict=True):
        torch.testing.assert_close(their, mine, atol=0.25 if "spsa" in gradient else 1e-10, rtol=0)


def test_an_input_without_gradient_costs_no_circuits() -> None:
    layer = QuantumLayer(RING, UPLOADS, "pauli_z", "sampled:shots=10", "shift")
    z = layer(normal(4, 5, dtype=torch.float32))
    assert (layer.meter.circuits, layer.meter.shots_spent) == (4, 40)
    z.sum().backward()
    # Twelve RY and RZ of two circuits each, six CRX of four, for each of four inputs.
    assert layer.meter.circuits == 4 + 4 * (2 * 2 * 12 + 4 * 2 * 3)


@pytest.mark.parametrize("gradient", ["shift:coordinates=3", "spsa", "nelder-mead", "cobyla:evaluations=30"])
@pytest.mark.parametrize("embedding", [UPLOADS, "amplitude"], ids=["angle", "amplitude"])
def test_every_gradient_lowers_a_loss_under_shots(gradient: str, embedding: Any) -> None:
    torch.manual_seed(1)
    circuit = build_ansatz("ry_cnot", 3, 1)
    layer = QuantumLayer(circuit, embedding, "pauli_z", "sampled:shots=500", gradient)
    optimizer, x = torch.optim.SGD(layer.parameters(), lr=0.3), normal(4, 5, dtype=torch.float32)
    losses = []
    for _ in range(30):
        loss = layer(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_words_of_one_basis_share_their_shots() -> None:
    layer = QuantumLayer(RING, UPLOADS, WORDS, SampledBackend(Shots(20_000)))
    x = normal(2, 5, dtype=torch.float32)
    z = layer(x)
    # ZZI and IZI; XIY; YXZ; XIX has a basis of its own.
    assert (len(layer.settings), layer.meter.circuits) == (4, 8)
    exact = QuantumLayer(RING, UPLOADS, WORDS)
    exact.load_state_dict(layer.state_dict())
    torch.testing.assert_close(z, exact(x), atol=0.04, rtol=0)
    assert not torch.equal(layer(x), z), "every evaluation has shots of its own"


@pytest.mark.parametrize("backend", ["noisy:device=torino", "noisy:readout=0.1,shots=50", "aer:shots=50"])
@pytest.mark.parametrize("embedding", [Angle(), "amplitude"], ids=["angle", "amplitude"])
def test_noise_and_devices_train_too(backend: str, embedding: Any) -> None:
    if backend.startswith("aer"):
        pytest.importorskip("qiskit_aer")
    layer = QuantumLayer(build_ansatz("ry_cnot", 2, 1), embedding, ["ZZ", "XI"], backend)
    layer(normal(2, 2, dtype=torch.float32)).sum().backward()
    assert layer.angles.grad is not None
    assert layer.angles.grad.abs().max() > 0
    assert layer.meter.circuits == 4


def test_noise_is_that_of_the_circuit_with_the_turns() -> None:
    circuit, x = build_ansatz("ry_cnot", 2, 1), normal(3, 4)
    layer = QuantumLayer(circuit, "amplitude", ["XZ"], "noisy:readout=0.1,depolarizing=0.01").double()
    direct = layer.meter.backend
    turned_circuit = circuit + Circuit(2, (Operation("h", (0,)),))
    p = direct.probabilities(turned_circuit, layer.angles, nn.functional.normalize(x))
    torch.testing.assert_close(layer(x)[:, 0], p @ p.new_tensor([1.0, -1, -1, 1]), atol=1e-12, rtol=0)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "shift through amplitudes": ({"gradient": "shift"}, "shift cannot reach the input of an amplitude embedding"),
    "search through angles": ({"embedding": "angle", "gradient": "cobyla"}, "cobyla searches the layer's own angles"),
    "none": ({"embedding": "angle", "gradient": "none"}, "gradient none on backend 'sampled'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_layers_below_are_refused_in_forward(case: str) -> None:
    options, message = REFUSED[case]
    layer = QuantumLayer(build_ansatz("ry_cnot", 3, 1), backend="sampled:shots=10", **options)
    x = normal(2, 3, dtype=torch.float32)
    with pytest.raises(ConfigError, match=message):
        layer(x.clone().requires_grad_())
    layer(x)
    with torch.no_grad():
        layer(x.clone().requires_grad_())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient": "autograd", "backend": "sampled:shots=9"}, "gradient autograd needs a backend with exact"),
        ({"gradient": "nelder-mead:evaluations=3"}, "evaluations must be at least 5 for 3 angles; got 3"),
        ({"gradient": "surrogate:refresh=2"}, "refresh keeps a measurement"),
        ({"embedding": "angel"}, "embedding must be one of amplitude, angle; got 'angel'; nearest: angle"),
        ({"embedding": "linear"}, r"LinearMap\(features=...\)"),
        ({"embedding": Inputs(4)}, "first 4 angles of the circuit are to be features; it has 3"),
        ({"readout": "pauliz"}, "readout must be one of pauli_z, probabilities; got 'pauliz'"),
        ({"readout": ["ZZ"]}, "a Pauli word for 3 qubits has 3 letters; got 'ZZ'"),
        ({"readout": ["ZQZ"]}, "spelt with I, X, Y and Z, one a wire; got 'ZQZ'"),
        ({"readout": PauliZ((0, 3))}, r"different numbers in 0\.\.2, at least one; got \[0, 3\]"),
        ({"init": "ones"}, "init must be one of uniform, zeros, identity; got 'ones'"),
        ({"init": torch.zeros(4)}, r"init must give 3 angles, shape \(3,\); got shape \(4,\)"),
    ],
)
def test_what_cannot_work_is_said_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QuantumLayer(build_ansatz("ry_cnot", 3, 1), **options)


def test_bad_inputs_are_named() -> None:
    circuit = build_ansatz("ry_cnot", 3, 1)
    with pytest.raises(ShapeError, match=r"ry on 3 qubit\(s\) takes 1 to 3 features on the last axis; got 4"):
        QuantumLayer(circuit, "angle")(torch.ones(2, 4))
    with pytest.raises(ShapeError, match=r"trained map takes 4 features on the last axis; got 3"):
        QuantumLayer(circuit, LinearMap(4))(torch.ones(2, 3))
    with pytest.raises(ShapeError, match=r"got complex features"):
        QuantumLayer(circuit, "angle")(torch.ones(2, 3, dtype=torch.complex64))
    with pytest.raises(ConfigError, match=r"takes a Circuit; got EmbeddedCircuit; .*QuantumLayer\(circuit, readout"):
        QuantumLayer(EmbeddedCircuit(circuit))  # type: ignore[arg-type]


@pytest.mark.parametrize("embedding", ["amplitude", "angle", LinearMap(3)], ids=["amplitude", "angle", "linear"])
def test_shapes_and_dtypes(embedding: Any) -> None:
    layer = QuantumLayer(build_ansatz("ry_cnot", 3, 1), embedding, ["ZZI", "XII"])
    for shape in ((3,), (0, 3), (2, 0, 3), (2, 4, 3)):
        assert layer(torch.ones(shape)).shape == (*shape[:-1], 2)
    x = normal(2, 3, dtype=torch.float32)
    assert layer(x.double()).dtype == layer.double()(x).dtype == torch.float64
    layer = layer.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), layer(x))
    assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    measured = QuantumLayer(build_ansatz("ry_cnot", 3, 1), embedding, "pauli_z", "sampled:shots=5", "shift")
    measured(torch.zeros(0, 3)).sum().backward()
    assert measured.angles.grad is not None
    assert not measured.angles.grad.any()


def test_files_copies_and_a_training_that_goes_on(tmp_path: Path) -> None:
    def made() -> QuantumLayer:
        return QuantumLayer(RING, UPLOADS, WORDS, "sampled:shots=30", "shift", seed=3)

    layer, x = made(), normal(2, 5, dtype=torch.float32)
    layer(x).sum().backward()
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    kept = io.BytesIO()
    torch.save(layer.state_dict(), kept)
    kept.seek(0)
    twins = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), made(), made()]
    twins[2].load_state_dict(load_file(tmp_path / "layer.safetensors"))
    twins[3].load_state_dict(torch.load(kept, weights_only=True))
    after = layer(x)
    for twin in twins:
        assert torch.equal(twin(x), after), "the same shots as here, which are not those of the first evaluation"
        assert twin.meter.circuits == layer.meter.circuits
    fresh = made()
    fresh.load_state_dict({"angles": layer.angles.detach()})
    assert not torch.equal(fresh(x), after)
    assert set(layer.state_dict()) == {"angles", "_extra_state"}


def test_starts() -> None:
    block = mirrored(RING)
    layer = QuantumLayer(block, Angle(uploads=3), init="identity").double()
    x = normal(4, 3)
    # Three times the same rotation about Y and nothing else: cos 3x.
    torch.testing.assert_close(layer(x), (3 * x).cos(), atol=1e-6, rtol=0)
    assert len(layer.angles.unique()) == layer.angles.numel() // 2
    with pytest.raises(CircuitError, match=r"gates undo each other.*mirrored\(circuit\)"):
        QuantumLayer(RING, init="identity")
    assert not QuantumLayer(RING, init="zeros").angles.any()
    given = normal(RING.n_parameters)
    assert torch.equal(QuantumLayer(RING, init=given).angles, given)
    torch.manual_seed(0)
    filled = QuantumLayer(RING, init=nn.init.normal_).angles
    torch.manual_seed(0)
    assert torch.equal(filled, nn.init.normal_(torch.empty(RING.n_parameters)))
    assert QuantumLayer(RING).angles.abs().max() <= torch.pi
