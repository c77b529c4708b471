"""Circuits that undo themselves: a circuit with its mirror image, and angles at which a circuit is the identity."""

from collections.abc import Sequence

from qpeft.circuits.circuit import Circuit, Operation, Parameter
from qpeft.errors import CircuitError

INVERSES = {"s": "sdg", "t": "tdg", "sx": "sxdg", "sdg": "s", "tdg": "t", "sxdg": "sx"}
SELF_INVERSE = ("x", "y", "z", "h", "cx", "cy", "cz", "ch", "swap", "ccx", "ccz", "cswap")
# U(theta, phi, lambda) is undone by U(-theta, -lambda, -phi).
ORDER = {"u": (0, 2, 1), "cu": (0, 2, 1, 3)}


def mirrored(circuit: Circuit) -> Circuit:
    """The circuit, then its inverse with angles of its own: the identity where those equal the first ones.

    Such blocks are how arXiv:1903.05076 starts the training of deep circuits.

    >>> from qpeft.circuits.ansatz import build_ansatz
    >>> block = mirrored(build_ansatz("ry_cnot", 2, 1))
    >>> [operation.gate for operation in block.operations], block.n_parameters
    (['ry', 'ry', 'cx', 'cx', 'ry', 'ry'], 4)

    Raises:
        CircuitError: a gate has no inverse in the gate table.
    """
    return circuit + Circuit(circuit.n_qubits, tuple(map(_inverse, reversed(circuit.operations))))


def identity_angles(circuit: Circuit, start: Sequence[float]) -> tuple[float, ...]:
    """Angles at which a circuit is the identity, the first of each pair of gates that cancel left at its start.

    >>> identity_angles(mirrored(Circuit(1, (Operation("ry", (0,), Parameter(0)),))), [0.25, 1.0])
    (0.25, 0.25)

    Args:
        circuit: a `mirrored` one, a sum of such blocks, or any other whose gates undo each other in turn.
        start: radians, one for each parameter.

    Raises:
        CircuitError: a gate has no partner that undoes it, or one angle would have to take two values.
    """
    values: dict[int, float] = {}
    waiting: list[Operation] = []
    for operation in circuit.operations:
        meeting = [place for place, one in enumerate(waiting) if set(one.wires) & set(operation.wires)]
        if meeting and _undoes(operation, waiting[meeting[-1]]):
            _settle(waiting.pop(meeting[-1]), operation, values, start)
        else:
            waiting.append(operation)
    if waiting:
        raise CircuitError(
            f"an identity needs a circuit whose gates undo each other; {waiting[0].gate} on wires {waiting[0].wires} "
            f"has no partner; qpeft.circuits.mirrored(circuit) makes such a block"
        )
    return tuple(values[index] for index in range(circuit.n_parameters))


def _inverse(operation: Operation) -> Operation:
    name = operation.gate
    if not operation.angles:
        if name not in SELF_INVERSE and name not in INVERSES:
            raise CircuitError(f"the mirror of a circuit needs the inverse of each gate; {name} has none in the table")
        return Operation(INVERSES.get(name, name), operation.wires)
    angles = [None if angle is None else angle * -1.0 for angle in operation.angles]
    return operation.turned([angles[place] for place in ORDER.get(name, range(len(angles)))])


def _undoes(later: Operation, earlier: Operation) -> bool:
    """Whether the later gate undoes the earlier one at some angles."""
    if not earlier.angles and earlier.gate not in SELF_INVERSE and earlier.gate not in INVERSES:
        return False
    inverse = _inverse(earlier)
    return (inverse.gate, inverse.wires) == (later.gate, later.wires) and all(
        one == other or (isinstance(one, Parameter) and isinstance(other, Parameter))
        for one, other in zip(inverse.angles, later.angles, strict=True)
    )


def _settle(earlier: Operation, later: Operation, values: dict[int, float], start: Sequence[float]) -> None:
    """Give the later gate the angles that undo the earlier one."""
    for wanted, own in zip(_inverse(earlier).angles, later.angles, strict=True):
        if not (isinstance(wanted, Parameter) and isinstance(own, Parameter)):
            continue
        first = values.setdefault(wanted.index, float(start[wanted.index]))
        needed = (wanted.scale * first + wanted.shift - own.shift) / own.scale
        if abs(values.setdefault(own.index, needed) - needed) > 1e-12:
            raise CircuitError(
                f"angle {own.index} would have to take two values for the gates to undo each other; give the gates "
                f"angles of their own"
            )
