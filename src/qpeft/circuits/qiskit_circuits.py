"""Circuits from and to Qiskit: wire i is qubit i, which Qiskit counts from the least significant bit."""

import math
from collections.abc import Iterator
from typing import Any

from qpeft.circuits.circuit import Angle, Circuit, Operation, Parameter
from qpeft.circuits.gates import GATES
from qpeft.circuits.lowering import pieces
from qpeft.circuits.qasm_reader import ALIASES
from qpeft.errors import CircuitError, import_extra

_SILENT = ("barrier", "id", "global_phase", "delay")
_STANDARD = "qiskit.circuit.library.standard_gates"
# Where an angle is looked at to see whether it is a straight line in its parameter.
_PROBES = (0.731, -1.37, 2.9)


def _library() -> Any:
    return import_extra("qiskit.circuit", "this needs Qiskit", "Install it: pip install 'qpeft[qiskit]'")


def from_qiskit(program: Any) -> Circuit:
    """The circuit of a QuantumCircuit.

    Its parameters become angles 0, 1, 2, ... in the order of ``program.parameters``: by name, the elements of a
    ParameterVector by index. An angle may be any expression ``a * parameter + b``. Gates that are not of the table are
    replaced by their definitions. Barriers, the global phase and measurements at the end are left out.

    Args:
        program: a QuantumCircuit without control flow, resets, or gates after a measurement.

    Raises:
        CircuitError: names gate and wires.
        MissingExtraError: Qiskit is not installed.
    """
    _library()
    index = {parameter: place for place, parameter in enumerate(program.parameters)}
    operations = tuple(_operations(program, tuple(range(program.num_qubits)), index, set()))
    return Circuit(program.num_qubits, operations)


def _operations(
    program: Any, wires: tuple[int, ...], index: dict[Any, int], measured: set[int]
) -> Iterator[Operation]:
    for item in program.data:
        gate, own = item.operation, tuple(wires[program.find_bit(qubit).index] for qubit in item.qubits)
        where = f"gate {gate.name} on wires {own}"
        if gate.name in _SILENT:
            continue
        if gate.name == "measure":
            measured |= set(own)
            continue
        if measured & set(own):
            raise CircuitError(f"{where}: comes after a measurement of that wire; measurements must stand at the end")
        name = ALIASES.get(gate.name, gate.name)
        if name in GATES and str(getattr(gate, "base_class", type(gate)).__module__).startswith(_STANDARD):
            angles = tuple(_angle(value, index, where) for value in gate.params)
            yield Operation(name, own, angles[0] if len(angles) == 1 else angles or None)
            continue
        definition = getattr(gate, "definition", None)
        if definition is None:
            raise CircuitError(
                f"{where}: is no gate of {', '.join(GATES)} and has no definition in others; a circuit here is a "
                f"fixed sequence of unitary gates"
            )
        yield from _operations(definition, own, index, measured)


def _angle(value: Any, index: dict[Any, int], where: str) -> Angle:
    parameters = list(getattr(value, "parameters", ()))
    if not parameters:
        return float(value)
    needed = f"{where}: an angle must have the form a * parameter + b; got {value}"
    if len(parameters) > 1:
        raise CircuitError(f"{needed}, which depends on {len(parameters)} parameters")
    (parameter,) = parameters
    try:
        at = {x: float(value.assign(parameter, x)) for x in (0.0, 1.0, *_PROBES)}
    except (TypeError, ValueError) as error:
        raise CircuitError(f"{needed}, which is no real number everywhere") from error
    shift, scale = at[0.0], at[1.0] - at[0.0]
    if not all(math.isclose(at[x], shift + scale * x, rel_tol=1e-9, abs_tol=1e-9) for x in _PROBES):
        raise CircuitError(f"{needed}, which is no straight line")
    return Parameter(index[parameter], scale, shift) if scale else shift


def to_qiskit(circuit: Circuit) -> Any:
    """A QuantumCircuit with the parameters ``theta[i]``, equal up to a global phase.

    Args:
        circuit: any circuit; wire i becomes qubit i.

    Raises:
        MissingExtraError: Qiskit is not installed.
    """
    library = _library()
    program = library.QuantumCircuit(library.QuantumRegister(circuit.n_qubits, "q"))
    append(program, circuit, library.ParameterVector("theta", circuit.n_parameters))
    return program


def append(program: Any, circuit: Circuit, theta: Any) -> None:
    """Add a circuit's gates to a QuantumCircuit; theta[i] is parameter i."""
    waiting = [*circuit.operations[::-1]]
    while waiting:
        operation = waiting.pop()
        # The gate table has the names of Qiskit's methods.
        method = getattr(program, operation.gate, None)
        if method is None:
            waiting += [*pieces(operation)][::-1]
            continue
        angles = [_value(angle, theta) for angle in operation.angles]
        method(*angles, *operation.wires)


def _value(angle: Angle, theta: Any) -> Any:
    return angle.at(theta[angle.index]) if isinstance(angle, Parameter) else angle
