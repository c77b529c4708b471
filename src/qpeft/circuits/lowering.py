"""A circuit in the gates that every simulator and device here knows, each with a bare parameter or a fixed angle."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from qpeft.circuits.circuit import Angle, Circuit, Operation, Parameter


@dataclass(frozen=True)
class Lowered:
    """A circuit with the same probabilities as another: the same state, up to a global phase.

    Its angle k is ``scales[k] * theta[origin[k]] + shifts[k]``, theta being the angles of the other.

    Attributes:
        circuit: of gates without `Gate.pieces`, whose parameters have scale 1 and shift 0.
        origin: for each of its angles the index of the angle it comes from.
        scales: factors.
        shifts: radians.
    """

    circuit: Circuit
    origin: tuple[int, ...]
    scales: tuple[float, ...]
    shifts: tuple[float, ...]


@lru_cache(maxsize=256)
def lowered(circuit: Circuit) -> Lowered | None:
    """The circuit in simpler gates, or None where it is made of those already.

    >>> lowered(Circuit(1, (Operation("ry", (0,), Parameter(0)),))) is None
    True
    >>> twice = lowered(Circuit(2, (Operation("rzz", (0, 1), Parameter(0, scale=2.0)),)))
    >>> [operation.gate for operation in twice.circuit.operations], twice.scales
    (['cx', 'rz', 'cx'], (2.0,))
    """
    simple = [op for operation in circuit.operations for op in _simple(operation)]
    found = dict.fromkeys(a for op in simple for a in op.angles if isinstance(a, Parameter))
    if tuple(simple) == circuit.operations and all(a == Parameter(a.index) for a in found):
        return None
    places = {parameter: place for place, parameter in enumerate(found)}
    operations = tuple(op.turned([_numbered(a, places) for a in op.angles]) for op in simple)
    return Lowered(
        Circuit(circuit.n_qubits, operations),
        tuple(parameter.index for parameter in found),
        tuple(parameter.scale for parameter in found),
        tuple(parameter.shift for parameter in found),
    )


def pieces(operation: Operation) -> Iterator[Operation]:
    """The gate in simpler ones, once: what its row says; none for a gate that is simple itself."""
    for name, positions, turn in operation.gate_row.pieces:
        wires = tuple(operation.wires[position] for position in positions)
        yield Operation(name, wires, _angle(turn, operation.angles))


def _simple(operation: Operation) -> Iterator[Operation]:
    if operation.gate_row.pieces:
        for piece in pieces(operation):
            yield from _simple(piece)
    else:
        yield replace(operation, angle=operation.angles[0]) if operation.angles else operation


def _angle(turn: float | tuple[int, float] | None, angles: tuple[Angle, ...]) -> Angle:
    if not isinstance(turn, tuple):
        return turn
    angle = angles[turn[0]]
    return None if angle is None else angle * turn[1]


def _numbered(angle: Angle, places: dict[Parameter, int]) -> Angle:
    return Parameter(places[angle]) if isinstance(angle, Parameter) else angle
