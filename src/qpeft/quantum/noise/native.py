"""Circuits in the native gates of IBM's Heron devices: rz, sx, x and cz, with the angles still symbolic.

A rotation by a parameter becomes a turn about Z by that parameter between fixed gates. The turn is virtual on these
devices: it takes no time and makes no error, so a gradient by parameter shift is exact under noise, too. Runs of fixed
gates on one qubit are multiplied and written anew with two sx or fewer.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from math import pi

import numpy as np

from qpeft.circuits.circuit import Circuit, Operation, Parameter
from qpeft.circuits.gates import Matrix, gate_named
from qpeft.errors import CircuitError


@dataclass(frozen=True)
class Turn:
    """An angle about Z in radians: a constant plus multiples of parameters, as (index, factor)."""

    constant: float = 0.0
    terms: tuple[tuple[int, float], ...] = ()

    def __add__(self, other: "Turn") -> "Turn":
        return Turn(self.constant + other.constant, self.terms + other.terms)


@dataclass(frozen=True)
class NativeGate:
    """One of rz, sx, x, cz; only rz has a turn."""

    name: str
    wires: tuple[int, ...]
    turn: Turn | None = None


@dataclass(frozen=True)
class NativeCircuit:
    """Native gates in the order they act.

    >>> from qpeft.circuits import build_ansatz
    >>> native_circuit(build_ansatz("ry_cnot", 5, 8)).counts()
    {'cz': 32, 'rz': 105, 'sx': 105}
    """

    n_qubits: int
    gates: tuple[NativeGate, ...]

    def counts(self) -> dict[str, int]:
        """How often each gate occurs."""
        return dict(sorted(Counter(gate.name for gate in self.gates).items()))


# A gate on one wire on the way: a fixed matrix or a turn.
Piece = Matrix | Turn
# A native gate on one wire: its name, and the turn of an rz.
Word = tuple[str, Turn | None]
_H, _S, _SDG = gate_named("h").matrix(), gate_named("s").matrix(), gate_named("sdg").matrix()
# What brings the axis of a rotation to Z, as a matrix V with V Z V^-1 = X, Y or Z.
_TO_AXIS = {"x": _H, "y": _S @ _H, "z": np.eye(2, dtype=np.complex128)}
_SAME = 1e-9


def rotation_pieces(axis: str, turn: Turn) -> list[Piece]:
    """A rotation about an axis as a turn about Z between fixed matrices, in the order they act.

    >>> [type(piece).__name__ for piece in rotation_pieces("x", Turn(0.1))]
    ['ndarray', 'Turn', 'ndarray']
    """
    there = _TO_AXIS[axis]
    return [there.conj().T, turn, there]


def turn_of(operation: Operation, factor: float = 1.0) -> Turn:
    """A multiple of the angle of a rotation."""
    if isinstance(operation.turn, Parameter):
        return Turn(0.0, ((operation.turn.index, factor),))
    return Turn(factor * (operation.turn or 0.0))


@dataclass
class _Writer:
    """Gates so far, and for each wire the pieces since its last cz."""

    n_qubits: int
    gates: list[NativeGate] = field(default_factory=list)
    open: list[list[Piece]] = field(init=False)

    def __post_init__(self) -> None:
        self.open = [[] for _ in range(self.n_qubits)]

    def cz(self, first: int, second: int) -> None:
        self.flush(first)
        self.flush(second)
        self.gates.append(NativeGate("cz", (first, second)))

    def cx(self, control: int, target: int) -> None:
        self.open[target].append(_H)
        self.cz(control, target)
        self.open[target].append(_H)

    def flush(self, wire: int) -> None:
        self.gates += [NativeGate(name, (wire,), turn) for name, turn in _native_run(self.open[wire])]
        self.open[wire] = []

    def write(self, operation: Operation) -> None:
        """Add one gate of the circuit."""
        name, wires = operation.gate, operation.wires
        target = self.open[wires[-1]]
        if name in ("rx", "ry", "rz"):
            target += rotation_pieces(name[-1], turn_of(operation))
        elif len(wires) == 1:
            target.append(operation.gate_row.matrix())
        elif name == "swap":
            for control, other in (wires, wires[::-1], wires):
                self.cx(control, other)
        else:
            self._controlled(name, operation, wires)

    def _controlled(self, name: str, operation: Operation, wires: tuple[int, ...]) -> None:
        control, wire = wires
        if name == "cz":
            self.cz(control, wire)
        elif name in ("cx", "cy"):
            self.open[wire] += [_SDG] if name == "cy" else []
            self.cx(control, wire)
            self.open[wire] += [_S] if name == "cy" else []
        else:
            there = _TO_AXIS[name[-1]]
            self.open[wire] += [there.conj().T, turn_of(operation, 0.5)]
            self.cx(control, wire)
            self.open[wire].append(turn_of(operation, -0.5))
            self.cx(control, wire)
            self.open[wire].append(there)


@lru_cache(maxsize=256)
def native_circuit(circuit: Circuit) -> NativeCircuit:
    """The circuit in native gates, for a line of qubits in the order of the circuit's.

    Args:
        circuit: any circuit whose gates on two qubits act on neighbours.

    Raises:
        CircuitError: a gate acts on two qubits that are not neighbours.
    """
    writer = _Writer(circuit.n_qubits)
    for position, operation in enumerate(circuit.operations):
        if len(operation.wires) == 2 and abs(operation.wires[0] - operation.wires[1]) != 1:
            raise CircuitError(
                f"device noise is for a line of qubits, on which gates join neighbours; operation {position} is "
                f"{operation.gate} on wires {operation.wires}; choose the entangler chain, noise without a device, or "
                f"the aer backend, which routes any circuit"
            )
        writer.write(operation)
    for wire in range(circuit.n_qubits):
        writer.flush(wire)
    return NativeCircuit(circuit.n_qubits, tuple(writer.gates))


def _native_run(pieces: list[Piece]) -> list[Word]:
    """rz, sx and x that do what a run of pieces on one wire does, up to a phase."""
    result: list[Word] = []
    fixed: Matrix = np.eye(2, dtype=np.complex128)
    for piece in pieces:
        if not isinstance(piece, Turn):
            fixed = piece @ fixed
        elif piece.terms:
            result += [*_euler(fixed), ("rz", piece)]
            fixed = np.eye(2, dtype=np.complex128)
        else:
            fixed = np.diag([1, np.exp(1j * piece.constant)]) @ fixed
    return _merge_turns([*result, *_euler(fixed)])


def _euler(matrix: Matrix) -> list[Word]:
    """A fixed matrix as turns about Z with no, one or two sx, or one x, between them."""
    # |entries| are cos and sin of half the polar angle; the phases give the two turns.
    polar = 2 * np.arctan2(abs(matrix[1, 0]), abs(matrix[0, 0]))
    if polar < _SAME:
        return [("rz", Turn(float(np.angle(matrix[1, 1] / matrix[0, 0]))))]
    if pi - polar < _SAME:
        return [("x", None), ("rz", Turn(float(np.angle(matrix[1, 0] / matrix[0, 1]))))]
    first = float(np.angle(-matrix[0, 1] / matrix[0, 0]))
    last = float(np.angle(matrix[1, 0] / matrix[0, 0]))
    if abs(polar - pi / 2) < _SAME:
        return [("rz", Turn(first - pi / 2)), ("sx", None), ("rz", Turn(last + pi / 2))]
    middle = Turn(float(polar) + pi)
    return [("rz", Turn(first)), ("sx", None), ("rz", middle), ("sx", None), ("rz", Turn(last + pi))]


def _merge_turns(gates: list[Word]) -> list[Word]:
    """Neighbouring turns added up, and those by nothing left out."""
    merged: list[Word] = []
    for name, turn in gates:
        before = merged[-1][1] if merged else None
        if before is not None and turn is not None:
            merged[-1] = (name, before + turn)
        else:
            merged.append((name, turn))
    return [gate for gate in merged if gate[1] is None or gate[1].terms or abs(gate[1].constant) > _SAME]
