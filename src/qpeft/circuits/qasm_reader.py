"""A circuit from OpenQASM 3: the library openqasm3 parses, and what is no fixed sequence of known gates is refused."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from qpeft.circuits.circuit import Angle, Circuit, Operation, Parameter
from qpeft.circuits.gates import GATES
from qpeft.circuits.unitary import same_up_to_phase, unitary
from qpeft.errors import CircuitError, import_extra, nearest

# Other names of gates of the table; None does nothing.
ALIASES: dict[str, str | None] = {
    **{"U": "u", "u3": "u", "u1": "p", "phase": "p", "cphase": "cp", "CX": "cx", "cnot": "cx", "toffoli": "ccx"},
    **{"id": None},
}
_CONSTANTS = {"pi": math.pi, "π": math.pi, "tau": math.tau, "τ": math.tau, "euler": math.e, "ℇ": math.e}
_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    **{"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow},
}
# Longer texts are no circuits that anybody trains, and take the parser minutes.
MOST_CHARACTERS = 2_000_000


@lru_cache(maxsize=64)
def from_qasm3(text: str) -> Circuit:
    """The circuit of an OpenQASM 3 program; nothing in it is executed and no file is opened.

    Free ``input float`` and ``input angle`` variables become parameters 0, 1, 2, ... in the order of their
    declaration; qubits become wires in the order of theirs. An angle may be any expression ``a * input + b``.
    Definitions of gates are expanded, or recognised where they equal a gate of the table. Barriers, global phases and
    measurements at the end are left out; every other statement is refused.

    Args:
        text: the program.

    Returns:
        A circuit whose parameters are the inputs that are used, numbered without a gap.

    Raises:
        CircuitError: names the line, and gate and wires where there are any.
        MissingExtraError: the library openqasm3 is not installed.
    """
    parser = import_extra(
        "openqasm3", "reading OpenQASM needs openqasm3", "Install it: pip install 'openqasm3[parser]'"
    )
    if len(text) > MOST_CHARACTERS:
        raise CircuitError(f"an OpenQASM program may have {MOST_CHARACTERS:,} characters; got {len(text):,}")
    try:
        program = parser.parse(text)
    except RecursionError as error:
        raise CircuitError("the OpenQASM program is nested too deeply to be read") from error
    except Exception as error:  # the parser's own errors have no common root
        raise CircuitError(f"the text must be an OpenQASM 3 program{_place_of(error)}") from error
    if program.version is not None and not str(program.version).startswith("3"):
        raise CircuitError(f"the program must be OpenQASM 3; it says {program.version}; Qiskit's qasm2 reads those")
    return _Reader().read(program)


def _place_of(error: BaseException) -> str:
    """Where a parser stopped, as far as it says."""
    seen: BaseException | None = error
    while seen is not None:
        for part in (seen, *seen.args):
            token = getattr(part, "offendingToken", None)
            if token is not None:
                return f"; line {token.line}: {token.text!r} was not expected there"
        seen = seen.__cause__ or seen.__context__
    return f"; {error}" if str(error) else "; its grammar is broken"


@dataclass
class _Reader:
    """What has been declared so far, and the operations."""

    inputs: dict[str, Parameter] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=lambda: dict(_CONSTANTS))
    registers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    definitions: dict[str, Any] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    measured: set[int] = field(default_factory=set)

    def read(self, program: Any) -> Circuit:
        for statement in program.statements:
            kind = type(statement).__name__
            step = getattr(self, f"_on_{kind}", None)
            if step is None:
                raise CircuitError(
                    f"line {statement.span.start_line}: a circuit here is a fixed sequence of gates; {kind} is none. "
                    f"Unroll or remove it"
                )
            step(statement)
        n_qubits = sum(map(len, self.registers.values()))
        if not n_qubits:
            raise CircuitError("the program must declare its qubits: qubit[4] q;")
        used = sorted({a.index for op in self.operations for a in op.angles if isinstance(a, Parameter)})
        unused = [name for name, parameter in self.inputs.items() if parameter.index not in used]
        if unused:
            raise CircuitError(f"every input must be the angle of a gate; {unused[0]} is not. Remove its declaration")
        return Circuit(n_qubits, tuple(self.operations))

    def _on_Include(self, statement: Any) -> None:  # noqa: N802 - the parser's name of the statement
        if statement.filename != "stdgates.inc":
            raise CircuitError(
                f"line {statement.span.start_line}: only stdgates.inc can be included; got {statement.filename!r}. "
                f"Paste its definitions into the program"
            )

    def _on_IODeclaration(self, statement: Any) -> None:  # noqa: N802
        kind, line = type(statement.type).__name__, statement.span.start_line
        if statement.io_identifier.name != "input" or kind not in ("FloatType", "AngleType"):
            raise CircuitError(
                f"line {line}: free angles are declared as input float or input angle; got "
                f"{statement.io_identifier.name} {kind.removesuffix('Type').lower()}"
            )
        self.inputs[statement.identifier.name] = Parameter(len(self.inputs))

    def _on_ConstantDeclaration(self, statement: Any) -> None:  # noqa: N802
        value = self._angle(statement.init_expression, {}, f"line {statement.span.start_line}")
        if isinstance(value, Parameter) or value is None:
            raise CircuitError(f"line {statement.span.start_line}: a constant must be a number")
        self.constants[statement.identifier.name] = value

    def _on_ClassicalDeclaration(self, statement: Any) -> None:  # noqa: N802
        line = statement.span.start_line
        if type(statement.type).__name__ != "BitType":
            raise CircuitError(f"line {line}: classical variables other than bits for measurements cannot be used")
        if statement.init_expression is not None:
            if type(statement.init_expression).__name__ != "QuantumMeasurement":
                raise CircuitError(f"line {line}: bits can only hold measurements")
            self.measured |= set(self._wires(statement.init_expression.qubit, {}, line))

    def _on_QubitDeclaration(self, statement: Any) -> None:  # noqa: N802
        size = 1.0 if statement.size is None else self._angle(statement.size, {}, f"line {statement.span.start_line}")
        if not isinstance(size, float) or size != int(size) or size < 1:
            raise CircuitError(f"line {statement.span.start_line}: a register needs a whole number of qubits")
        first = sum(map(len, self.registers.values()))
        self.registers[statement.qubit.name] = tuple(range(first, first + int(size)))

    def _on_QuantumGateDefinition(self, statement: Any) -> None:  # noqa: N802
        self.definitions[statement.name.name] = statement

    def _on_QuantumBarrier(self, statement: Any) -> None:  # noqa: N802
        """Nothing to do: operations keep their order."""

    def _on_QuantumPhase(self, statement: Any) -> None:  # noqa: N802
        if statement.modifiers:
            raise CircuitError(f"line {statement.span.start_line}: a controlled global phase is not read; use p, cp")

    def _on_QuantumMeasurementStatement(self, statement: Any) -> None:  # noqa: N802
        self.measured |= set(self._wires(statement.measure.qubit, {}, statement.span.start_line))

    def _on_QuantumGate(self, statement: Any) -> None:  # noqa: N802
        line = statement.span.start_line
        registers = [self._wires(qubit, {}, line) for qubit in statement.qubits]
        rows = max(map(len, registers))
        if any(len(register) not in (1, rows) for register in registers):
            raise CircuitError(f"line {line}: {statement.name.name} joins registers of different sizes")
        for row in range(rows):
            wires = tuple(register[row if len(register) > 1 else 0] for register in registers)
            self.operations += self._gate(statement, {}, wires, line)

    def _gate(self, call: Any, scope: dict[str, Angle], wires: tuple[int, ...], line: int) -> list[Operation]:
        """The operations of one call, whose arguments may name variables of a definition around it."""
        name, where = call.name.name, f"line {line}: {call.name.name} on wires {wires}"
        if call.modifiers:
            raise CircuitError(f"{where}: modifiers such as inv, ctrl and pow are not read; name the gate they make")
        if self.measured & set(wires):
            raise CircuitError(f"{where}: comes after a measurement of that wire; measurements stand at the end")
        angles = tuple(self._angle(argument, scope, where) for argument in call.arguments)
        if name in self.definitions and not self._is_of_the_table(name):
            return self._expanded(self.definitions[name], angles, wires, line)
        if name == "u2" and len(angles) == 2:
            name, angles = "u", (math.pi / 2, *angles)
        known = ALIASES.get(name, name)
        if known is None:
            return []
        if known not in GATES:
            names = (*GATES, *self.definitions)
            raise CircuitError(f"{where}: the gate is not known{nearest(name, names)}; define it in the program")
        operation = Operation(known, wires, angles[0] if len(angles) == 1 else angles or None)
        try:
            Circuit(max(wires) + 1, (operation.turned([0.0] * len(angles)),))
        except CircuitError as error:
            raise CircuitError(f"line {line}: {str(error).removeprefix('operation 0 ')}") from error
        return [operation]

    def _expanded(self, made: Any, angles: Sequence[Angle], wires: tuple[int, ...], line: int) -> list[Operation]:
        if len(angles) != len(made.arguments) or len(wires) != len(made.qubits):
            raise CircuitError(
                f"line {line}: {made.name.name} is defined for {len(made.arguments)} angle(s) and {len(made.qubits)} "
                f"wire(s); got {len(angles)} and {len(wires)}"
            )
        scope = {argument.name: angle for argument, angle in zip(made.arguments, angles, strict=True)}
        places = {qubit.name: wire for qubit, wire in zip(made.qubits, wires, strict=True)}
        found: list[Operation] = []
        for call in made.body:
            kind = type(call).__name__
            if kind in ("QuantumBarrier", "QuantumPhase"):
                continue
            if kind != "QuantumGate" or call.name.name == made.name.name:
                raise CircuitError(f"line {call.span.start_line}: a definition may only hold gates defined before it")
            own = tuple(places[qubit.name] for qubit in call.qubits)
            found += self._gate(call, scope, own, call.span.start_line)
        return found

    def _is_of_the_table(self, name: str) -> bool:
        """Whether a definition under the name of a gate of the table does what that gate does."""
        row = GATES.get(str(ALIASES.get(name, name)))
        made = self.definitions[name]
        if row is None or row.n_qubits != len(made.qubits) or row.n_angles != len(made.arguments):
            return False
        angles = tuple(np.linspace(0.7, 1.9, row.n_angles).tolist())
        operations = self._expanded(made, angles, tuple(range(row.n_qubits)), made.span.start_line)
        return same_up_to_phase(unitary(Circuit(row.n_qubits, tuple(operations))), row.matrix(*angles))

    def _wires(self, qubit: Any, scope: dict[str, Angle], line: int) -> tuple[int, ...]:
        name = qubit.name if isinstance(qubit.name, str) else qubit.name.name
        if name not in self.registers:
            raise CircuitError(f"line {line}: no qubit is declared as {name!r}{nearest(name, self.registers)}")
        register = self.registers[name]
        if not hasattr(qubit, "indices"):
            return register
        index = qubit.indices[0][0] if isinstance(qubit.indices[0], list) and len(qubit.indices[0]) == 1 else None
        value = None if index is None else self._angle(index, scope, f"line {line}")
        if not isinstance(value, float) or value != int(value) or not -len(register) <= value < len(register):
            raise CircuitError(f"line {line}: {name} has the qubits 0..{len(register) - 1}; name one by its number")
        return (register[int(value)],)

    def _angle(self, expression: Any, scope: dict[str, Angle], where: str) -> Angle:
        """A number, or a Parameter with scale and shift."""
        kind = type(expression).__name__
        if kind in ("FloatLiteral", "IntegerLiteral"):
            return float(expression.value)
        if kind == "Identifier":
            known: dict[str, Angle] = {**self.constants, **self.inputs, **scope}
            if expression.name in known:
                return known[expression.name]
            raise CircuitError(f"{where}: {expression.name!r} is not declared{nearest(expression.name, known)}")
        if kind == "UnaryExpression" and expression.op.name == "-":
            return _joined("*", -1.0, self._angle(expression.expression, scope, where), where)
        if kind == "BinaryExpression" and expression.op.name in _OPERATIONS:
            left, right = (self._angle(side, scope, where) for side in (expression.lhs, expression.rhs))
            return _joined(expression.op.name, left, right, where)
        raise CircuitError(f"{where}: an angle must have the form a * input + b with numbers a and b")


def _joined(sign: str, left: Angle, right: Angle, where: str) -> Angle:
    """An operation on two angles of which at most one depends on inputs, or both on the same one in a sum."""
    if isinstance(left, float) and isinstance(right, float):
        try:
            return float(_OPERATIONS[sign](left, right))
        except (ArithmeticError, TypeError) as error:
            raise CircuitError(f"{where}: {left:g} {sign} {right:g} is no number: {error}") from error
    return _affine(sign, left, right, where)


def _affine(sign: str, left: Angle, right: Angle, where: str) -> Angle:
    if sign == "-":
        return _joined("+", left, _joined("*", -1.0, right, where), where)
    if sign == "/" and isinstance(left, Parameter) and isinstance(right, float) and right != 0:
        return left * (1 / right)
    if sign == "*" and isinstance(left, Parameter) != isinstance(right, Parameter):
        parameter, factor = (left, right) if isinstance(left, Parameter) else (right, left)
        if isinstance(parameter, Parameter) and isinstance(factor, float):
            return parameter * factor if factor else 0.0
    if sign == "+":
        if isinstance(left, Parameter) and isinstance(right, Parameter) and left.index == right.index:
            scale = left.scale + right.scale
            return Parameter(left.index, scale, left.shift + right.shift) if scale else left.shift + right.shift
        parameter, number = (left, right) if isinstance(left, Parameter) else (right, left)
        if isinstance(parameter, Parameter) and isinstance(number, float):
            return Parameter(parameter.index, parameter.scale, parameter.shift + number)
    raise CircuitError(f"{where}: an angle must have the form a * input + b with numbers a and b, of one input")
