"""Where the operations of a circuit stand in a drawing: columns, labels and folding into rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from qpeft.circuits.circuit import Angle, Circuit, Operation, Parameter, require_angles


@dataclass(frozen=True)
class Symbol:
    """What one operation shows: a text for each of its wires, in the order of the wires."""

    wires: tuple[int, ...]
    texts: tuple[str, ...]

    @property
    def top(self) -> int:
        """The uppermost wire."""
        return min(self.wires)

    @property
    def bottom(self) -> int:
        """The lowermost wire."""
        return max(self.wires)


Column = tuple[Symbol, ...]


def columns(
    circuit: Circuit, angles: Sequence[float] | None, theta: str = "θ", *, ascii_labels: bool = False
) -> list[Column]:
    """Place every operation in the leftmost column where nothing stands between its wires.

    Raises:
        CircuitError: the number of angles is not the number of parameters.
    """
    values = require_angles(circuit, angles)
    placed: list[list[Symbol]] = []
    level = [0] * circuit.n_qubits
    for operation in circuit.operations:
        symbol = Symbol(operation.wires, _texts(operation, values, theta, ascii_labels))
        span = range(symbol.top, symbol.bottom + 1)
        column = max(level[wire] for wire in span)
        if column == len(placed):
            placed.append([])
        placed[column].append(symbol)
        for wire in span:
            level[wire] = column + 1
    return [tuple(column) for column in placed]


def fold(widths: Sequence[int], available: int) -> list[range]:
    """Cut a row of columns into rows that fit; a column wider than that stands alone.

    >>> fold([4, 4, 4], available=9)
    [range(0, 2), range(2, 3)]
    """
    rows: list[range] = []
    start, used = 0, 0
    for index, width in enumerate(widths):
        if index > start and used + width > available:
            rows.append(range(start, index))
            start, used = index, 0
        used += width
    return [*rows, range(start, len(widths))]


def _texts(operation: Operation, values: tuple[float, ...] | None, theta: str, ascii_labels: bool) -> tuple[str, ...]:
    gate = operation.gate_row
    if ascii_labels:
        plain = gate.name.upper()[gate.n_controls :]
        label = {"cx": "X", "cy": "Y", "cz": "o", "swap": "x", "cswap": "x", "ccz": "o"}.get(gate.name, plain)
    else:
        label = gate.label
    if gate.n_angles:
        label = f"{label}({','.join(_angle_text(angle, values, theta) for angle in operation.angles)})"
    dots = ("o" if ascii_labels else "●",) * gate.n_controls
    return (*dots, *(label,) * (gate.n_qubits - gate.n_controls))


def _angle_text(angle: Angle, values: tuple[float, ...] | None, theta: str) -> str:
    if not isinstance(angle, Parameter):
        return f"{angle:.2f}"
    if values is not None:
        return f"{angle.of(values):.2f}"
    factor = "" if angle.scale == 1 else "-" if angle.scale == -1 else f"{angle.scale:.3g}"
    return f"{factor}{theta}{angle.index}" + (f"{angle.shift:+.2f}" if angle.shift else "")
