"""Circuits are values: checked when built, equal and hashed by content, safe to pickle."""

import copy
import os
import pickle
import subprocess
import sys

import pytest

from qpeft.circuits import Circuit, Operation, Parameter, build_ansatz
from qpeft.circuits.circuit import require_angles
from qpeft.errors import CircuitError

RX0 = Operation("rx", (0,), Parameter(0))


def test_equal_circuits_hash_alike() -> None:
    one, other = build_ansatz("ry_cnot", 3, 2), build_ansatz("ry_cnot", 3, 2)
    assert one == other
    assert hash(one) == hash(other)
    assert one != build_ansatz("rx_cnot", 3, 2)


def test_a_copy_in_another_process_finds_the_same_cache_entry() -> None:
    circuit = build_ansatz("ry_cnot", 3, 2)
    hash(circuit)
    assert copy.deepcopy(circuit) == circuit
    program = (
        "import pickle, sys; from qpeft.circuits import build_ansatz; "
        "print(pickle.load(sys.stdin.buffer) in {build_ansatz('ry_cnot', 3, 2)})"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(circuit),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert answer.stdout.strip() == b"True"


def test_joining_renumbers_the_second_circuit() -> None:
    both = Circuit(1, (RX0,)) + Circuit(1, (RX0, Operation("h", (0,))))
    assert both.n_parameters == 2
    assert [operation.angle for operation in both.operations] == [Parameter(0), Parameter(1), None]


def test_unshared_gives_every_gate_its_own_parameter() -> None:
    shared = Circuit(2, (RX0, Operation("rz", (1,), Parameter(1)), Operation("ry", (1,), Parameter(0))))
    alone, origin = shared.unshared()
    assert (alone.n_parameters, origin) == (3, (0, 1, 0))
    assert alone.unshared() == (alone, (0, 1, 2))


def test_real_only_if_every_gate_is() -> None:
    assert build_ansatz("ry_cnot", 2, 1).is_real
    assert not build_ansatz("ryrz_cnot", 2, 1).is_real


@pytest.mark.parametrize(
    ("n_qubits", "operation", "message"),
    [
        (0, RX0, "needs 1 qubit or more; got n_qubits=0"),
        (1, Operation("h", (0, 1)), "h acts on 1 wire"),
        (2, Operation("cx", (1, 1)), "wires of one gate must differ"),
        (2, Operation("cx", (0, 2)), r"wires must lie in 0\.\.1"),
        (1, Operation("h", (-1,)), r"wires must lie in 0\.\.0"),
        (1, Operation("h", (0,), 0.5), "h takes no angle; got 0.5"),
        (1, Operation("rx", (0,)), "rx needs an angle"),
        (1, Operation("rx", (0,), float("nan")), "must be finite"),
        (1, Operation("rx", (0,), Parameter(-1)), "must be 0 or more; got -1"),
        (1, Operation("rx", (0,), Parameter(2)), r"missing \[0, 1\]"),
        (1, Operation("rwy", (0,), 0.1), "got 'rwy'"),
    ],
)
def test_refuses_what_no_register_allows(n_qubits: int, operation: Operation, message: str) -> None:
    with pytest.raises(CircuitError, match=message):
        Circuit(n_qubits, (operation,))


def test_other_errors() -> None:
    with pytest.raises(CircuitError, match="got 1 and 2"):
        Circuit(1) + Circuit(2)
    with pytest.raises(CircuitError, match=r"1 parameter\(s\); got 3 angle"):
        require_angles(Circuit(1, (RX0,)), [0.1, 0.2, 0.3])
