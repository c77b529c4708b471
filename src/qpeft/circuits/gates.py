"""The gate table: every gate qpeft knows, as plain data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qpeft.errors import CircuitError, nearest

Matrix = NDArray[np.complex128]
Build = Callable[..., Matrix]
# Of a gate written in others: its name, the positions of its wires among those of the whole, and its angle: none, a
# fixed one, or (which angle of the whole, factor).
Piece = tuple[str, tuple[int, ...], float | tuple[int, float] | None]


@dataclass(frozen=True)
class Gate:
    """One row of the gate table.

    >>> GATES["ry"].matrix(np.pi).real.round(3) + 0.0
    array([[ 0., -1.],
           [ 1.,  0.]])

    Attributes:
        name: the name used in circuits, which is also the OpenQASM 3 name in ``stdgates.inc``.
        n_qubits: 1, 2 or 3; the first wire is the most significant bit of the matrix index (the control).
        real: whether the matrix is real, so that real states stay real.
        label: what a drawing shows on the target; a controlled gate's control is drawn as a dot.
        frequencies: positive frequencies of a measured value in an angle; empty for a fixed gate.
        build: the matrix for the angles in radians.
        help: one line on what it does.
        pieces: the same, up to a global phase, in gates that the simulators and devices know, in the order they act;
            empty for a gate that they know themselves.
        angles: how many angles a gate that is not fixed takes.
    """

    name: str
    n_qubits: int
    real: bool
    label: str
    frequencies: tuple[float, ...]
    build: Build
    help: str
    pieces: tuple[Piece, ...] = ()
    angles: int = 1

    @property
    def n_angles(self) -> int:
        """0 for a fixed gate."""
        return self.angles if self.frequencies else 0

    @property
    def n_controls(self) -> int:
        """How many of the first wires are controls: a c of the name is one."""
        return len(self.name) - len(self.name.lstrip("c"))

    @property
    def controlled(self) -> bool:
        """Whether the first wire is a control."""
        return self.n_controls > 0

    def matrix(self, *angles: float | None) -> Matrix:
        """The unitary for these angles, shape ``(2**n_qubits, 2**n_qubits)``.

        Raises:
            CircuitError: an angle is missing.
        """
        given = [angle for angle in angles if angle is not None]
        if len(given) < self.n_angles:
            needed = "an angle" if self.n_angles == 1 else f"{self.n_angles} angles"
            raise CircuitError(f"gate {self.name} needs {needed} in radians for its matrix; got {angles or None}")
        return self.build(*given[: self.n_angles])


def _rotation(generator: NDArray[np.complexfloating]) -> Build:
    """exp(-i angle/2 generator) for a generator that squares to one."""
    identity = np.eye(len(generator))
    return lambda angle: np.cos(angle / 2) * identity - 1j * np.sin(angle / 2) * generator


def _controlled(build: Build) -> Build:
    def matrix(*angles: float) -> Matrix:
        inner = build(*angles)
        result = np.eye(2 * len(inner), dtype=np.complex128)
        result[len(inner) :, len(inner) :] = inner
        return result

    return matrix


def _fixed(matrix: Matrix) -> Build:
    return lambda: matrix.copy()


_X: Matrix = np.array([[0, 1], [1, 0]], dtype=np.complex128)
_Y: Matrix = np.array([[0, -1j], [1j, 0]], dtype=np.complex128)
_Z: Matrix = np.diag([1, -1]).astype(np.complex128)
_H: Matrix = (_X + _Z) / np.sqrt(2)
_SX: Matrix = np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]], dtype=np.complex128) / 2
_SWAP: Matrix = np.eye(4, dtype=np.complex128)[[0, 2, 1, 3]]
_ISWAP: Matrix = np.diag([1, 1j, 1j, 1])[[0, 2, 1, 3]]
_ONE, _HALF = (1.0,), (0.5, 1.0)


def _shifted(angle: float) -> Matrix:
    return np.array([[1, 0], [0, np.exp(1j * angle)]], dtype=np.complex128)


def _phase(angle: float) -> Build:
    return _fixed(_shifted(angle))


def _any(theta: float, phi: float, lam: float) -> Matrix:
    turn, flip = np.cos(theta / 2), np.sin(theta / 2)
    rows = [[turn, -np.exp(1j * lam) * flip], [np.exp(1j * phi) * flip, np.exp(1j * (phi + lam)) * turn]]
    return np.array(rows, dtype=np.complex128)


def _any_with_phase(theta: float, phi: float, lam: float, gamma: float) -> Matrix:
    matrix: Matrix = np.exp(1j * gamma) * _any(theta, phi, lam)
    return matrix


def _beam_splitter(angle: float) -> Matrix:
    matrix = np.eye(4, dtype=np.complex128)
    matrix[1:3, 1:3] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return matrix


def _two(first: str, second: str, *between: Piece) -> tuple[Piece, ...]:
    """Turn about Z of the second wire between two cx, in other axes."""
    there, back = {"x": (("h", None), ("h", None)), "y": (("rx", np.pi / 2), ("rx", -np.pi / 2))}, 1
    axes = [(wire, there[axis]) for wire, axis in enumerate((first, second)) if axis in there]
    before: list[Piece] = [(pair[0][0], (wire,), pair[0][1]) for wire, pair in axes]
    after: list[Piece] = [(pair[back][0], (wire,), pair[back][1]) for wire, pair in axes]
    return (*before, ("cx", (0, 1), None), ("rz", (1,), (0, 1.0)), ("cx", (0, 1), None), *after)


_CCX: tuple[Piece, ...] = (
    *(("h", (2,), None), ("cx", (1, 2), None), ("tdg", (2,), None), ("cx", (0, 2), None), ("t", (2,), None)),
    *(("cx", (1, 2), None), ("tdg", (2,), None), ("cx", (0, 2), None), ("t", (1,), None), ("t", (2,), None)),
    *(("h", (2,), None), ("cx", (0, 1), None), ("t", (0,), None), ("tdg", (1,), None), ("cx", (0, 1), None)),
)
_ISWAP_PIECES: tuple[Piece, ...] = (
    *(("s", (0,), None), ("s", (1,), None), ("h", (0,), None)),
    *(("cx", (0, 1), None), ("cx", (1, 0), None), ("h", (1,), None)),
)
_CU: tuple[Piece, ...] = (
    *(("rz", (0,), (3, 1.0)), ("rz", (0,), (1, 0.5)), ("rz", (0,), (2, 0.5))),
    *(("rz", (1,), (2, 0.5)), ("rz", (1,), (1, -0.5)), ("cx", (0, 1), None)),
    *(("rz", (1,), (1, -0.5)), ("rz", (1,), (2, -0.5)), ("ry", (1,), (0, -0.5)), ("cx", (0, 1), None)),
    *(("ry", (1,), (0, 0.5)), ("rz", (1,), (1, 1.0))),
)


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
    Gate("tdg", 1, False, "T†", (), _phase(-np.pi / 4), "inverse of t"),
    Gate("sx", 1, False, "√X", (), _fixed(_SX), "square root of x, native on IBM devices"),
    Gate("sxdg", 1, False, "√X†", (), _fixed(_SX.conj().T), "inverse of sx", (("rx", (0,), -np.pi / 2),)),
    Gate("cx", 2, True, "⊕", (), _controlled(_fixed(_X)), "CNOT: x on the second wire if the first is 1"),
    Gate("cy", 2, False, "Y", (), _controlled(_fixed(_Y)), "y on the second wire if the first is 1"),
    Gate("cz", 2, True, "●", (), _controlled(_fixed(_Z)), "sign flip where both wires are 1"),
    Gate("swap", 2, True, "✕", (), _fixed(_SWAP), "exchange of two wires"),
    Gate("crx", 2, False, "RX", _HALF, _controlled(_rotation(_X)), "rx on the second wire if the first is 1"),
    Gate("cry", 2, True, "RY", _HALF, _controlled(_rotation(_Y)), "ry on the second wire if the first is 1"),
    Gate("crz", 2, False, "RZ", _HALF, _controlled(_rotation(_Z)), "rz on the second wire if the first is 1"),
    Gate("p", 1, False, "P", _ONE, _shifted, "phase of |1>: diag(1, exp(i angle))", (("rz", (0,), (0, 1.0)),)),
    Gate(
        "u",
        1,
        False,
        "U",
        _ONE,
        _any,
        "any gate on one qubit, by Euler angles theta, phi, lambda",
        (("rz", (0,), (2, 1.0)), ("ry", (0,), (0, 1.0)), ("rz", (0,), (1, 1.0))),
        angles=3,
    ),
    Gate("rxx", 2, False, "RXX", _ONE, _rotation(np.kron(_X, _X)), "exp(-i angle XX/2)", _two("x", "x")),
    Gate("ryy", 2, False, "RYY", _ONE, _rotation(np.kron(_Y, _Y)), "exp(-i angle YY/2)", _two("y", "y")),
    Gate("rzz", 2, False, "RZZ", _ONE, _rotation(np.kron(_Z, _Z)), "exp(-i angle ZZ/2)", _two("z", "z")),
    Gate("rzx", 2, False, "RZX", _ONE, _rotation(np.kron(_Z, _X)), "exp(-i angle ZX/2)", _two("z", "x")),
    Gate(
        "rbs",
        2,
        True,
        "RBS",
        (1.0, 2.0),
        _beam_splitter,
        "Givens rotation of |01> and |10>, by twice cry's angle",
        (("cx", (1, 0), None), ("cry", (0, 1), (0, 2.0)), ("cx", (1, 0), None)),
    ),
    Gate("iswap", 2, False, "iSW", (), _fixed(_ISWAP), "exchange of two wires with a phase i", _ISWAP_PIECES),
    Gate(
        "cp",
        2,
        False,
        "P",
        _ONE,
        _controlled(_shifted),
        "p on the second wire if the first is 1",
        (("crz", (0, 1), (0, 1.0)), ("rz", (0,), (0, 0.5))),
    ),
    Gate(
        "ch",
        2,
        True,
        "H",
        (),
        _controlled(_fixed(_H)),
        "h on the second wire if the first is 1",
        (("ry", (1,), -np.pi / 4), ("cz", (0, 1), None), ("ry", (1,), np.pi / 4)),
    ),
    Gate(
        "cs",
        2,
        False,
        "S",
        (),
        _controlled(_phase(np.pi / 2)),
        "s on the second wire if the first is 1",
        (("crz", (0, 1), np.pi / 2), ("rz", (0,), np.pi / 4)),
    ),
    Gate(
        "csx",
        2,
        False,
        "√X",
        (),
        _controlled(_fixed(_SX)),
        "sx on the second wire if the first is 1",
        (("crx", (0, 1), np.pi / 2), ("rz", (0,), np.pi / 4)),
    ),
    Gate(
        "cu",
        2,
        False,
        "U",
        _HALF,
        _controlled(_any_with_phase),
        "u, times exp(i gamma), if the first is 1",
        _CU,
        angles=4,
    ),
    Gate("ccx", 3, True, "⊕", (), _controlled(_controlled(_fixed(_X))), "Toffoli: x if both controls are 1", _CCX),
    Gate(
        "ccz",
        3,
        True,
        "●",
        (),
        _controlled(_controlled(_fixed(_Z))),
        "sign flip where all three wires are 1",
        (("h", (2,), None), ("ccx", (0, 1, 2), None), ("h", (2,), None)),
    ),
    Gate(
        "cswap",
        3,
        True,
        "✕",
        (),
        _controlled(_fixed(_SWAP)),
        "Fredkin: exchange of two wires if the first is 1",
        (("cx", (2, 1), None), ("ccx", (0, 1, 2), None), ("cx", (2, 1), None)),
    ),
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
