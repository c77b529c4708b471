"""Circuit drawings as text for a terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.layout import Column, columns, fold


class _Pen(NamedTuple):
    """Characters of one drawing style."""

    wire: str
    bar: str
    crossing: str


_UNICODE, _ASCII = _Pen("─", "│", "┼"), _Pen("-", "|", "|")


def draw_text(
    circuit: Circuit, angles: Sequence[float] | None = None, *, width: int | None = 100, ascii_only: bool = False
) -> str:
    """Draw a circuit with one line per qubit, qubit 0 on top.

    >>> from qpeft.circuits.ansatz import build_ansatz
    >>> print(draw_text(build_ansatz("ry_cnot", 2, 1)))
    q0: ─RY(θ0)─●─
                │
    q1: ─RY(θ1)─⊕─

    Args:
        circuit: any circuit.
        angles: radians, one per parameter, shown with two decimals; None shows ``θ0``, ``θ1``, ...
        width: characters per line at which a long circuit continues below; None never folds.
        ascii_only: use ``t0``, ``o``, ``X`` and ``-`` for terminals without Unicode.

    Returns:
        Lines joined by newlines; the wire lines of one folded part are equally long.

    Raises:
        CircuitError: the number of angles is not the number of parameters.
    """
    pen = _ASCII if ascii_only else _UNICODE
    placed = columns(circuit, angles, "t" if ascii_only else "θ", ascii_labels=ascii_only)
    sizes = [max(len(text) for symbol in column for text in symbol.texts) + 1 for column in placed]
    label_size = len(f"q{circuit.n_qubits - 1}: ")
    available = sum(sizes) if width is None else width - label_size - 1
    parts = [
        _part([placed[i] for i in row], [sizes[i] for i in row], circuit.n_qubits, pen)
        for row in fold(sizes, available)
    ]
    return "\n\n".join(parts)


def _part(row: list[Column], sizes: list[int], n_qubits: int, pen: _Pen) -> str:
    label_size = len(f"q{n_qubits - 1}: ")
    lines: list[str] = []
    for wire in range(n_qubits):
        cells = [_cell(column, wire, pen).center(size - 1, pen.wire) for column, size in zip(row, sizes, strict=True)]
        lines.append(f"q{wire}: ".ljust(label_size) + "".join(pen.wire + cell for cell in cells) + pen.wire)
        bars = [
            "".center(size) if not _bar(column, wire) else " " + pen.bar.center(size - 1)
            for column, size in zip(row, sizes, strict=True)
        ]
        below = (" " * label_size + "".join(bars)).rstrip()
        if below:
            lines.append(below)
    return "\n".join(lines)


def _cell(column: Column, wire: int, pen: _Pen) -> str:
    for symbol in column:
        if wire in symbol.wires:
            return symbol.texts[symbol.wires.index(wire)]
        if symbol.top < wire < symbol.bottom:
            return pen.crossing
    return pen.wire


def _bar(column: Column, wire: int) -> bool:
    """Whether a vertical line leaves this wire downwards."""
    return any(symbol.top <= wire < symbol.bottom for symbol in column)
