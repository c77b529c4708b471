"""Reading OpenQASM 3: what we write and what Qiskit writes comes back, and what is no circuit is refused by line."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.circuits import ANSATZE, GATES, Circuit, Operation, Parameter, build_ansatz, from_qasm3, to_qasm3
from qpeft.circuits.unitary import same_up_to_phase, unitary
from qpeft.errors import CircuitError

pytest.importorskip("openqasm3")
HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    """Any circuit of three wires, parameters shared, scaled and shifted."""
    number = st.floats(-9, 9, allow_nan=False)
    parameter = st.builds(Parameter, st.integers(0, 3), number.filter(bool), number)
    operations = [Operation("rx", (0,), Parameter(index)) for index in range(4)]
    for name in draw(st.lists(st.sampled_from(sorted(GATES)), max_size=8)):
        gate = GATES[name]
        wires = tuple(draw(st.permutations(range(3)))[: gate.n_qubits])
        angles = tuple(draw(st.one_of(number, parameter)) for _ in range(gate.n_angles))
        operations.append(Operation(name, wires, angles[0] if len(angles) == 1 else angles or None))
    return Circuit(3, tuple(operations))


@settings(deadline=None, max_examples=60)
@given(circuits())
def test_what_is_written_is_read(circuit: Circuit) -> None:
    assert from_qasm3(to_qasm3(circuit)) == circuit


@pytest.mark.parametrize("name", ANSATZE)
def test_every_family_comes_back(name: str) -> None:
    assert from_qasm3(to_qasm3(build_ansatz(name, 3, 2))) == build_ansatz(name, 3, 2)


def test_inputs_in_order_registers_broadcast_and_definitions() -> None:
    circuit = from_qasm3(
        HEAD + "input angle b; input float[32] a; const float half = pi / 2; qubit[2] q; qubit r; bit[2] m;\n"
        "gate mine(x) u, v { rx(x / 2) u; cx u, v; }\n"
        "h q; mine(2 * a + pi) q[0], r; u2(b, -b) r; id r; barrier q; cx q, r; p(half) q[-1]; m = measure q;"
    )
    assert circuit.operations == (
        Operation("h", (0,)),
        Operation("h", (1,)),
        Operation("rx", (0,), Parameter(1, 1.0, math.pi / 2)),
        Operation("cx", (0, 2)),
        Operation("u", (2,), (math.pi / 2, Parameter(0), Parameter(0, -1.0, -0.0))),
        Operation("cx", (0, 2)),
        Operation("cx", (1, 2)),
        Operation("p", (1,), math.pi / 2),
    )


def test_a_definition_under_a_known_name_counts_by_what_it_does() -> None:
    """Qiskit defines rzz in its texts: that is the gate of the table. Another rzz is not."""
    same = "gate rzz(t) a, b { cx a, b; rz(t) b; cx a, b; }\nqubit[2] q; rzz(0.5) q[0], q[1];"
    assert from_qasm3(HEAD + same).operations == (Operation("rzz", (0, 1), 0.5),)
    other = from_qasm3(HEAD + same.replace("rz(t)", "rz(2 * t)"))
    assert [operation.gate for operation in other.operations] == ["cx", "rz", "cx"]


def test_reads_what_qiskit_writes() -> None:
    library, qasm3 = pytest.importorskip("qiskit.circuit.library"), pytest.importorskip("qiskit.qasm3")
    program = library.efficient_su2(3, entanglement="sca", reps=2)
    program.rxx(0.3, 0, 2)
    program.append(library.RZXGate(0.4), [2, 1])
    read = from_qasm3(qasm3.dumps(program.decompose()))
    ours = build_ansatz("efficient_su2", 3, 2, "sca")
    # Qiskit writes the parameters in the order of their names; u0, u1, ... are those of the vector's elements.
    assert read.n_parameters == ours.n_parameters == 18
    angles = np.random.default_rng(0).uniform(-3, 3, 18)
    whole = Circuit(3, (*ours.operations, Operation("rxx", (0, 2), 0.3), Operation("rzx", (2, 1), 0.4)))
    names = [line.split()[-1].strip(";") for line in qasm3.dumps(program.decompose()).splitlines() if "input" in line]
    order = [int("".join(c for c in name if c.isdigit())) for name in names]
    assert same_up_to_phase(unitary(read, angles[order]), unitary(whole, angles), 1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qubit[ q;", "line 3: ';' was not expected"),
        ("qubit q; rx(1) q[3];", r"line 3: q has the qubits 0\.\.0"),
        ("qubit q; ry(a) q;", r"line 3: ry on wires \(0,\): 'a' is not declared"),
        ("input float a; input float b; qubit q;\nrx(a * b) q;", r"line 4: rx on wires \(0,\): .* a \* input \+ b"),
        ("input float a; input float b; qubit q;\nrx(a + b) q;", "of one input"),
        ("input float a; qubit q; rx(sin(a)) q;", "a \\* input \\+ b"),
        ("qubit q; rx(1 / 0) q;", "is no number"),
        ("qubit q; rx q;", "rx needs an angle"),
        ("qubit[2] q; rzzz(1) q[0], q[1];", "the gate is not known; nearest: rzz"),
        ("qubit[2] q; cx q[0], q[0];", "wires of one gate must differ"),
        ("qubit q; reset q;", "QuantumReset is none"),
        ("qubit q; if (true) { x q; }", "BranchingStatement is none"),
        ("qubit q; h q; measure q; h q;", "after a measurement"),
        ("qubit q; inv @ s q;", "modifiers"),
        ("input float a; qubit q; h q;", "every input must be the angle of a gate; a is not"),
        ("input int a; qubit q; rx(a) q;", "input float or input angle; got input int"),
        ("x $0;", "."),
        ('include "/etc/passwd"; qubit q; x q;', "only stdgates.inc"),
        ("gate g a { g a; }\nqubit q; g q;", "gates defined before it"),
        ("h q;", "no qubit is declared as 'q'"),
        ("", "must declare its qubits"),
        ("qubit[2] q; qubit[3] r; cx q, r;", "registers of different sizes"),
        ("qubit q; rx(" + "(" * 2000 + "1" + ")" * 2000 + ") q;", "nested too deeply"),
    ],
)
def test_what_is_no_circuit_is_refused(text: str, message: str) -> None:
    with pytest.raises(CircuitError, match=message):
        from_qasm3(HEAD + text)


def test_older_versions_are_named() -> None:
    with pytest.raises(CircuitError, match=r"must be OpenQASM 3; it says 2\.0"):
        from_qasm3("OPENQASM 2.0;\nqubit q;")
