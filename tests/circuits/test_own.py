"""Circuits of one's own as text: what configs keep, by size, and files that are only read."""

from pathlib import Path

import pytest

from qpeft.circuits import Circuit, Operation, Parameter, build_ansatz, to_qasm3
from qpeft.circuits.own import by_size, check_own, drawn_by, is_own, label_of, own_circuit, read_program, written
from qpeft.errors import CircuitError, ConfigError

TWO = Circuit(2, (Operation("ry", (0,), Parameter(0)), Operation("rzz", (0, 1), Parameter(1, 2.0))))
THREE = build_ansatz("real_amplitudes", 3, 1)


def test_a_circuit_becomes_text_and_comes_back() -> None:
    assert build_ansatz(written(TWO), 2, 1) == TWO
    assert build_ansatz(written(TWO), 2, 2) == TWO + TWO
    assert written("ry_cnot") == "ry_cnot"


def test_several_by_their_size() -> None:
    both = written([TWO, THREE])
    assert list(both) == ["2", "3"]
    assert (build_ansatz(both, 2, 1), build_ansatz(both, 3, 1)) == (TWO, THREE)
    with pytest.raises(CircuitError, match="4 qubits is needed here; those given have 2, 3"):
        own_circuit(both, 4)
    with pytest.raises(CircuitError, match="two of 2"):
        by_size([TWO, TWO + TWO])
    function = drawn_by(lambda n, depth: build_ansatz("ry_cnot", n, depth), [3, 3], 2)
    assert build_ansatz(function, 3, 1) == build_ansatz("ry_cnot", 3, 2)


def test_faults_name_the_key() -> None:
    with pytest.raises(ConfigError, match=r"qpa\.ansatz: line 2: the gate is not known|qpa\.ansatz: line 2: foo"):
        check_own("qpa.ansatz", "OPENQASM 3.0;\nqubit q; foo q;")
    with pytest.raises(ConfigError, match="under '3' must have 3 qubits; it has 2"):
        check_own("qpa.ansatz", {"3": to_qasm3(TWO)})
    with pytest.raises(ConfigError, match="for each number of qubits; got none"):
        check_own("qpa.ansatz", {})


def test_labels_are_short_and_follow_the_content() -> None:
    assert label_of("ry_cnot:gate=cz") == "ry_cnot:gate=cz"
    assert label_of(to_qasm3(TWO)) != label_of(to_qasm3(THREE))
    assert len(label_of(written([TWO, THREE]))) == len("own circuit 12345678")
    assert not is_own("OPENQ")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.qasm"
    path.write_text("// no version\nqubit[2] q; input float a; rx(2 * a) q[0]; cx q[0], q[1];", "utf-8")
    assert own_circuit(read_program(path), 2).operations[0].turn == Parameter(0, 2.0)
    with pytest.raises(ConfigError, match=r"none\.qasm cannot be read: No such file"):
        read_program(tmp_path / "none.qasm")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="no UTF-8 text"):
        read_program(path)
    path.write_text("qubit q; reset q;", "utf-8")
    with pytest.raises(ConfigError, match=r"mine\.qasm: line .: a circuit here is a fixed sequence"):
        read_program(path)
