"""Circuits from and to PennyLane; both count the first wire as the most significant bit."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpeft.circuits.circuit import Angle, Circuit, Operation, Parameter
from qpeft.circuits.lowering import pieces
from qpeft.errors import CircuitError, import_extra

# The gate table's gates in PennyLane's words; where angles are others, for each of ours (which of theirs, factor).
NAMES = {
    **{"rx": "RX", "ry": "RY", "rz": "RZ", "x": "PauliX", "y": "PauliY", "z": "PauliZ", "h": "Hadamard", "s": "S"},
    **{"t": "T", "sx": "SX", "cx": "CNOT", "cy": "CY", "cz": "CZ", "swap": "SWAP", "iswap": "ISWAP", "ch": "CH"},
    **{"crx": "CRX", "cry": "CRY", "crz": "CRZ", "p": "PhaseShift", "cp": "ControlledPhaseShift", "u": "U3"},
    **{"rxx": "IsingXX", "ryy": "IsingYY", "rzz": "IsingZZ", "ccx": "Toffoli", "ccz": "CCZ", "cswap": "CSWAP"},
}
_ADJOINT = {"sdg": "S", "tdg": "T", "sxdg": "SX"}
_READ = {
    **{theirs: ours for ours, theirs in NAMES.items()},
    **{f"Adjoint({theirs})": ours for ours, theirs in _ADJOINT.items()},
    **{"U1": "p", "CPhase": "cp", "SingleExcitation": "rbs", "Rot": "u"},
}
# Ours from theirs: SingleExcitation turns the other way by half its angle; Rot(a, b, c) is U(b, c, a).
_ANGLES: dict[str, tuple[tuple[int, float], ...]] = {
    "SingleExcitation": ((0, -0.5),),
    "Rot": ((1, 1.0), (2, 1.0), (0, 1.0)),
}
_SILENT = ("Barrier", "GlobalPhase", "Identity", "Snapshot", "WireCut")
_STATES = ("StatePrep", "BasisState", "AmplitudeEmbedding", "QubitDensityMatrix")


def _library() -> Any:
    return import_extra("pennylane", "this needs PennyLane", "Install it: pip install 'qpeft[pennylane]'")


def from_pennylane(source: Any, *arguments: Any, **constants: Any) -> Circuit:
    """The circuit of a QNode, a quantum function, or a tape.

    Of a function, the numbers of its positional arguments become angles 0, 1, 2, ..., argument by argument, each
    flattened in C order; keyword arguments are constants. A gate's angle may be any ``a * number + b`` of one of them.
    Of a tape, its trainable parameters become the angles, in the order of ``tape.get_parameters()``.

    Templates are decomposed. Measurements are left out: what is read belongs to the layer that runs the circuit.
    Wires that are whole numbers keep them; others are numbered as they first appear.

    Args:
        source: a QNode, a function that queues gates, or a QuantumScript.
        *arguments: example values of the function's arguments; their shapes count.
        **constants: the function's other arguments.

    Raises:
        CircuitError: names gate and wires.
        MissingExtraError: PennyLane is not installed.
    """
    qml = _library()
    if isinstance(source, qml.tape.QuantumScript):
        return _of_tape(source)
    function = getattr(source, "func", source)
    shapes = [np.shape(argument) for argument in arguments]

    def at(numbers: NDArray[np.float64]) -> list[Operation]:
        cuts = np.split(numbers, np.cumsum([math.prod(shape) for shape in shapes])[:-1]) if shapes else []
        given = [cut.reshape(shape) for cut, shape in zip(cuts, shapes, strict=True)]
        with qml.queuing.AnnotatedQueue() as queue:
            function(*given, **constants)
        tape = qml.tape.QuantumScript.from_queue(queue)
        return [*_operations(tape.operations, _numbering(tape.wires))]

    return _with_lines(at, sum(math.prod(shape) for shape in shapes))


def _of_tape(tape: Any) -> Circuit:
    trainable = sorted(tape.trainable_params)
    start = np.array(tape.get_parameters(trainable_only=False), dtype=object)

    def at(numbers: NDArray[np.float64]) -> list[Operation]:
        values = [*start]
        for place, value in zip(trainable, numbers, strict=True):
            values[place] = float(value)
        bound = tape.bind_new_parameters(values, list(range(len(values))))
        return [*_operations(bound.operations, _numbering(tape.wires))]

    return _with_lines(at, len(trainable))


def _with_lines(at: Callable[[NDArray[np.float64]], list[Operation]], count: int) -> Circuit:
    """Find for every angle the straight line in one number that it is."""
    generator = np.random.default_rng(7)
    base, other = generator.uniform(0.2, 2.9, (2, count))
    first = at(base)
    values = _flat(first)
    slopes = np.zeros((len(values), count))
    for place in range(count):
        moved = base.copy()
        moved[place] += 0.5
        slopes[:, place] = (_flat(_alike(at(moved), first)) - values) / 0.5
    # What is not a straight line would show here; rounding leaves about 1e-15.
    slopes[np.abs(slopes) < 1e-9] = 0
    slopes = np.round(slopes, 12)
    shifts = np.round(values - slopes @ base, 12)
    wrong = np.abs(_flat(_alike(at(other), first)) - slopes @ other - shifts) > 1e-7
    names = [op for op in first for _ in op.angles]
    for row, operation in enumerate(names):
        if wrong[row] or np.count_nonzero(slopes[row]) > 1:
            raise CircuitError(
                f"gate {operation.gate} on wires {operation.wires}: an angle must be a * number + b of one number "
                f"of the arguments; pass what is no angle by keyword"
            )
    lines = map(_line, slopes, shifts)
    operations = [op.turned([next(lines) for _ in op.angles]) for op in first]
    used = {a.index for op in operations for a in op.angles if isinstance(a, Parameter)}
    if len(used) < count:
        place = min(set(range(count)) - used)
        raise CircuitError(f"every number of the arguments must turn a gate; number {place} of {count} turns none")
    return Circuit(1 + max((wire for op in operations for wire in op.wires), default=0), tuple(operations))


def _line(slopes: NDArray[np.float64], shift: np.float64) -> Angle:
    if not slopes.any():
        return float(shift)
    index = int(np.abs(slopes).argmax())
    return Parameter(index, float(slopes[index]), float(shift))


def _flat(operations: Sequence[Operation]) -> NDArray[np.float64]:
    return np.array([angle for op in operations for angle in op.angles], dtype=np.float64)


def _alike(operations: list[Operation], like: list[Operation]) -> list[Operation]:
    if [(op.gate, op.wires) for op in operations] != [(op.gate, op.wires) for op in like]:
        raise CircuitError("the gates of a circuit must not depend on the values of its angles; these do")
    return operations


def _numbering(wires: Any) -> dict[Any, int]:
    labels = list(wires)
    if all(isinstance(label, int | np.integer) and label >= 0 for label in labels):
        return {label: int(label) for label in labels}
    return {label: place for place, label in enumerate(labels)}


def _operations(gates: Sequence[Any], numbers: dict[Any, int]) -> Iterator[Operation]:
    for gate in gates:
        wires = tuple(numbers[label] for label in gate.wires)
        where = f"gate {gate.name} on wires {wires}"
        if gate.name in _SILENT:
            continue
        if gate.name in _STATES:
            raise CircuitError(f"{where}: prepares a state; the state before a circuit is the input of a QuantumLayer")
        if gate.name in _READ:
            theirs = [_number(value, where) for value in gate.parameters]
            chosen = _ANGLES.get(gate.name, tuple((place, 1.0) for place in range(len(theirs))))
            angles = tuple(theirs[place] * factor for place, factor in chosen)
            yield Operation(_READ[gate.name], wires, angles[0] if len(angles) == 1 else angles or None)
        elif getattr(gate, "has_decomposition", False):
            yield from _operations(gate.decomposition(), numbers)
        else:
            raise CircuitError(f"{where}: is not known and has no decomposition; a circuit is made of unitary gates")


def _number(value: Any, where: str) -> float:
    if np.ndim(value):
        raise CircuitError(f"{where}: an angle must be one number; got an array of shape {np.shape(value)}")
    return float(value)


def to_pennylane(circuit: Circuit) -> Callable[[Any], None]:
    """A quantum function that queues the circuit's gates, for the inside of a QNode; equal up to a global phase.

    Its argument holds the angles on the last axis; leading axes are broadcast by PennyLane.

    Raises:
        MissingExtraError: PennyLane is not installed.
    """
    qml = _library()

    def program(angles: Any) -> None:
        for operation in circuit.operations:
            queue(qml, operation, angles)

    return program


def queue(qml: Any, operation: Operation, theta: Any) -> None:
    """Queue one gate; theta holds the angles on its last axis, or is None where there are none."""
    values: list[Any] = [
        angle.at(theta[..., angle.index]) if isinstance(angle, Parameter) else angle for angle in operation.angles
    ]
    if operation.gate in _ADJOINT:
        qml.adjoint(getattr(qml, _ADJOINT[operation.gate])(wires=operation.wires))
    elif operation.gate in NAMES:
        getattr(qml, NAMES[operation.gate])(*values, wires=operation.wires)
    elif operation.gate == "rbs":
        qml.SingleExcitation(-2 * values[0], wires=operation.wires)
    else:
        for piece in pieces(operation):
            queue(qml, piece, theta)
