"""The gate table: every gate qpeft knows, as plain data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qpeft.errors import CircuitError, nearest

Matrix = NDArray[np.complex128]


@dataclass(frozen=True)
class Gate:
    """One row of the gate table.

    >>> GATES["ry"].matrix(np.pi).real.round(3) + 0.0
    array([[ 0., -1.],
           [ 1.,  0.]])

    Attributes:
        name: the name used in circuits, which is also the OpenQASM 3 name in ``stdgates.inc``.
        n_qubits: 1 or 2; the first wire is the more significant bit of the matrix index (the control).
        real: whether the matrix is real, so that real states stay real.
        label: what a drawing shows on the target; a controlled gate's control is drawn as a dot.
        frequencies: positive frequencies of a measured value in the angle; empty for a fixed gate.
        build: the matrix for one angle in radians; a fixed gate ignores the angle.
        help: one line on what it does.
    """

    name: str
    n_qubits: int
    real: bool
    label: str
    frequencies: tuple[float, ...]
    build: Callable[[float], Matrix]
    help: str

    @property
    def n_angles(self) -> int:
        """1 for a rotation, 0 for a fixed gate."""
        return 1 if self.frequencies else 0

    @property
    def controlled(self) -> bool:
        """Whether the first wire is a control."""
        return self.name.startswith("c")

    def matrix(self, angle: float | None = None) -> Matrix:
        """The unitary for this angle, shape ``(2**n_qubits, 2**n_qubits)``.

        Raises:
            CircuitError: a rotation came without an angle.
        """
        if self.n_angles and angle is None:
            raise CircuitError(f"gate {self.name} needs an angle in radians for its matrix; got None")
        return self.build(0.0 if angle is None else angle)


def _rotation(generator: Matrix) -> Callable[[float], Matrix]:
    """exp(-i angle/2 generator) for a generator that squares to one."""
    identity = np.eye(2)
    return lambda angle: np.cos(angle / 2) * identity - 1j * np.sin(angle / 2) * generator


def _controlled(build: Callable[[float], Matrix]) -> Callable[[float], Matrix]:
    def matrix(angle: float) -> Matrix:
        result = np.eye(4, dtype=np.complex128)
        result[2:, 2:] = build(angle)
        return result

    return matrix


def _fixed(matrix: Matrix) -> Callable[[float], Matrix]:
    return lambda angle: matrix.copy()


_X: Matrix = np.array([[0, 1], [1, 0]], dtype=np.complex128)
_Y: Matrix = np.array([[0, -1j], [1j, 0]], dtype=np.complex128)
_Z: Matrix = np.diag([1, -1]).astype(np.complex128)
_H: Matrix = (_X + _Z) / np.sqrt(2)
_SX: Matrix = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]], dtype=np.complex128) / 2
_SWAP: Matrix = np.eye(4, dtype=np.complex128)[[0, 2, 1, 3]]
_ONE, _HALF = (1.0,), (0.5, 1.0)


def _phase(angle: float) -> Callable[[float], Matrix]:
    return _fixed(np.diag([1, np.exp(1j * angle)]))


_ROWS = (
    Gate("rx", 1, False, "RX", _ONE, _rotation(_X), "rotation about X: exp(-i angle X/2)"),
    Gate("ry", 1, True, "RY", _ONE, _rotation(_Y), "rotation about Y: exp(-i angle Y/2)"),
    Gate("rz", 1, False, "RZ", _ONE, _rotation(_Z), "rotation about Z: exp(-i angle Z/2)"),
    Gate("x", 1, True, "X", (), _fixed(_X), "bit flip"),
    Gate("y", 1, False, "Y", (), _fixed(_Y), "bit and phase flip"),
    Gate("z", 1, True, "Z", (), _fixed(_Z), "phase flip"),
    Gate("h", 1, True, "H", (), _fixed(_H), "Hadamard: even superposition"),
    Gate("s", 1, False, "S", (), _phase(np.pi / 2), "quarter turn about Z"),
    Gate("sdg", 1, False, "S†", (), _phase(-np.pi / 2), "inverse of s"),
    Gate("t", 1, False, "T", (), _phase(np.pi / 4), "eighth turn about Z"),
    Gate("sx", 1, False, "√X", (), _fixed(_SX), "square root of x, native on IBM devices"),
    Gate("cx", 2, True, "⊕", (), _controlled(_fixed(_X)), "CNOT: x on the second wire if the first is 1"),
    Gate("cy", 2, False, "Y", (), _controlled(_fixed(_Y)), "y on the second wire if the first is 1"),
    Gate("cz", 2, True, "●", (), _controlled(_fixed(_Z)), "sign flip where both wires are 1"),
    Gate("swap", 2, True, "✕", (), _fixed(_SWAP), "exchange of two wires"),
    Gate("crx", 2, False, "RX", _HALF, _controlled(_rotation(_X)), "rx on the second wire if the first is 1"),
    Gate("cry", 2, True, "RY", _HALF, _controlled(_rotation(_Y)), "ry on the second wire if the first is 1"),
    Gate("crz", 2, False, "RZ", _HALF, _controlled(_rotation(_Z)), "rz on the second wire if the first is 1"),
)

GATES: dict[str, Gate] = {gate.name: gate for gate in _ROWS}


def gate_named(name: str) -> Gate:
    """The table row of this name.

    >>> gate_named("cx").help
    'CNOT: x on the second wire if the first is 1'

    Raises:
        CircuitError: no gate has this name; the nearest one is suggested.
    """
    if name not in GATES:
        raise CircuitError(f"gate must be one of {', '.join(GATES)}; got {name!r}{nearest(name, GATES)}")
    return GATES[name]
