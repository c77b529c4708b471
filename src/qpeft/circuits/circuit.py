"""Circuits as immutable, hashable data: operations on numbered wires, with fixed angles or parameters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import Any

from qpeft.circuits.gates import Gate, gate_named
from qpeft.errors import CircuitError


@dataclass(frozen=True, order=True)
class Parameter:
    """A trainable angle: ``scale * theta[index] + shift``; several operations may share an index.

    Attributes:
        index: place in the vector of angles theta.
        scale: factor, finite and not 0.
        shift: radians.
    """

    index: int
    scale: float = 1.0
    shift: float = 0.0

    def of(self, theta: Sequence[float]) -> float:
        """Its value in radians where the vector of angles is theta."""
        return self.scale * theta[self.index] + self.shift

    def at(self, value: Any) -> Any:
        """Its angle where theta[index] is this value: a number, or what another library calculates with."""
        return value if (self.scale, self.shift) == (1, 0) else self.scale * value + self.shift

    def __mul__(self, factor: float) -> "Parameter":
        """A multiple of it."""
        return replace(self, scale=factor * self.scale, shift=factor * self.shift)


Angle = float | Parameter | None


@dataclass(frozen=True)
class Operation:
    """One gate on its wires.

    >>> Operation("ry", (0,), Parameter(0)).gate_row.real
    True

    Attributes:
        gate: a name of the gate table.
        wires: qubit numbers, control first.
        angle: radians, a Parameter, a tuple of these for a gate with several, or None for a fixed gate.
    """

    gate: str
    wires: tuple[int, ...]
    angle: Angle | tuple[Angle, ...] = None

    @property
    def angles(self) -> tuple[Angle, ...]:
        """One entry an angle; none for a fixed gate."""
        if isinstance(self.angle, tuple):
            return self.angle
        return () if self.angle is None else (self.angle,)

    @property
    def turn(self) -> Angle:
        """The angle of a gate that takes one at most."""
        return self.angles[0] if self.angles else None

    def turned(self, angles: Sequence[Angle]) -> "Operation":
        """The same gate on the same wires with other angles."""
        return replace(self, angle=tuple(angles) if isinstance(self.angle, tuple) else angles[0] if angles else None)

    @property
    def gate_row(self) -> Gate:
        """The row of the gate table."""
        return gate_named(self.gate)


@dataclass(frozen=True)
class Circuit:
    """A checked sequence of operations; qubit 0 is the most significant bit of a basis index.

    Circuits are values: equal ones hash alike, so compiled forms can be cached on them.

    >>> bell = Circuit(2, (Operation("h", (0,)), Operation("cx", (0, 1))))
    >>> bell.n_parameters, bell.is_real, len(bell + bell)
    (0, True, 4)

    Args:
        n_qubits: 1 or more.
        operations: in the order they act.

    Raises:
        CircuitError: an operation does not fit its gate or the register, or parameter indices have a gap.
    """

    n_qubits: int
    operations: tuple[Operation, ...] = ()

    def __post_init__(self) -> None:
        if self.n_qubits < 1:
            raise CircuitError(f"a circuit needs 1 qubit or more; got n_qubits={self.n_qubits}")
        object.__setattr__(self, "operations", tuple(self.operations))
        for position, operation in enumerate(self.operations):
            _check_operation(operation, position, self.n_qubits)
        missing = set(range(self.n_parameters)) - self._parameter_indices
        if missing:
            raise CircuitError(
                f"parameter indices must run from 0 without a gap; missing {sorted(missing)} "
                f"below the largest, {self.n_parameters - 1}; renumber them"
            )

    def __hash__(self) -> int:
        return self._hash

    def __len__(self) -> int:
        return len(self.operations)

    def __reduce__(self) -> tuple[Any, ...]:
        # String hashes differ between processes, so the stored hash must not travel in a pickle.
        return (Circuit, (self.n_qubits, self.operations))

    def __add__(self, other: "Circuit") -> "Circuit":
        """This circuit, then the other; the other's parameters come after this one's."""
        if self.n_qubits != other.n_qubits:
            raise CircuitError(
                f"circuits joined by + need equal qubit counts; got {self.n_qubits} and {other.n_qubits}"
            )
        moved = (_with_parameter_offset(operation, self.n_parameters) for operation in other.operations)
        return Circuit(self.n_qubits, (*self.operations, *moved))

    @cached_property
    def _hash(self) -> int:
        # Hashing hundreds of operations on every cache look-up would cost more than a small simulation.
        return hash((self.n_qubits, self.operations))

    @cached_property
    def _parameter_indices(self) -> frozenset[int]:
        return frozenset(a.index for op in self.operations for a in op.angles if isinstance(a, Parameter))

    @cached_property
    def n_parameters(self) -> int:
        """Number of trainable angles."""
        return max(self._parameter_indices, default=-1) + 1

    @cached_property
    def is_real(self) -> bool:
        """Whether every gate matrix is real, so that real states stay real."""
        return all(operation.gate_row.real for operation in self.operations)

    @classmethod
    def from_qasm3(cls, text: str) -> "Circuit":
        """See `qpeft.circuits.from_qasm3`."""
        from qpeft.circuits.qasm_reader import from_qasm3

        return from_qasm3(text)

    def to_qasm3(self, angles: Sequence[float] | None = None, *, measure: bool = False) -> str:
        """See `qpeft.circuits.to_qasm3`."""
        from qpeft.circuits.qasm import to_qasm3

        return to_qasm3(self, angles, measure=measure)

    @classmethod
    def from_qiskit(cls, program: Any) -> "Circuit":
        """See `qpeft.circuits.from_qiskit`."""
        from qpeft.circuits.qiskit_circuits import from_qiskit

        return from_qiskit(program)

    def to_qiskit(self) -> Any:
        """See `qpeft.circuits.to_qiskit`."""
        from qpeft.circuits.qiskit_circuits import to_qiskit

        return to_qiskit(self)

    @classmethod
    def from_pennylane(cls, source: Any, *arguments: Any, **constants: Any) -> "Circuit":
        """See `qpeft.circuits.from_pennylane`."""
        from qpeft.circuits.pennylane_circuits import from_pennylane

        return from_pennylane(source, *arguments, **constants)

    def to_pennylane(self) -> Any:
        """See `qpeft.circuits.to_pennylane`."""
        from qpeft.circuits.pennylane_circuits import to_pennylane

        return to_pennylane(self)

    def unshared(self) -> tuple["Circuit", tuple[int, ...]]:
        """The same circuit with one parameter per occurrence, and the old index of each new parameter.

        >>> twice = Circuit(1, (Operation("rx", (0,), Parameter(0)), Operation("ry", (0,), Parameter(0))))
        >>> twice.unshared()[1]
        (0, 0)
        """
        origin: list[int] = []
        operations: list[Operation] = []
        for operation in self.operations:
            angles = list(operation.angles)
            for place, angle in enumerate(angles):
                if isinstance(angle, Parameter):
                    origin.append(angle.index)
                    angles[place] = replace(angle, index=len(origin) - 1)
            operations.append(operation.turned(angles))
        if tuple(origin) == tuple(range(self.n_parameters)):
            return self, tuple(origin)
        return Circuit(self.n_qubits, tuple(operations)), tuple(origin)


def _with_parameter_offset(operation: Operation, offset: int) -> Operation:
    moved = [replace(a, index=a.index + offset) if isinstance(a, Parameter) else a for a in operation.angles]
    return operation.turned(moved)


def _check_operation(operation: Operation, position: int, n_qubits: int) -> None:
    where = f"operation {position} ({operation.gate} on wires {operation.wires})"
    gate, wires = gate_named(operation.gate), operation.wires
    if len(wires) != gate.n_qubits:
        raise CircuitError(f"{where}: {gate.name} acts on {gate.n_qubits} wire(s); got {len(wires)}")
    if len(set(wires)) != len(wires):
        raise CircuitError(f"{where}: the wires of one gate must differ")
    if not all(0 <= wire < n_qubits for wire in wires):
        raise CircuitError(f"{where}: wires must lie in 0..{n_qubits - 1} for {n_qubits} qubit(s)")
    angles = operation.angles
    if gate.n_angles == 0 and angles:
        raise CircuitError(f"{where}: {gate.name} takes no angle; got {operation.angle}")
    if len(angles) != gate.n_angles or None in angles:
        needed = "an angle" if gate.n_angles == 1 else f"a tuple of {gate.n_angles} angles"
        raise CircuitError(f"{where}: {gate.name} needs {needed} in radians or as Parameters; got {operation.angle}")
    for angle in angles:
        _check_angle(angle, where)


def _check_angle(angle: Angle, where: str) -> None:
    if isinstance(angle, Parameter):
        if angle.index < 0:
            raise CircuitError(f"{where}: a parameter index must be 0 or more; got {angle.index}")
        if not (isfinite(angle.scale) and isfinite(angle.shift)) or angle.scale == 0:
            raise CircuitError(f"{where}: a parameter's scale and shift must be finite, the scale not 0; got {angle}")
    elif angle is not None and not isfinite(angle):
        raise CircuitError(f"{where}: an angle must be finite; got {angle}")


def on_wires(gate: str, wires: Iterable[tuple[int, ...]]) -> tuple[Operation, ...]:
    """One fixed gate on each of these wire tuples.

    >>> [operation.wires for operation in on_wires("cx", [(0, 1), (1, 2)])]
    [(0, 1), (1, 2)]
    """
    return tuple(Operation(gate, wire_tuple) for wire_tuple in wires)


def require_angles(circuit: Circuit, angles: Sequence[float] | None) -> tuple[float, ...] | None:
    """The angles as floats, once their number has been checked; None stays None.

    Raises:
        CircuitError: the number of angles is not the number of parameters.
    """
    if angles is None:
        return None
    if len(angles) != circuit.n_parameters:
        raise CircuitError(f"the circuit has {circuit.n_parameters} parameter(s); got {len(angles)} angle(s)")
    return tuple(float(angle) for angle in angles)
