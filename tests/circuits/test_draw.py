"""Text drawings: every gate shown, wires straight, folding keeps the width."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.circuits import Circuit, Operation, build_ansatz, draw_text
from qpeft.errors import CircuitError


def wire_lines(drawing: str) -> list[str]:
    return [line for line in drawing.splitlines() if line.startswith("q")]


@settings(deadline=None)
@given(
    st.sampled_from(["ry_cnot", "rxrz_cnot"]),
    st.integers(1, 11),
    st.integers(1, 5),
    st.sampled_from(["chain", "ring", "all_to_all", "none"]),
    st.booleans(),
)
def test_wires_are_straight_and_folded_at_the_width(
    name: str, n: int, depth: int, entangler: str, ascii_only: bool
) -> None:
    circuit = build_ansatz(name, n, depth, entangler)
    drawing = draw_text(circuit, width=60, ascii_only=ascii_only)
    for part in drawing.split("\n\n"):
        lengths = {len(line) for line in wire_lines(part)}
        assert len(lengths) == 1
        assert lengths.pop() <= 60
        assert len(wire_lines(part)) == n
    theta = "t" if ascii_only else "θ"
    for index in range(circuit.n_parameters):
        assert f"({theta}{index})" in drawing
    assert drawing.count("X" if ascii_only else "⊕") - drawing.count("RX") * ascii_only == sum(
        operation.gate == "cx" for operation in circuit.operations
    )
    assert not ascii_only or drawing.isascii()


def test_a_vertical_line_crosses_the_wires_between() -> None:
    circuit = Circuit(3, (Operation("cry", (2, 0), 0.5), Operation("sdg", (1,)), Operation("swap", (0, 1))))
    assert draw_text(circuit).splitlines() == [
        "q0: ─RY(0.50)────✕─",
        "        │        │",
        "q1: ────┼─────S†─✕─",
        "        │",
        "q2: ────●──────────",
    ]
    assert draw_text(circuit, ascii_only=True).splitlines() == [
        "q0: -RY(0.50)-----x-",
        "        |         |",
        "q1: ----|-----SDG-x-",
        "        |",
        "q2: ----o-----------",
    ]


def test_values_replace_names() -> None:
    assert draw_text(build_ansatz("rx_cnot", 1, 2), [0.126, -3]) == "q0: ─RX(0.13)─RX(-3.00)─"


def test_an_empty_circuit_is_a_bare_wire() -> None:
    assert draw_text(Circuit(2)).splitlines() == ["q0: ─", "q1: ─"]


def test_counts_the_angles() -> None:
    with pytest.raises(CircuitError, match=r"2 parameter\(s\); got 1"):
        draw_text(build_ansatz("rx_cnot", 1, 2), [0.1])
