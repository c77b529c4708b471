"""Families of circuits: the paper's gate by gate, Qiskit's and PennyLane's templates, circuits of one's own."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.circuits import (
    ANSATZE,
    Bricks,
    Circuit,
    Layers,
    Operation,
    Parameter,
    angles_per_layer,
    build_ansatz,
    from_pennylane,
    from_qiskit,
    register_ansatz,
    without_entanglers,
)
from qpeft.circuits.unitary import same_up_to_phase, unitary
from qpeft.errors import CircuitError, ConfigError

PAPER = ("ry_cnot", "rx_cnot", "rxrz_cnot", "ryrz_cnot")
TWO = Circuit(2, (Operation("ry", (0,), Parameter(0)), Operation("rzz", (0, 1), Parameter(1))))


@settings(deadline=None)
@given(st.sampled_from(list(ANSATZE)), st.integers(1, 6), st.integers(1, 4))
def test_angles_are_numbered_in_order(name: str, n_qubits: int, depth: int) -> None:
    circuit = build_ansatz(name, n_qubits, depth)
    indices = [angle.index for op in circuit.operations for angle in op.angles if isinstance(angle, Parameter)]
    assert indices == list(range(circuit.n_parameters))
    assert build_ansatz(name, n_qubits, depth + 1).n_parameters - len(indices) == angles_per_layer(name, n_qubits)


def test_equation_1_by_hand() -> None:
    gates = [(op.gate, op.wires) for op in build_ansatz("ry_cnot", 3, 2).operations]
    layer = [("ry", (0,)), ("ry", (1,)), ("ry", (2,)), ("cx", (0, 1)), ("cx", (1, 2))]
    assert gates == layer * 2


def test_equation_14_entangles_after_each_rotation_kind() -> None:
    gates = "".join(op.gate[-1] for op in build_ansatz("ryrz_cnot", 2, 2).operations)
    assert gates == "yyxzzx" * 2


def close(ours: Circuit, theirs: Circuit) -> None:
    assert (ours.n_qubits, ours.n_parameters) == (theirs.n_qubits, theirs.n_parameters)
    angles = np.random.default_rng(3).uniform(-3, 3, ours.n_parameters)
    assert same_up_to_phase(unitary(ours, angles), unitary(theirs, angles), 1e-12)


@pytest.mark.parametrize("n_qubits", [2, 3, 4, 5])
@pytest.mark.parametrize("pattern", ["chain", "reverse_chain", "circular", "all_to_all", "pairwise", "sca"])
def test_patterns_and_gates_are_qiskits(n_qubits: int, pattern: str) -> None:
    library = pytest.importorskip("qiskit.circuit.library")
    words = {"chain": "linear", "reverse_chain": "reverse_linear", "all_to_all": "full"}
    for rotations, gate in ((["ry"], "cx"), (["rx", "rz"], "crz"), (["ry"], "rxx"), (["p"], "cz")):
        entanglement = words.get(pattern, pattern)
        theirs = library.n_local(n_qubits, rotations, gate, entanglement=entanglement, reps=3)
        ours = build_ansatz(f"two_local:rotations={'+'.join(rotations)},gate={gate},entangler={pattern}", n_qubits, 3)
        close(ours, from_qiskit(theirs))


@pytest.mark.parametrize("name", ["real_amplitudes", "efficient_su2"])
def test_qiskits_templates(name: str) -> None:
    library = pytest.importorskip("qiskit.circuit.library")
    for n_qubits, reps in ((1, 1), (2, 2), (5, 3)):
        close(build_ansatz(name, n_qubits, reps), from_qiskit(getattr(library, name)(n_qubits, reps=reps)))


def strongly(qml: Any, n: int, depth: int) -> Circuit:
    """PennyLane's weights are Rot(phi, theta, omega), ours U3(theta, omega, phi)."""
    theirs = from_pennylane(lambda w: qml.StronglyEntanglingLayers(w, wires=range(n)), np.zeros((depth, n, 3)))
    order = {3 * k + place: 3 * k + of for k in range(depth * n) for place, of in enumerate((2, 0, 1))}
    operations = [
        op.turned([Parameter(order[angle.index]) for angle in op.angles if isinstance(angle, Parameter)])
        for op in theirs.operations
    ]
    return Circuit(n, tuple(operations))


