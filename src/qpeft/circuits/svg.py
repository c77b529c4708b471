"""Circuit drawings as self-contained SVG that follows the colours of the page around it."""

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.layout import Column, Symbol, columns, fold

_WIRE_GAP, _MARGIN, _LABEL, _BOX = 40, 16, 32, 26
_LETTER, _PADDING, _SPACE = 8, 12, 14


def draw_svg(circuit: Circuit, angles: Sequence[float] | None = None, *, width: int | None = 960) -> str:
    """Draw a circuit as an SVG element with lines and text in ``currentColor``.

    >>> from qpeft.circuits.ansatz import build_ansatz
    >>> svg = draw_svg(build_ansatz("ry_cnot", 3, 2))
    >>> svg.startswith("<svg"), svg.count("<rect")
    (True, 6)

    Args:
        circuit: any circuit.
        angles: radians, one per parameter, shown with two decimals; None shows ``θ0``, ``θ1``, ...
        width: pixels at which a long circuit continues below; None never folds.

    Returns:
        One ``<svg>`` element, no script, no external reference.

    Raises:
        CircuitError: the number of angles is not the number of parameters.
    """
    placed = columns(circuit, angles)
    sizes = [max(_symbol_size(text) for symbol in column for text in symbol.texts) + _SPACE for column in placed]
    available = sum(sizes) if width is None else width - 2 * _MARGIN - _LABEL
    rows = fold(sizes, available)
    row_height = circuit.n_qubits * _WIRE_GAP + _MARGIN
    total_width = 2 * _MARGIN + _LABEL + max(sum(sizes[i] for i in row) for row in rows)
    body = [
        line
        for number, row in enumerate(rows)
        for line in _row([placed[i] for i in row], [sizes[i] for i in row], circuit.n_qubits, number * row_height)
    ]
    height = len(rows) * row_height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_width} {height}" width="{total_width}" '
        f'height="{height}" role="img" aria-label="quantum circuit on {circuit.n_qubits} qubits" '
        'font-family="ui-monospace, monospace" font-size="13" fill="none" stroke="currentColor">'
        + "".join(body)
        + "</svg>"
    )


def _row(row: list[Column], sizes: list[int], n_qubits: int, top: int) -> Iterator[str]:
    def height_of(wire: int) -> int:
        return top + _MARGIN + wire * _WIRE_GAP + _BOX // 2

    left = _MARGIN + _LABEL
    boxes: list[list[tuple[int, int]]] = [[] for _ in range(n_qubits)]
    for column, size in zip(row, sizes, strict=True):
        centre = left + size // 2
        for symbol in column:
            yield from _symbol(symbol, centre, [height_of(wire) for wire in symbol.wires], boxes)
        left += size
    for wire in range(n_qubits):
        yield _text(_MARGIN + _LABEL // 2 - 4, height_of(wire), f"q{wire}")
        yield _wire(_MARGIN + _LABEL, left, height_of(wire), boxes[wire])


def _symbol(symbol: Symbol, x: int, heights: list[int], boxes: list[list[tuple[int, int]]]) -> Iterator[str]:
    """One operation; boxes collects where its wires must be interrupted."""
    if len(heights) == 2:
        yield _bar(symbol.texts[1], x, heights)
    for wire, text, y in zip(symbol.wires, symbol.texts, heights, strict=True):
        half = _symbol_size(text) // 2
        if text == "●":
            yield f'<circle cx="{x}" cy="{y}" r="4" fill="currentColor"/>'
        elif text == "⊕":
            yield f'<path d="M{x - 9} {y}a9 9 0 1 0 18 0a9 9 0 1 0 -18 0M{x} {y - 9}v18"/>'
        elif text == "✕":
            yield f'<path d="M{x - 5} {y - 5}l10 10m0 -10l-10 10"/>'
        else:
            boxes[wire].append((x - half, x + half))
            yield f'<rect x="{x - half}" y="{y - _BOX // 2}" width="{2 * half}" height="{_BOX}" rx="3"/>'
            yield _text(x, y, text)


def _bar(target: str, x: int, heights: list[int]) -> str:
    """The line from the first wire to the second, stopping at the edge of a box."""
    start, end = heights
    if target not in "●⊕✕":
        end += _BOX // 2 if end < start else -(_BOX // 2)
    return f'<path d="M{x} {start}V{end}"/>'


def _wire(left: int, right: int, y: int, boxes: list[tuple[int, int]]) -> str:
    """A horizontal line with gaps where the boxes stand, so that boxes need no background colour."""
    path = f"M{left} {y}" + "".join(f"H{start}M{end} {y}" for start, end in boxes) + f"H{right}"
    return f'<path d="{path}"/>'


def _text(x: int, y: int, text: str) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="middle" dominant-baseline="central" fill="currentColor" '
        f'stroke="none">{escape(text)}</text>'
    )


def _symbol_size(text: str) -> int:
    return 18 if text in "●⊕✕" else max(_BOX, _LETTER * len(text) + _PADDING)
