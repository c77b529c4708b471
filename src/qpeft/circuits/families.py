"""Families of circuits built of layers: the rules by which an ansatz of any size is written down."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from qpeft.circuits.circuit import Circuit, Operation, Parameter
from qpeft.circuits.gates import GATES
from qpeft.circuits.patterns import ENTANGLERS


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


def ry_crz(n_qubits: int, depth: int) -> Circuit:
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
