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
    """The place of a trainable angle in the angle vector; several operations may share one."""

    index: int


Angle = float | Parameter | None


@dataclass(frozen=True)
class Operation:
    """One gate on its wires.

    >>> Operation("ry", (0,), Parameter(0)).gate_row.real
    True

    Attributes:
        gate: a name of the gate table.
        wires: qubit numbers, control first.
        angle: radians, a Parameter, or None for a fixed gate.
    """

    gate: str
    wires: tuple[int, ...]
    angle: Angle = None

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
        return frozenset(op.angle.index for op in self.operations if isinstance(op.angle, Parameter))

    @cached_property
    def n_parameters(self) -> int:
        """Number of trainable angles."""
        return max(self._parameter_indices, default=-1) + 1

    @cached_property
    def is_real(self) -> bool:
        """Whether every gate matrix is real, so that real states stay real."""
        return all(operation.gate_row.real for operation in self.operations)

    def unshared(self) -> tuple["Circuit", tuple[int, ...]]:
        """The same circuit with one parameter per occurrence, and the old index of each new parameter.

        >>> twice = Circuit(1, (Operation("rx", (0,), Parameter(0)), Operation("ry", (0,), Parameter(0))))
        >>> twice.unshared()[1]
        (0, 0)
        """
        origin: list[int] = []
        operations: list[Operation] = []
        for operation in self.operations:
            if isinstance(operation.angle, Parameter):
                origin.append(operation.angle.index)
                operation = replace(operation, angle=Parameter(len(origin) - 1))
            operations.append(operation)
        if tuple(origin) == tuple(range(self.n_parameters)):
            return self, tuple(origin)
        return Circuit(self.n_qubits, tuple(operations)), tuple(origin)


def _with_parameter_offset(operation: Operation, offset: int) -> Operation:
    if isinstance(operation.angle, Parameter):
        return replace(operation, angle=Parameter(operation.angle.index + offset))
    return operation


def _check_operation(operation: Operation, position: int, n_qubits: int) -> None:
    where = f"operation {position} ({operation.gate} on wires {operation.wires})"
    gate, wires = gate_named(operation.gate), operation.wires
    if len(wires) != gate.n_qubits:
        raise CircuitError(f"{where}: {gate.name} acts on {gate.n_qubits} wire(s); got {len(wires)}")
    if len(set(wires)) != len(wires):
        raise CircuitError(f"{where}: the wires of one gate must differ")
    if not all(0 <= wire < n_qubits for wire in wires):
        raise CircuitError(f"{where}: wires must lie in 0..{n_qubits - 1} for {n_qubits} qubit(s)")
    if gate.n_angles == 0 and operation.angle is not None:
        raise CircuitError(f"{where}: {gate.name} takes no angle; got {operation.angle}")
    if gate.n_angles == 1 and operation.angle is None:
        raise CircuitError(f"{where}: {gate.name} needs an angle in radians or a Parameter; got None")
    if isinstance(operation.angle, Parameter):
        if operation.angle.index < 0:
            raise CircuitError(f"{where}: a parameter index must be 0 or more; got {operation.angle.index}")
    elif operation.angle is not None and not isfinite(operation.angle):
        raise CircuitError(f"{where}: an angle must be finite; got {operation.angle}")


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
