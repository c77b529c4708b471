"""gradient-check: the differences are rounding errors, a wrong gradient shows, and PennyLane agrees."""

from typing import Any

import pytest
import torch

from qpeft.circuits import build_ansatz
from qpeft.quantum import EmbeddedCircuit, amplitude_embed, pauli_z, probabilities
from qpeft.training.studies import gradient_check
from qpeft.training.studies.gradient_check import Settings, draw_angles, measure, normal, of_leaf, points
from qpeft.training.studies.study import silent

SMALL = Settings(depths=(1, 2), qubits=(1, 3), tokens=2)


def test_every_circuit_in_both_readings() -> None:
    found = measure(SMALL, silent)
    assert len(found.rows) == len(points(SMALL)) == 2 * 4 * 4 * 2 * 2
    for row in found.rows:
        assert float(row["shift_max"] or 0) < 1e-14
        assert float(row["finite_max"] or 0) < 1e-8
        assert ("input_finite_max" in row) == (row["reading"] == "embedded z")
        # A hidden state may be short, and its gradient as large as the state is small.
        assert float(row.get("input_finite_relative") or 0) < 1e-6
    assert [fit["circuits"] for fit in found.fits] == [64, 64]
    worst = max(float(row["finite_max"] or 0) for row in found.rows if row["reading"] == "probabilities")
    assert found.fits[0]["finite_max"] == worst


def test_a_wrong_gradient_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gradient_check.parameter_shift_vjp

    def wrong(*arguments: Any) -> torch.Tensor:
        return right(*arguments) + 1e-6

    monkeypatch.setattr(gradient_check, "parameter_shift_vjp", wrong)
    assert all(float(row["shift_max"] or 0) > 9e-7 for row in measure(SMALL, silent).rows)


@pytest.mark.parametrize("entangler", ["chain", "ring"])
def test_gradients_are_pennylanes(entangler: str) -> None:
    qml = pytest.importorskip("pennylane")
    circuit = build_ansatz("ryrz_cnot", 3, 2, entangler)
    generator = torch.Generator().manual_seed(5)
    angles, x = draw_angles(circuit, generator), normal(generator, 6)
    of_p, of_z = normal(generator, 8), normal(generator, 3)

    def layers(values: Any) -> None:
        gates = {"ry": qml.RY, "rz": qml.RZ}
        for op in circuit.operations:
            gates[op.gate](values[op.angle.index], op.wires) if op.angle else qml.CNOT(op.wires)

    device = qml.device("default.qubit", wires=3)

    @qml.qnode(device, interface="torch", diff_method="parameter-shift")
    def probs(values: Any) -> Any:
        layers(values)
        return qml.probs(wires=range(3))

    @qml.qnode(device, interface="torch", diff_method="backprop")
    def embedded(values: Any, vector: Any) -> Any:
        qml.AmplitudeEmbedding(vector, wires=range(3), pad_with=0.0, normalize=True)
        layers(values)
        return [qml.expval(qml.PauliZ(wire)) for wire in range(3)]

    read = EmbeddedCircuit(circuit)
    pairs = [
        (angles, lambda leaf: probabilities(circuit, leaf) @ of_p, lambda leaf: probs(leaf) @ of_p),
        (angles, lambda leaf: read(x, leaf) @ of_z, lambda leaf: torch.stack(embedded(leaf, x)) @ of_z),
        (x, lambda leaf: read(leaf, angles) @ of_z, lambda leaf: torch.stack(embedded(angles, leaf)) @ of_z),
    ]
    for values, ours, theirs in pairs:
        torch.testing.assert_close(of_leaf(values, ours), of_leaf(values, theirs), atol=1e-12, rtol=0)


def test_the_cotangent_of_p_is_that_of_z_carried_back() -> None:
    circuit = build_ansatz("rx_cnot", 2, 1)
    generator = torch.Generator().manual_seed(0)
    angles, x = draw_angles(circuit, generator), normal(generator, 1, 3)
    p = probabilities(circuit, angles, amplitude_embed(x, 2))
    torch.testing.assert_close(pauli_z(p), EmbeddedCircuit(circuit)(x, angles), atol=1e-14, rtol=0)
