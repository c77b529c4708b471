"""The Aer backend: noise as Aer itself has it, readout as calibrated, transpiled once, routed and labelled right."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from qpeft.circuits import GATES, Circuit, Operation, Parameter, build_ansatz
from qpeft.errors import ConfigError
from qpeft.quantum import ExactBackend, Shots
from qpeft.quantum.backends import _devices
from qpeft.quantum.backends.aer import AerBackend, transpiled

pytest.importorskip("qiskit_aer")
ANGLES = torch.rand(4, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
PAPER = build_ansatz("ry_cnot", 5, 8)


def fake(name: str) -> Any:
    pytest.importorskip("qiskit_ibm_runtime")
    return _devices.fake_device(name)


def every_gate(n_qubits: int) -> Circuit:
    """Each gate of the table once or more, on changing wires, between rotations."""
    operations: list[Operation] = []
    count = itertools.count()
    for number, gate in enumerate(GATES.values()):
        wires = tuple((number + place) % n_qubits for place in range(gate.n_qubits))
        operations.append(Operation("ry", (wires[0],), 0.3 + number))
        angles = tuple(Parameter(next(count)) for _ in range(gate.n_angles))
        operations.append(Operation(gate.name, wires, angles or None))
    return Circuit(n_qubits, tuple(operations))


def test_every_gate() -> None:
    """Among them controlled rotations, whose bound angles Aer itself ignores."""
    circuit = every_gate(3)
    angles = torch.randn(2, circuit.n_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = ExactBackend().probabilities(circuit, angles)
    torch.testing.assert_close(AerBackend().probabilities(circuit, angles), expected, atol=1e-12, rtol=0)


def test_gate_noise_is_that_of_aer_on_the_whole_device() -> None:
    """Aer's own model of all five qubits of a small device, against the part that is cut out."""
    device = fake("fake_manila")
    aer = pytest.importorskip("qiskit_aer")
    circuit = build_ansatz("ry_cnot", 3, 4)
    angles = ANGLES[:2, :12]
    ours = AerBackend("manila").probabilities(circuit, angles)
    simulator = aer.AerSimulator.from_backend(device, method="density_matrix")
    isa = _devices.device_isa(circuit, "fake_manila", 3, 0)
    program = isa.program.remove_final_measurements(inplace=False)
    program.save_probabilities(isa.physical_qubits[::-1])
    for row, values in zip(ours, angles.tolist(), strict=True):
        bound = program.assign_parameters({p: values[p.index] for p in program.parameters})
        theirs = simulator.run(bound, shots=1).result()
        readout = _devices.cut(isa, device).readout
        expected = _devices.read(np.array(theirs.data()["probabilities"]), readout)
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-9)


def test_readout_is_asymmetric_as_calibrated() -> None:
    """Without gates, what is read wrong is the readout alone; a flip adds little."""
    properties = fake("fake_torino").properties()
    flip = Operation("x", (0,))
    for read, program in ((1, Circuit(1)), (0, Circuit(1, (flip,)))):
        (qubit,) = _devices.device_isa(program, "fake_torino", 3, 0).physical_qubits
        wrong, other = (
            properties.qubit_property(qubit, f"prob_meas{value}_prep{1 - value}")[0] for value in (read, 1 - read)
        )
        assert abs(wrong - other) > 1.5e-3
        result = AerBackend("torino").probabilities(program, torch.zeros(0, dtype=torch.float64))
        # The flip itself goes wrong with a chance below 1e-3.
        assert result[read].item() == pytest.approx(wrong, abs=1e-12 if read else 1e-3)
    np.testing.assert_allclose(
        _devices.read(np.array([0.0, 0, 1, 0]), np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.95, 0.05], [0.4, 0.6]]])),
        [0.2 * 0.95, 0.2 * 0.05, 0.8 * 0.95, 0.8 * 0.05],
    )


@pytest.mark.parametrize("device", ["torino", "fez"])
def test_shots_are_drawn_from_the_noisy_distribution(device: str) -> None:
    fake(device)
    circuit, angles = build_ansatz("ry_cnot", 3, 2), ANGLES[0, :6]
    exact = AerBackend(device).probabilities(circuit, angles)
    shots = 20_000
    counts = AerBackend(device, Shots(shots)).probabilities(circuit, angles, seed=4) * shots
    # The 1e-5 quantile of chi-square with 7 degrees of freedom is 35.3.
    assert ((counts - shots * exact).square() / (shots * exact)).sum() < 35.3


