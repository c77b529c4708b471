"""The simulator under device noise against qiskit-aer's density matrices: same native circuit, same calibration."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from qpeft.circuits import GATES, Circuit, build_ansatz
from qpeft.quantum.noise import (
    DEVICES,
    Device,
    NativeCircuit,
    NoiseModel,
    load_device,
    native_circuit,
    noisy_probabilities,
)
from qpeft.quantum.noise.channels import transfer_of
from qpeft.quantum.noise.elements import on_device
from qpeft.quantum.noise.native import NativeGate

noise = pytest.importorskip("qiskit_aer.noise")
aer = pytest.importorskip("qiskit_aer")
qiskit = pytest.importorskip("qiskit")
transpiler = pytest.importorskip("qiskit.transpiler")
info = pytest.importorskip("qiskit.quantum_info")
library = pytest.importorskip("qiskit.circuit.library")

Angles = Callable[..., torch.Tensor]


def target_of(device: Device) -> Any:
    """A Qiskit target with the numbers of the device; Aer makes its own noise of them."""
    qubits = [transpiler.QubitProperties(t1=qubit.t1, t2=qubit.t2) for qubit in device.qubits]
    target = transpiler.Target(num_qubits=len(qubits), qubit_properties=qubits)
    numbers = transpiler.InstructionProperties
    sx = {(i,): numbers(qubit.sx_duration, qubit.sx_error) for i, qubit in enumerate(device.qubits)}
    x = {(i,): numbers(qubit.x_duration, qubit.x_error) for i, qubit in enumerate(device.qubits)}
    cz = {
        pair: numbers(edge.cz_duration, edge.cz_error)
        for i, edge in enumerate(device.edges)
        for pair in ((i, i + 1), (i + 1, i))
    }
    for gate, properties in ((library.SXGate(), sx), (library.XGate(), x), (library.CZGate(), cz)):
        if properties:
            target.add_instruction(gate, properties)
    return target


def noise_of(device: Device) -> Any:
    """Aer's noise of the gates, and the readout errors in both directions."""
    model = noise.NoiseModel(basis_gates=["rz", "sx", "x", "cz"])
    for name, qubits, error in noise.device.basic_device_gate_errors(target=target_of(device)):
        model.add_quantum_error(error, name, qubits)
    return model


def program_of(native: NativeCircuit, angles: torch.Tensor) -> Any:
    program = qiskit.QuantumCircuit(native.n_qubits)
    for gate in native.gates:
        if gate.turn is None:
            getattr(program, gate.name)(*gate.wires)
        else:
            value = gate.turn.constant + sum(factor * float(angles[index]) for index, factor in gate.turn.terms)
            program.rz(value, *gate.wires)
    program.save_density_matrix()
    return program


def probabilities_of_aer(circuit: Circuit, device: Device, angles: torch.Tensor) -> np.ndarray:
    simulator = aer.AerSimulator(method="density_matrix", noise_model=noise_of(device), max_parallel_threads=1)
    program = program_of(native_circuit(circuit), angles)
    rho = np.asarray(simulator.run(program, shots=1).result().data()["density_matrix"])
    n = circuit.n_qubits
    # Qiskit counts qubit 0 as the least significant bit.
    return rho.diagonal().real.reshape((2,) * n).transpose(range(n)[::-1]).ravel()


def read(probabilities: np.ndarray, device: Device) -> np.ndarray:
    """The readout errors, by Qiskit's own assignment matrices."""
    result = probabilities.reshape((2,) * len(device.qubits))
    for axis, qubit in enumerate(device.qubits):
        error = noise.ReadoutError([[1 - qubit.p10, qubit.p10], [qubit.p01, 1 - qubit.p01]])
        result = np.moveaxis(np.tensordot(error.probabilities.T, result, (1, axis)), 0, axis)
    return result.ravel()


def assert_aers(circuit: Circuit, name: str, angles: torch.Tensor) -> None:
    """Aer's density matrices are good to about 6e-9: Qiskit's slow ones, below, agree with ours to 1e-13."""
    device = load_device(name, circuit.n_qubits)
    theirs = probabilities_of_aer(circuit, device, angles)
    gates, both = NoiseModel(device=name, readout=0.0), NoiseModel(device=name)
    np.testing.assert_allclose(noisy_probabilities(circuit, gates, angles), theirs, atol=2e-8)
    np.testing.assert_allclose(noisy_probabilities(circuit, both, angles), read(theirs, device), atol=2e-8)
    single = noisy_probabilities(circuit, both, angles.float())
    np.testing.assert_allclose(single, read(theirs, device), atol=2e-6)


@pytest.mark.parametrize("name", DEVICES)
def test_the_noise_of_each_gate(name: str) -> None:
    device = load_device(name, 6)
    errors = noise.device.basic_device_gate_errors(target=target_of(device))
    assert len(errors) == 6 + 6 + 10
    for gate, wires, error in errors:
        # Qiskit's first qubit is the innermost; ours, the outermost.
        ideal = transfer_of(GATES[gate].matrix())
        ours = on_device(NativeCircuit(6, (NativeGate(gate, wires[::-1]),)), device)[0].what @ ideal.T
        np.testing.assert_allclose(ours, info.PTM(error).data.real, atol=1e-12)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("n", [1, 3, 5, 7])
def test_the_ansatz(name: str, n: int, angles_of: Angles) -> None:
    circuit = build_ansatz("ry_cnot", n, 8 if n < 7 else 4)
    assert_aers(circuit, name, angles_of(circuit, n))


@pytest.mark.parametrize("name", DEVICES)
def test_qiskits_own_density_matrix(name: str, line_circuit: Callable[..., Circuit], angles_of: Angles) -> None:
    circuit, device = line_circuit(7, 3, 30), load_device(name, 3)
    angles = angles_of(circuit)
    program = program_of(native_circuit(circuit), angles)
    errors = {
        (gate, tuple(wires)): info.SuperOp(error)
        for gate, wires, error in noise.device.basic_device_gate_errors(target=target_of(device))
    }
    rho = info.DensityMatrix.from_int(0, 8)
    for step in program.data[:-1]:  # the last one saves the state
        wires = [program.find_bit(bit).index for bit in step.qubits]
        rho = rho.evolve(step.operation, wires)
        error = errors.get((step.operation.name, tuple(wires)))
        rho = rho if error is None else rho.evolve(error, wires)
    theirs = rho.data.diagonal().real.reshape(2, 2, 2).transpose(2, 1, 0).ravel()
    ours = noisy_probabilities(circuit, NoiseModel(device=name, readout=0.0), angles)
    np.testing.assert_allclose(ours, theirs, atol=1e-13)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_any_circuit_of_a_line(name: str, seed: int, line_circuit: Callable[..., Circuit], angles_of: Angles) -> None:
    circuit = line_circuit(seed, 4, 40)
    assert_aers(circuit, name, angles_of(circuit, seed))
