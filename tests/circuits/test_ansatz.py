"""The four families of arXiv:2410.09846 and their entanglers, gate by gate."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.circuits import ANSATZE, ENTANGLERS, Parameter, angles_per_layer, build_ansatz
from qpeft.errors import CircuitError, ConfigError


@settings(deadline=None)
@given(st.sampled_from(list(ANSATZE)), st.integers(1, 6), st.integers(1, 4), st.sampled_from(list(ENTANGLERS)))
def test_angles_are_numbered_in_order(name: str, n_qubits: int, depth: int, entangler: str) -> None:
    circuit = build_ansatz(name, n_qubits, depth, entangler)
    indices = [op.angle.index for op in circuit.operations if isinstance(op.angle, Parameter)]
    assert indices == list(range(depth * angles_per_layer(name, n_qubits)))


def test_equation_1_by_hand() -> None:
    gates = [(op.gate, op.wires) for op in build_ansatz("ry_cnot", 3, 2).operations]
    layer = [("ry", (0,)), ("ry", (1,)), ("ry", (2,)), ("cx", (0, 1)), ("cx", (1, 2))]
    assert gates == layer * 2


def test_equation_14_entangles_after_each_rotation_kind() -> None:
    gates = "".join(op.gate[-1] for op in build_ansatz("ryrz_cnot", 2, 2).operations)
    assert gates == "yyxzzx" * 2


@pytest.mark.parametrize(("n_qubits", "expected"), [(1, ()), (2, ((0, 1),)), (3, ((0, 1), (1, 2), (2, 0)))])
def test_ring_joins_no_pair_twice(n_qubits: int, expected: tuple[tuple[int, int], ...]) -> None:
    assert ENTANGLERS["ring"].pairs(n_qubits) == expected


def test_other_entanglers() -> None:
    assert ENTANGLERS["all_to_all"].pairs(3) == ((0, 1), (0, 2), (1, 2))
    assert len(build_ansatz("ry_cnot", 4, 3, "none")) == 12


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"ansatz must be one of .*'ry_cnt'; nearest: ry_cnot"):
        build_ansatz("ry_cnt", 2, 1)
    with pytest.raises(ConfigError, match="entangler must be one of"):
        build_ansatz("ry_cnot", 2, 1, "line")
    with pytest.raises(CircuitError, match="got n_qubits=3, depth=0"):
        build_ansatz("ry_cnot", 3, 0)
