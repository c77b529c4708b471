"""OpenQASM 3 text of a circuit, for other toolchains."""

from collections.abc import Sequence

from qpeft.circuits.circuit import Circuit, Operation, Parameter, require_angles


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
        circuit: any circuit; every gate name is one of ``stdgates.inc``.
        angles: one value per parameter, in radians; None leaves them as inputs ``theta_0``, ``theta_1``, ...
        measure: whether to end with a measurement of all wires into the bits ``c``.

    Returns:
        The program, with no newline at the end.

    Raises:
        CircuitError: the number of angles is not the number of parameters.
    """
    values = require_angles(circuit, angles)
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";']
    if values is None:
        lines += [f"input float[64] theta_{index};" for index in range(circuit.n_parameters)]
    lines.append(f"qubit[{circuit.n_qubits}] q;")
    if measure:
        lines.append(f"bit[{circuit.n_qubits}] c;")
    lines += [_statement(operation, values) for operation in circuit.operations]
    if measure:
        lines.append("c = measure q;")
    return "\n".join(lines)


def _statement(operation: Operation, values: tuple[float, ...] | None) -> str:
    wires = ", ".join(f"q[{wire}]" for wire in operation.wires)
    if operation.angle is None:
        return f"{operation.gate} {wires};"
    if not isinstance(operation.angle, Parameter):
        text = repr(float(operation.angle))
    elif values is None:
        text = f"theta_{operation.angle.index}"
    else:
        text = repr(values[operation.angle.index])
    return f"{operation.gate}({text}) {wires};"