def test_pennylanes_templates() -> None:
    qml = pytest.importorskip("pennylane")
    for n in (2, 3, 5):
        close(build_ansatz("strongly_entangling", n, 3), strongly(qml, n, 3))
        basic = from_pennylane(lambda w, n=n: qml.BasicEntanglerLayers(w, wires=range(n)), np.zeros((2, n)))
        close(build_ansatz("basic_entangler", n, 2), basic)
        design = from_pennylane(
            lambda first, w, n=n: qml.SimplifiedTwoDesign(first, w, wires=range(n)),
            np.zeros(n),
            np.zeros((2, n - 1, 2)),
        )
        close(build_ansatz("simplified_two_design", n, 2), design)


def test_ry_crz_as_published() -> None:
    """arXiv:2503.12790's authors: 400 angles at 10 qubits and 10 layers; two rings of CRZ a layer, in these orders."""
    assert build_ansatz("ry_crz", 10, 10).n_parameters == 400
    wires = [op.wires for op in build_ansatz("ry_crz", 3, 1).operations if op.gate == "crz"]
    assert wires == [(2, 0), (1, 2), (0, 1), (2, 1), (0, 2), (1, 0)]


def test_a_circuit_of_ones_own_is_repeated() -> None:
    assert build_ansatz(TWO, 2, 1) == TWO
    assert build_ansatz(TWO, 2, 3) == TWO + TWO + TWO
    assert build_ansatz(lambda n, depth: build_ansatz("ry_cnot", n, 2 * depth), 3, 2).n_parameters == 12


def test_the_twin_without_entanglers_of_any_circuit() -> None:
    assert without_entanglers(TWO) == Circuit(2, (Operation("ry", (0,), Parameter(0)),))
    assert build_ansatz(TWO, 2, 2, "none").n_parameters == 2
    for name in ANSATZE:
        assert all(len(op.wires) == 1 for op in build_ansatz(name, 4, 2, "none").operations)
    for name in PAPER:
        assert build_ansatz(name, 4, 2, "none") == without_entanglers(build_ansatz(name, 4, 2))


def test_registering() -> None:
    register_ansatz("of_a_test", Layers(("h",), gate="cp", entangler="star"))
    try:
        assert build_ansatz("of_a_test:gate=cx", 4, 1).n_parameters == 0
        with pytest.raises(ConfigError, match="registered already"):
            register_ansatz("of_a_test", Bricks(("ry",)))
        with pytest.raises(ConfigError, match="nearest: of_a_test"):
            build_ansatz("of_atest", 2, 1)
    finally:
        ANSATZE.remove("of_a_test")
    with pytest.raises(ConfigError, match="must be a word"):
        register_ansatz("of a test", Bricks(("ry",)))


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"ansatz must be one of .*'ry_cnt'; nearest: ry_cnot"):
        build_ansatz("ry_cnt", 2, 1)
    with pytest.raises(ConfigError, match="entangler must be one of"):
        build_ansatz("ry_cnot", 2, 1, "line")
    with pytest.raises(CircuitError, match="got n_qubits=3, depth=0"):
        build_ansatz("ry_cnot", 3, 0)
    with pytest.raises(CircuitError, match="depth from 1 to 4096; got n_qubits=3, depth=100000"):
        build_ansatz("ry_cnot", 3, 100000)
    with pytest.raises(ConfigError, match=r"two_local: gate must be one of .*'crw'; nearest: cr"):
        build_ansatz("two_local:gate=crw", 2, 1)
    with pytest.raises(ConfigError, match=r"ry_crz: option must be one of \(none\)"):
        build_ansatz("ry_crz:gate=cx", 2, 1)
    with pytest.raises(ConfigError, match="layers with one; this one is not"):
        build_ansatz("ry_crz", 2, 1, "ring")
    with pytest.raises(CircuitError, match="3 qubits is needed here; the one given has 2"):
        build_ansatz(TWO, 3, 1)
    with pytest.raises(CircuitError, match="must return a qpeft Circuit; got int"):
        build_ansatz(lambda n, depth: 3, 3, 1)  # type: ignore[arg-type,return-value]
