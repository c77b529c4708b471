"""Offline copies of IBM devices, cut down to the few qubits a circuit uses, with their noise as calibrated.

A fake backend builds the noise of all its 133 or 156 qubits, which takes half a minute; the part under a circuit
behaves the same in a fraction of a second. Aer's own model from a backend averages the two readout errors of a qubit,
reading 1 for 0 and 0 for 1; here each keeps its calibrated value.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from qpeft.circuits.circuit import Circuit
from qpeft.errors import require_choice
from qpeft.quantum.backends._evaluations import Row
from qpeft.quantum.backends._qiskit import Isa, qiskit_module, to_qiskit, transpile, wires_of

SHORT_NAMES = {"torino": "fake_torino", "fez": "fake_fez"}


def fake_name(device: str) -> str:
    """The offline copy's name: of ``torino``, ``ibm_torino`` and ``fake_torino`` alike it is ``fake_torino``.

    >>> fake_name("ibm_torino"), fake_name("fez")
    ('fake_torino', 'fake_fez')
    """
    return "fake_" + device.removeprefix("ibm_").removeprefix("fake_")


@lru_cache(maxsize=4)
def fake_device(device: str) -> Any:
    """The offline copy of an IBM device.

    Raises:
        ConfigError: there is none of this name.
        MissingExtraError: qiskit-ibm-runtime, which holds them, is not installed.
    """
    provider = qiskit_module("qiskit_ibm_runtime.fake_provider")
    kinds: list[Any] = [kind for kind in vars(provider).values() if isinstance(kind, type)]
    known = {kind.backend_name: kind for kind in kinds if issubclass(kind, provider.fake_backend.FakeBackendV2)}
    require_choice("device", fake_name(device), sorted(known))
    return known[fake_name(device)]()


def calibration_date(device: Any) -> str:
    """The day a device's errors were measured, as ``2025-02-26``."""
    return str(device.properties().last_update_date.date())


@lru_cache(maxsize=64)
def device_isa(circuit: Circuit, device: str, level: int, seed: int) -> Isa:
    """The circuit on an offline device, from |0...0>, transpiled once."""
    return transpile(to_qiskit(circuit), fake_device(device).target, level, seed)


@dataclass(frozen=True, eq=False)
class Patch:
    """The part of a device that a transpiled circuit uses.

    Attributes:
        program: the circuit on qubits 0, 1, ... of the patch, measured.
        simulator: an AerSimulator with the noise of these qubits.
        measured: the patch's qubit of every wire.
        readout: probability of reading b for a, per wire, shape ``(n, 2, 2)`` with axes (wire, a, b).
    """

    program: Any
    simulator: Any
    measured: tuple[int, ...]
    readout: Row


def cut(isa: Isa, device: Any) -> Patch:
    """The patch of a fake device under a transpiled circuit, ready to be simulated by its density matrix."""
    used = sorted({qubit for item in isa.program.data for qubit in wires_of(isa.program, item)})
    place = {qubit: number for number, qubit in enumerate(used)}
    gates = {tuple(wires_of(isa.program, item)) for item in isa.program.data} | {(qubit,) for qubit in used}
    target = _small_target(device.target, place, gates)
    readout = {qubit: _readout(device.properties(), qubit) for qubit in used}
    aer, noise = qiskit_module("qiskit_aer"), qiskit_module("qiskit_aer.noise")
    model = noise.NoiseModel(basis_gates=sorted(target.operation_names))
    for gate, qubits, error in noise.device.basic_device_gate_errors(target=target):
        model.add_quantum_error(error, gate, qubits)
    for qubit, matrix in readout.items():
        model.add_readout_error(noise.ReadoutError(matrix), [place[qubit]])
    return Patch(
        program=_on_patch(isa.program, place),
        simulator=aer.AerSimulator(method="density_matrix", noise_model=model, target=target),
        measured=tuple(place[qubit] for qubit in isa.physical_qubits),
        readout=np.stack([readout[qubit] for qubit in isa.physical_qubits]),
    )


def read(probabilities: Row, readout: Row) -> Row:
    """Probabilities ``(..., 2**n)`` of what is read, from those of what there is."""
    n = len(readout)
    result = probabilities.reshape(-1, *(2,) * n)
    for wire, matrix in enumerate(readout):
        result = np.moveaxis(np.tensordot(result, matrix, (wire + 1, 0)), -1, wire + 1)
    return result.reshape(probabilities.shape)


def _small_target(target: Any, place: dict[int, int], gates: set[tuple[int, ...]]) -> Any:
    """The target of these qubits, without the couplings nobody uses: some are dead, with errors Aer refuses."""
    transpiler = qiskit_module("qiskit.transpiler")
    small = transpiler.Target(
        num_qubits=len(place), dt=target.dt, qubit_properties=[target.qubit_properties[qubit] for qubit in place]
    )
    for name in target.operation_names:
        properties = target[name]
        # Control flow has no wires of its own, and no circuit of ours has any.
        if None not in properties:
            kept = {
                tuple(place[qubit] for qubit in qubits): value
                for qubits, value in properties.items()
                if qubits in gates
            }
            small.add_instruction(target.operation_from_name(name), kept)
    return small


def _on_patch(program: Any, place: dict[int, int]) -> Any:
    circuit = qiskit_module("qiskit.circuit")
    small = circuit.QuantumCircuit(circuit.QuantumRegister(len(place), "q"), *program.cregs)
    for item in program.data:
        small.append(item.operation, [place[qubit] for qubit in wires_of(program, item)], item.clbits)
    # Angles that were folded into a global phase do not change a probability.
    return small


def _readout(properties: Any, qubit: int) -> Row:
    one_for_zero = properties.qubit_property(qubit, "prob_meas1_prep0")[0]
    zero_for_one = properties.qubit_property(qubit, "prob_meas0_prep1")[0]
    return np.array([[1 - one_for_zero, one_for_zero], [zero_for_one, 1 - zero_for_one]])
