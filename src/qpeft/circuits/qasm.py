"""OpenQASM 3 text of a circuit, for other toolchains and for records."""

from collections.abc import Sequence
from math import isfinite

from qpeft.circuits.circuit import Angle, Circuit, Operation, Parameter, require_angles
from qpeft.circuits.gates import GATES, Gate
from qpeft.errors import CircuitError

# Names of stdgates.inc; the rest is defined in the text.
_STANDARD = {
    *("p", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "rx", "ry", "rz", "swap"),
    *("cx", "cy", "cz", "cp", "crx", "cry", "crz", "ch", "cu", "ccx", "cswap"),
}
_BUILT_IN = {"u": "U"}


def to_qasm3(circuit: Circuit, angles: Sequence[float] | None = None, *, measure: bool = False) -> str:
    """Write a circuit as an OpenQASM 3 program.

    Wire i is ``q[i]``. Qiskit reads basis indices with q[0] as the *least* significant bit, so its
    probabilities equal ours with the N bits of every index reversed.

    >>> from qpeft.circuits.ansatz import build_ansatz
    >>> print(to_qasm3(build_ansatz("ry_cnot", 2, 1)))
    OPENQASM 3.0;
    include "stdgates.inc";
    input float[64] theta_0;
    input float[64] theta_1;
    qubit[2] q;
    ry(theta_0) q[0];
    ry(theta_1) q[1];
    cx q[0], q[1];

    Args:
        circuit: any circuit; gates that are not in ``stdgates.inc`` are defined in the text, up to a global phase.
        angles: one value per parameter, in radians; None leaves them as inputs ``theta_0``, ``theta_1``, ...
        measure: whether to end with a measurement of all wires into the bits ``c``.

    Returns:
        The program, with no newline at the end.

    Raises:
        CircuitError: the number of angles is not the number of parameters, or one is not finite.
    """
    values = require_angles(circuit, angles)
    if values is not None and not all(map(isfinite, values)):
        raise CircuitError(f"angles must be finite numbers; got {next(v for v in values if not isfinite(v))}")
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', *_definitions(circuit)]
    if values is None:
        lines += [f"input float[64] theta_{index};" for index in range(circuit.n_parameters)]
    lines.append(f"qubit[{circuit.n_qubits}] q;")
    if measure:
        lines.append(f"bit[{circuit.n_qubits}] c;")
    lines += [_statement(operation, values) for operation in circuit.operations]
    if measure:
        lines.append("c = measure q;")
    return "\n".join(lines)


def _definitions(circuit: Circuit) -> list[str]:
    """Definitions of the gates that are neither built in nor standard, each after those it is made of."""
    made: dict[str, str] = {}

    def define(name: str) -> None:
        if name in made or name in _STANDARD or name in _BUILT_IN:
            return
        for piece, _, _ in GATES[name].pieces:
            define(piece)
        made[name] = _definition(GATES[name])

    for operation in circuit.operations:
        define(operation.gate)
    return list(made.values())


def _definition(gate: Gate) -> str:
    angles = [f"a{place}" for place in range(gate.n_angles)]
    head = f"gate {gate.name}{'(' + ', '.join(angles) + ')' if angles else ''}"
    body = []
    for name, positions, turn in gate.pieces:
        text = "" if turn is None else f"({turn!r})"
        if isinstance(turn, tuple):
            text = f"({angles[turn[0]] if turn[1] == 1 else f'{turn[1]!r} * {angles[turn[0]]}'})"
        call = _BUILT_IN.get(name, name) + text
        body.append(f"{call} {', '.join(f'w{position}' for position in positions)};")
    return f"{head} {', '.join(f'w{wire}' for wire in range(gate.n_qubits))} {{ {' '.join(body)} }}"


def _statement(operation: Operation, values: tuple[float, ...] | None) -> str:
    wires = ", ".join(f"q[{wire}]" for wire in operation.wires)
    angles = ", ".join(_written(angle, values) for angle in operation.angles)
    return f"{_BUILT_IN.get(operation.gate, operation.gate)}{f'({angles})' if angles else ''} {wires};"


def _written(angle: Angle, values: tuple[float, ...] | None) -> str:
    if not isinstance(angle, Parameter):
        return repr(float(angle or 0.0))
    if values is not None:
        return repr(angle.of(values))
    text = f"theta_{angle.index}"
    if angle.scale != 1:
        text = f"{float(angle.scale)!r} * {text}"
    return f"{text} + {float(angle.shift)!r}" if angle.shift else text
