"""The config of core: defaults, counts, and every fault at once."""

from typing import Any

import pytest

import qpeft
from qpeft.circuits import build_ansatz
from qpeft.errors import ConfigError
from qpeft.tuners.core.layer import CoreDelta

LAYERS = 28  # of the bundled model, whose counts were published


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 1344),
        ({"k": 0}, 448),
        ({"r": 32}, 2688),
        ({"r": 32, "k": 2}, 4480),
        ({"r": 128}, 10752),
        ({"core": "kronecker"}, 896),
        ({"core": "kronecker", "r": 4}, 224),
        ({"core": "full", "r": 3}, 252),
        ({"core": "full", "r": 6}, 1008),
        ({"core": "full", "r": 24}, 16128),
        ({"core": "gates"}, 1344),
        ({"core": "gates", "r": 32, "pattern": "all_pairs"}, 4480),
        ({"core": "gates", "r": 32, "pattern": "all_pairs", "dims": [4, 4, 2]}, 10752),
        ({"core": "rotations"}, 1008),
        ({"core": "givens"}, 1008),
        ({"core": "rotations", "angles": "frozen"}, 448),
        ({"core": "hash"}, 1344),
        ({"core": "mask"}, 1344),
        ({"core": "circuit", "ansatz": "strongly_entangling"}, 28 * (16 + 12)),
    ],
)
def test_counts(options: dict[str, Any], expected: int) -> None:
    delta = CoreDelta(qpeft.CoreConfig(**options), 128, 128)
    assert LAYERS * sum(p.numel() for p in delta.parameters()) == expected


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (
            {"basis": "grad", "core": "gate", "r": 0, "scale": -1.0},
            ["core.basis must be one of", "nearest: gates", "core.r must be a whole number of at least 1", "above 0"],
        ),
        (
            {"basis": "random", "basis_batches": 4, "k": 2, "core": "full", "ansatz": "ry_cnot"},
            [
                "core.basis_batches must be left out, since basis 'random' does not read it",
                "core.k must be left out, since core 'full' does not read it",
                "core.ansatz must be left out",
            ],
        ),
        (
            {"core": "gates", "r": 12},
            ["core.r must be 2, 4 or more wires of 2 with core 'gates', or give dims; got 12"],
        ),
        ({"core": "gates", "r": 12, "dims": [3, 3]}, ["dims must have the product r = 12; got [3, 3]"]),
        ({"core": "kronecker", "r": 7}, ["a product of two numbers above 1"]),
        ({"core": "givens", "r": 12}, ["r must be a power of two with core 'givens'; got 12"]),
        ({"core": "rotations", "ansatz": "rx_cnot"}, ["real gates only", "take core 'circuit'"]),
        ({"core": "circuit", "ansatz": "ry_cnott"}, ["nearest: ry_cnot"]),
        ({"core": "mask", "r": 2, "numbers": 5}, ["numbers must be at most r * r = 4; got 5"]),
        (
            {"core": "hash", "numbers": True, "entangler": "ring"},
            ["core.numbers must be", "core.entangler must be left"],
        ),
    ],
)
def test_every_fault_is_named(options: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        qpeft.CoreConfig(**options)
    for message in messages:
        assert message in str(caught.value)


def test_a_circuit_of_ones_own_is_kept_as_text() -> None:
    config = qpeft.CoreConfig(core="circuit", r=6, ansatz=build_ansatz("rx_cnot", 3, 1), depth=2)
    assert config.ansatz.startswith("OPENQASM")
    assert (config.circuit().n_qubits, config.circuit().n_parameters) == (3, 6)