def test_size_and_noise_of_the_papers_circuit() -> None:
    """N = 5, L = 8: 32 CZ on both devices; the mean distance of four circuits, gates and readout."""
    fake("torino")
    exact = ExactBackend().probabilities(PAPER, ANGLES)
    for device, distance in (("torino", 0.087), ("fez", 0.072)):
        backend = AerBackend(device)
        assert backend.details(PAPER)["two_qubit_gates"] == 32
        found = (backend.probabilities(PAPER, ANGLES) - exact).abs().sum(-1).mean() / 2
        assert found.item() == pytest.approx(distance, abs=0.02)


def test_swaps_of_routing_do_not_move_the_result() -> None:
    fake("torino")
    circuit, angles = build_ansatz("ry_cnot", 4, 2, "all_to_all"), ANGLES[:, :8]
    exact = ExactBackend().probabilities(circuit, angles)
    distances = (AerBackend("torino").probabilities(circuit, angles) - exact).abs().sum(-1) / 2
    assert AerBackend("torino").details(circuit)["two_qubit_gates"] > 12
    assert distances.max() < 0.2


def test_a_rotation_the_transpiler_drops() -> None:
    """A turn about Z before the measurement is no parameter of the transpiled circuit."""
    fake("torino")
    circuit = Circuit(2, tuple(Operation(gate, (0,), Parameter(i)) for i, gate in enumerate(("ry", "rz"))))
    one, other = AerBackend("torino").probabilities(circuit, torch.tensor([[0.4, 0.0], [0.4, 1.0]]))
    torch.testing.assert_close(one, other)
    assert one[0] == pytest.approx(np.cos(0.2) ** 2, abs=0.05)


def test_unnormalised_states_scale_the_result() -> None:
    circuit, angles = build_ansatz("ry_cnot", 2, 1), ANGLES[0, :2]
    states = torch.tensor([[3.0, 0, 4, 0], [0, 0, 0, 0], [0, 1j, 0, 1]], dtype=torch.complex128)
    expected = ExactBackend().probabilities(circuit, angles, states)
    torch.testing.assert_close(AerBackend().probabilities(circuit, angles, states), expected)


def test_transpiled_shows_native_gates_on_physical_qubits() -> None:
    fake("torino")
    shown = transpiled(PAPER, "torino")
    assert (shown.two_qubit_gates, len(shown.physical_qubits)) == (32, 5)
    assert f"q_0 -> {shown.physical_qubits[0]}" in shown.text
    assert "√X" in shown.text
    assert "theta[39]" in shown.text
    rough = transpiled(PAPER, "torino", level=0)
    assert rough.depth > shown.depth
    assert rough.physical_qubits == (0, 1, 2, 3, 4)


def test_details_name_what_a_record_needs() -> None:
    fake("torino")
    told = AerBackend("torino", level=2, seed_transpiler=7).details(PAPER)
    assert {key: told[key] for key in ("device", "calibrated", "level", "seed_transpiler")} == {
        "device": "fake_torino",
        "calibrated": "2025-02-26",
        "level": 2,
        "seed_transpiler": 7,
    }
    assert len(str(told["physical_qubits"]).split()) == 5
    assert {"depth", "two_qubit_gates", "qiskit", "qiskit-aer"} <= set(told)
    assert set(AerBackend().details(PAPER)) == {"qiskit", "qiskit-aer"}


def test_names_of_devices() -> None:
    assert AerBackend("torino") == AerBackend("ibm_torino") == AerBackend("fake_torino")
    assert AerBackend().noise is None
    fake("torino")
    with pytest.raises(ConfigError, match="nearest: fake_torino"):
        AerBackend("turino").details(PAPER)


def test_refuses_unknown_levels() -> None:
    with pytest.raises(ConfigError, match=r"level.*0, 1, 2 or 3; got 4"):
        AerBackend(level=4)
