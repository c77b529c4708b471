"""Patterns of entangling gates, pair by pair."""

import pytest

from qpeft.circuits import ENTANGLERS


@pytest.mark.parametrize(("n_qubits", "expected"), [(1, ()), (2, ((0, 1),)), (3, ((0, 1), (1, 2), (2, 0)))])
def test_ring_joins_no_pair_twice(n_qubits: int, expected: tuple[tuple[int, int], ...]) -> None:
    assert ENTANGLERS["ring"].pairs(n_qubits) == expected


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("all_to_all", ["01 02 03 12 13 23"]),
        ("reverse_chain", ["23 12 01"]),
        ("circular", ["30 01 12 23"]),
        ("brick", ["01 23", "12", "01 23"]),
        ("pairwise", ["01 23 12"] * 2),
        ("star", ["01 02 03"]),
        ("sca", ["30 01 12 23", "32 03 10 21", "12 23 30 01"]),
        ("ranged", ["01 12 23 30", "02 13 20 31", "03 10 21 32", "01 12 23 30"]),
        ("none", [""]),
    ],
)
def test_four_qubits(name: str, layers: list[str]) -> None:
    for layer, words in enumerate(layers):
        assert [f"{a}{b}" for a, b in ENTANGLERS[name].pairs(4, layer)] == words.split()


@pytest.mark.parametrize("name", ENTANGLERS)
def test_wires_fit_any_register(name: str) -> None:
    for n_qubits in range(1, 7):
        for layer in range(4):
            pairs = ENTANGLERS[name].pairs(n_qubits, layer)
            assert all(a != b and {a, b} <= set(range(n_qubits)) for a, b in pairs)
            assert n_qubits > 1 or not pairs
