"""Planted faults in an ansatz, and every one of ours against the contract."""

from collections.abc import Iterator
from itertools import count

import pytest

from qpeft.circuits import ANSATZE, Circuit, Operation, Parameter, build_ansatz, register_ansatz
from qpeft.testing import ANSATZ_PARTS, broken, check_ansatz

CALLS = count()


def turns(n: int, depth: int) -> list[Operation]:
    return [Operation("ry", (k % n,), Parameter(k)) for k in range(n * depth)]


FAULTS = {
    "sizes": lambda n, depth: build_ansatz("ry_cnot", max(n, 2), depth),
    "the same at each call": lambda n, depth: Circuit(n, (*turns(n, depth), Operation("rx", (0,), 0.1 * next(CALLS)))),
    "layers": lambda n, depth: build_ansatz("ry_cnot", n, depth**2),
    "angles": lambda n, depth: Circuit(n, tuple(turns(n, depth + 1)[n:])),
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Iterator[str]:
    register_ansatz("planted", FAULTS[request.param])
    yield request.param
    ANSATZE.remove("planted")


def test_a_planted_fault_is_caught(fault: str) -> None:
    assert broken(ANSATZ_PARTS[fault], "planted") is not None
    with pytest.raises(AssertionError, match=rf"(^|\n){fault}: "):
        check_ansatz("planted")


def test_every_ansatz_of_ours_keeps_the_contract() -> None:
    for name in ANSATZE:
        check_ansatz(name)
