"""Families of circuits: those of arXiv:2410.09846 and the templates of Qiskit and PennyLane, as data and by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from qpeft.circuits.circuit import Circuit, Parameter
from qpeft.circuits.families import Bricks, Layers, ry_crz
from qpeft.circuits.gates import GATES
from qpeft.circuits.own import check_own, is_own, own_circuit
from qpeft.circuits.patterns import ENTANGLERS
from qpeft.circuits.setting import read_setting
from qpeft.errors import CircuitError, ConfigError, require_choice
from qpeft.registry import Registry

# More layers than anybody trains; a typing slip such as 100000 would build circuits for hours.
MOST_DEPTH = 4096
# Far more than a state vector or any device holds; the pairs of all_to_all grow with the square.
MOST_QUBITS = 1024


@dataclass(frozen=True)
class Ansatz:
    """One registered family.

    Attributes:
        name: what recipes and configs call it.
        build: from n_qubits and depth to a circuit; where it is `Layers`, its fields are options of the name.
        help: one line on what it is and where it comes from.
    """

    name: str
    build: Callable[[int, int], Circuit]
    help: str


ANSATZE: Registry[Ansatz] = Registry("ansatz")


def register_ansatz(name: str, build: Callable[[int, int], Circuit], help: str = "") -> None:
    """Make a family known by a name, to recipes, configs, the command line and error messages.

    >>> register_ansatz("doc_example", Layers(("rz", "ry"), gate="cz", entangler="ring"))
    >>> build_ansatz("doc_example", 3, 2).n_parameters
    12
    >>> ANSATZE.remove("doc_example")

    Args:
        name: letters, digits and underscores; not taken.
        build: from the number of qubits and the depth to a circuit of that many qubits.
        help: one line for lists.

    Raises:
        ConfigError: the name is taken by another family, or is no word.
    """
    ANSATZE.register(name, Ansatz(name, build, help))


for _name, _build, _help in (
    ("ry_cnot", Layers(("ry",), interleaved=True), "arXiv:2410.09846, Eq. 1"),
    ("rx_cnot", Layers(("rx",), interleaved=True), "arXiv:2410.09846, Eq. 12"),
    ("rxrz_cnot", Layers(("rx", "rz"), interleaved=True), "arXiv:2410.09846, Eq. 13"),
    ("ryrz_cnot", Layers(("ry", "rz"), interleaved=True), "arXiv:2410.09846, Eq. 14"),
    ("two_local", Layers(("ry", "rz"), final=True), "rotations and entangling gates of one's choice; qiskit n_local"),
    ("real_amplitudes", Layers(("ry",), entangler="reverse_chain", final=True), "qiskit real_amplitudes"),
    ("efficient_su2", Layers(("ry", "rz"), entangler="reverse_chain", final=True), "qiskit efficient_su2"),
    ("basic_entangler", Layers(("rx",), entangler="ring"), "pennylane BasicEntanglerLayers"),
    ("strongly_entangling", Layers(("u",), entangler="ranged"), "pennylane StronglyEntanglingLayers, angles as U3"),
    ("simplified_two_design", Bricks(("ry",), initial=True), "pennylane SimplifiedTwoDesign"),
    ("brickwork", Bricks(("ry", "rz"), gate="cx"), "blocks of cx, ry and rz on neighbours, in two rows a layer"),
    ("ry_crz", ry_crz, "RY and rings of CRZ, as the authors of arXiv:2503.12790 publish"),
):
    ANSATZE.own(_name, Ansatz(_name, _build, _help))


def check_ansatz(key: str, ansatz: Any) -> None:
    """Raise ConfigError unless this can be built: a name with options that it takes, a circuit's text, a function.

    Args:
        key: what the user calls the setting, for the message.
        ansatz: what `build_ansatz` takes.
    """
    if is_own(ansatz):
        check_own(key, ansatz)
    elif not (isinstance(ansatz, Circuit) or callable(ansatz)):
        _named(str(ansatz), key)


def _named(text: str, key: str = "ansatz") -> Callable[[int, int], Circuit]:
    """The function of a registered name, its options applied."""
    name, options = read_setting(text)
    build = ANSATZE.need(key, name).build
    if not options:
        return build
    allowed = {Layers: ("rotations", "gate", "entangler"), Bricks: ("rotations", "gate")}.get(type(build), ())
    for option in options:
        require_choice(f"{key} {name}: option", option, allowed or ("(none)",))
    changed: dict[str, str | tuple[str, ...]] = dict(options)
    if "rotations" in options:
        changed["rotations"] = tuple(options["rotations"].split("+"))
        for rotation in changed["rotations"]:
            require_choice(f"{key} {name}: rotations", rotation, [g.name for g in GATES.values() if g.n_qubits == 1])
    if "gate" in options:
        require_choice(f"{key} {name}: gate", options["gate"], [g.name for g in GATES.values() if g.n_qubits == 2])
    if "entangler" in options:
        require_choice(f"{key} {name}: entangler", options["entangler"], ENTANGLERS)
    return replace(build, **changed)  # type: ignore[type-var]


def own_entangler(ansatz: str) -> str:
    """The pattern of entangling gates that a family has where none is chosen; ``own`` where it is no pattern.

    >>> own_entangler("ry_cnot"), own_entangler("ry_crz")
    ('chain', 'own')
    """
    build = ansatz if is_own(ansatz) else _named(ansatz)
    return build.entangler if isinstance(build, Layers) else "own"


def angles_per_layer(name: str, n_qubits: int) -> int:
    """Number of angles that one more layer of this family adds.

    >>> angles_per_layer("ryrz_cnot", 5)
    10

    Raises:
        ConfigError: no family has this name.
    """
    return build_ansatz(name, n_qubits, 2).n_parameters - build_ansatz(name, n_qubits, 1).n_parameters


def build_ansatz(
    ansatz: "str | Mapping[str, str] | Circuit | Callable[[int, int], Circuit]",
    n_qubits: int,
    depth: int,
    entangler: str | None = None,
) -> Circuit:
    """The circuit of a family, of a circuit of one's own, or of a function.

    >>> build_ansatz("ry_cnot", n_qubits=7, depth=8).n_parameters
    56
    >>> build_ansatz("two_local:rotations=rx+rz,gate=crz,entangler=ring", n_qubits=3, depth=2).n_parameters
    24

    Args:
        ansatz: a key of ANSATZE, with options where it takes some: ``name:gate=crz,entangler=ring``; a Circuit or the
            text of an OpenQASM 3 program, repeated ``depth`` times with angles of its own each time, or such texts by
            their number of qubits; or a function of n_qubits and depth.
        n_qubits: N, 1 or more.
        depth: L, the number of layers, 1 to 4096.
        entangler: a key of ENTANGLERS in place of the family's own; ``none`` takes every gate on several wires away,
            whatever the ansatz.

    Returns:
        A circuit of n_qubits qubits.

    Raises:
        ConfigError: no family or entangler has this name, or the ansatz has no entangler to change.
        CircuitError: n_qubits or depth is out of range, or the circuit is of another size.
    """
    if not 1 <= n_qubits <= MOST_QUBITS or not 1 <= depth <= MOST_DEPTH:
        raise CircuitError(
            f"an ansatz needs n_qubits from 1 to {MOST_QUBITS} and depth from 1 to {MOST_DEPTH}; got "
            f"n_qubits={n_qubits}, depth={depth}"
        )
    if entangler is not None:
        require_choice("entangler", entangler, ENTANGLERS)
    if isinstance(ansatz, Mapping) or (isinstance(ansatz, str) and is_own(ansatz)):
        ansatz = own_circuit(ansatz, n_qubits)
    if isinstance(ansatz, Circuit):
        return _sized(_entangled(lambda n, layers: _repeated(ansatz, layers), entangler), n_qubits, depth)
    build = _named(ansatz) if isinstance(ansatz, str) else ansatz
    return _sized(_entangled(build, entangler), n_qubits, depth)


def _entangled(build: Callable[[int, int], Circuit], entangler: str | None) -> Callable[[int, int], Circuit]:
    if entangler is None:
        return build
    if isinstance(build, Layers):
        return replace(build, entangler=entangler)
    if entangler == "none":
        return lambda n_qubits, depth: without_entanglers(build(n_qubits, depth))
    raise ConfigError(
        f"entangler can be changed where an ansatz is made of layers with one; this one is not; leave it out, or take "
        f"none, which removes every gate on several wires; got {entangler!r}"
    )


def _sized(build: Callable[[int, int], Circuit], n_qubits: int, depth: int) -> Circuit:
    circuit = build(n_qubits, depth)
    if not isinstance(circuit, Circuit):
        raise CircuitError(f"the function of an ansatz must return a qpeft Circuit; got {type(circuit).__name__}")
    if circuit.n_qubits != n_qubits:
        raise CircuitError(
            f"a circuit of {n_qubits} qubits is needed here; the one given has {circuit.n_qubits}; give one of that "
            f"size, or a function of n_qubits and depth"
        )
    return circuit


def _repeated(circuit: Circuit, times: int) -> Circuit:
    whole = circuit
    for _ in range(times - 1):
        whole = whole + circuit
    return whole


def without_entanglers(circuit: Circuit) -> Circuit:
    """The circuit without its gates on several wires; what is left is numbered anew.

    >>> without_entanglers(build_ansatz("ry_crz", 3, 1)) == build_ansatz("ry_crz", 3, 1, "none")
    True
    """
    kept = [op for op in circuit.operations if len(op.wires) == 1]
    used = sorted({a.index for op in kept for a in op.angles if isinstance(a, Parameter)})
    place = {index: position for position, index in enumerate(used)}
    return Circuit(
        circuit.n_qubits,
        tuple(
            op.turned([replace(a, index=place[a.index]) if isinstance(a, Parameter) else a for a in op.angles])
            for op in kept
        ),
    )
