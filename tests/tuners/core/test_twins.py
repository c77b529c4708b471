"""Twins of quantum cores: equal counts, checked options, nothing for what has no quantum structure."""

from typing import Any

import pytest

import qpeft
from qpeft.tuners.core.layer import CoreDelta
from qpeft.tuners.core.twins import twins


def count(options: dict[str, Any]) -> int:
    return sum(p.numel() for p in CoreDelta(qpeft.CoreConfig(**options), 64, 64).parameters())


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"core": "gates", "r": 16}, {"mask", "hash", "diag_lowrank"}),
        ({"core": "rotations", "r": 16, "depth": 2}, {"mask", "hash", "diag_lowrank", "givens", "frozen"}),
        ({"core": "circuit", "r": 12, "ansatz": "rx_cnot"}, {"mask", "hash", "diag_lowrank", "frozen"}),
    ],
)
def test_equal_counts(options: dict[str, Any], names: set[str]) -> None:
    found = twins({**options, "basis": "random", "target_modules": ["q_proj"]})
    assert set(found) == names
    assert all(twin["basis"] == "random" and twin["target_modules"] == ["q_proj"] for twin in found.values())
    for name in names & {"mask", "hash", "givens"}:
        assert count(found[name]) == count(options)
    assert abs(count(found["diag_lowrank"]) - count(options)) <= options["r"]
    if "frozen" in names:
        assert count(found["frozen"]) == options["r"]


@pytest.mark.parametrize("core", ["full", "diag_lowrank", "mask", "hash", "kronecker", "givens"])
def test_classical_cores_have_none(core: str) -> None:
    assert twins({"core": core}) == {}
    assert twins({"core": "rotations", "angles": "frozen"}) == {}
