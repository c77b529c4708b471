"""Families of circuits: those of arXiv:2410.09846 and the templates of Qiskit and PennyLane, as data and by name."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count

from qpeft.circuits.circuit import Circuit, Operation, Parameter
from qpeft.circuits.gates import GATES
from qpeft.circuits.patterns import ENTANGLERS
from qpeft.circuits.setting import read_setting
from qpeft.errors import CircuitError, ConfigError, require_choice

# More layers than anybody trains; a typing slip such as 100000 would build circuits for hours.
MOST_DEPTH = 4096
# Far more than a state vector or any device holds; the pairs of all_to_all grow with the square.
MOST_QUBITS = 1024


@dataclass(frozen=True)
class Layers:
    """A family built of equal layers: rotations of every wire, and gates that join pairs of wires.

    Parameters are numbered as the gates act, but rotation by rotation and in each of them wire by wire.

    Attributes:
        rotations: gates on one wire, each on every wire.
        gate: the gate that joins two wires; one with an angle is trained, too.
        entangler: a key of ENTANGLERS.
        interleaved: whether the entangler follows each kind of rotation, and not the last one only.
        final: whether the rotations stand once more at the end.
    """

    rotations: tuple[str, ...]
    gate: str = "cx"
    entangler: str = "chain"
    interleaved: bool = False
    final: bool = False

    def __call__(self, n_qubits: int, depth: int) -> Circuit:
        """The circuit of a number of qubits and layers."""
        index = count()
        operations: list[Operation] = []
        for layer in range(depth):
            pairs = ENTANGLERS[self.entangler].pairs(n_qubits, layer)
            for rotation in self.rotations:
                operations += _on_each(rotation, ((wire,) for wire in range(n_qubits)), index)
                operations += _on_each(self.gate, pairs, index) if self.interleaved else []
            operations += [] if self.interleaved else _on_each(self.gate, pairs, index)
        for rotation in self.rotations if self.final else ():
            operations += _on_each(rotation, ((wire,) for wire in range(n_qubits)), index)
        return Circuit(n_qubits, tuple(operations))


def _on_each(gate: str, wires: Iterable[tuple[int, ...]], index: "count[int]") -> list[Operation]:
    n_angles = GATES[gate].n_angles
    found = []
    for some in wires:
        angles = tuple(Parameter(next(index)) for _ in range(n_angles))
        found.append(Operation(gate, some, angles[0] if n_angles == 1 else angles or None))
    return found


@dataclass(frozen=True)
class Bricks:
    """Blocks of two wires in two rows a layer: (0, 1), (2, 3), ..., then (1, 2), (3, 4), ...

    A block is ``gate`` and then each rotation on both wires; the rotations also stand on every wire before the first
    block where ``initial`` says so. With ry, cz and ``initial`` it is the simplified two-design of arXiv:2001.00550.
    """

    rotations: tuple[str, ...]
    gate: str = "cz"
    initial: bool = False

    def __call__(self, n_qubits: int, depth: int) -> Circuit:
        """The circuit of a number of qubits and layers."""
        index = count()
        operations: list[Operation] = []
        for rotation in self.rotations if self.initial else ():
            operations += _on_each(rotation, ((wire,) for wire in range(n_qubits)), index)
        for _ in range(depth):
            for pair in ENTANGLERS["pairwise"].pairs(n_qubits):
                operations += _on_each(self.gate, (pair,), index)
                for rotation in self.rotations:
                    operations += _on_each(rotation, ((wire,) for wire in pair), index)
        return Circuit(n_qubits, tuple(operations))


def _ry_crz(n_qubits: int, depth: int) -> Circuit:
    """Layers of RY, CRZ to the next wire, RY, CRZ to the wire before, as the authors of arXiv:2503.12790 publish."""
    index = count()
    every = [(wire,) for wire in range(n_qubits)]
    forward = tuple((wire, (wire + 1) % n_qubits) for wire in reversed(range(n_qubits))) if n_qubits > 1 else ()
    order = (n_qubits - 1, *range(n_qubits - 1))
    backward = tuple((wire, (wire - 1) % n_qubits) for wire in order) if n_qubits > 1 else ()
    operations: list[Operation] = []
    for _ in range(depth):
        for pairs in (forward, backward):
            operations += [*_on_each("ry", every, index), *_on_each("crz", pairs, index)]
    return Circuit(n_qubits, tuple(operations))


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


ANSATZE: dict[str, Ansatz] = {}


def register_ansatz(name: str, build: Callable[[int, int], Circuit], help: str = "") -> None:
    """Make a family known by a name, to recipes, configs, the command line and error messages.

    >>> register_ansatz("doc_example", Layers(("rz", "ry"), gate="cz", entangler="ring"))
    >>> build_ansatz("doc_example", 3, 2).n_parameters
    12
    >>> del ANSATZE["doc_example"]

    Args:
        name: letters, digits and underscores; not taken.
        build: from the number of qubits and the depth to a circuit of that many qubits.
        help: one line for lists.

    Raises:
        ConfigError: the name is taken by another family, or is no word.
    """
    if not name.isidentifier():
        raise ConfigError(f"the name of an ansatz must be a word of letters, digits and underscores; got {name!r}")
    if name in ANSATZE and ANSATZE[name].build != build:
        raise ConfigError(f"an ansatz named {name!r} is registered already; choose another name")
    ANSATZE[name] = Ansatz(name, build, help)


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
    ("ry_crz", _ry_crz, "RY and rings of CRZ, as the authors of arXiv:2503.12790 publish"),
):
    register_ansatz(_name, _build, _help)


def check_ansatz(key: str, ansatz: str) -> None:
    """Raise ConfigError unless this is a registered name with options that it takes.

    Args:
        key: what the user calls the setting, for the message.
        ansatz: ``name`` or ``name:option=value,option=value``.
    """
    _named(ansatz, key)


def _named(text: str, key: str = "ansatz") -> Callable[[int, int], Circuit]:
    """The function of a registered name, its options applied."""
    name, options = read_setting(text)
    require_choice(key, name, ANSATZE)
    build = ANSATZE[name].build
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
    build = _named(ansatz)
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
    ansatz: "str | Circuit | Callable[[int, int], Circuit]", n_qubits: int, depth: int, entangler: str | None = None
) -> Circuit:
    """The circuit of a family, of a circuit of one's own, or of a function.

    >>> build_ansatz("ry_cnot", n_qubits=7, depth=8).n_parameters
    56
    >>> build_ansatz("two_local:rotations=rx+rz,gate=crz,entangler=ring", n_qubits=3, depth=2).n_parameters
    24

    Args:
        ansatz: a key of ANSATZE, with options where it takes some: ``name:gate=crz,entangler=ring``; a Circuit,
            repeated ``depth`` times with angles of its own each time; or a function of n_qubits and depth.
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
