"""A circuit and its noise as one sequence of fixed transfer matrices and noiseless turns about Z."""

from dataclasses import dataclass

import numpy as np

from qpeft.circuits.circuit import Circuit, Operation
from qpeft.circuits.gates import gate_named
from qpeft.quantum.noise.channels import (
    Transfer,
    amplitude_damping,
    beside,
    depolarizing,
    gate_error,
    phase_damping,
    thermal_relaxation,
    transfer_of,
)
from qpeft.quantum.noise.device import Device, load_device
from qpeft.quantum.noise.model import NoiseModel
from qpeft.quantum.noise.native import NativeCircuit, NativeGate, Turn, native_circuit, rotation_pieces, turn_of


@dataclass(frozen=True, eq=False)
class Element:
    """What happens to one or two wires: a transfer matrix, or a turn about Z by an angle."""

    wires: tuple[int, ...]
    what: Transfer | Turn


def noisy_elements(circuit: Circuit, noise: NoiseModel) -> list[Element]:
    """The gates of a circuit with their noise, in the order they act.

    >>> from qpeft.circuits import build_ansatz
    >>> len(noisy_elements(build_ansatz("ry_cnot", 1, 1), NoiseModel(depolarizing=0.1)))
    4

    Raises:
        CircuitError: the circuit does not fit the line of the device.
        ConfigError: the device has no line of this length.
    """
    if noise.device is not None:
        return on_device(native_circuit(circuit), load_device(noise.device, circuit.n_qubits))
    after = {size: _after_gate(noise, size) for size in (1, 2)}
    elements: list[Element] = []
    for operation in circuit.operations:
        elements += _gate(operation)
        channel = after[len(operation.wires)]
        if channel is not None:
            elements.append(Element(operation.wires, channel))
    return elements


def on_device(circuit: NativeCircuit, device: Device) -> list[Element]:
    """Native gates, each followed by the noise of the qubits it acts on."""
    return [_native(gate, device) for gate in circuit.gates]


def _native(gate: NativeGate, device: Device) -> Element:
    if gate.turn is not None:
        return Element(gate.wires, gate.turn)
    qubits = [device.qubits[wire] for wire in gate.wires]
    if gate.name == "cz":
        edge = device.edges[min(gate.wires)]
        error, duration = edge.cz_error, edge.cz_duration
    elif gate.name == "x":
        error, duration = qubits[0].x_error, qubits[0].x_duration
    else:
        error, duration = qubits[0].sx_error, qubits[0].sx_duration
    relaxation = beside(*(thermal_relaxation(qubit.t1, qubit.t2, duration) for qubit in qubits))
    return Element(gate.wires, gate_error(error, relaxation) @ transfer_of(gate_named(gate.name).matrix()))


def _gate(operation: Operation) -> list[Element]:
    """One gate of the circuit without noise."""
    name, wires = operation.gate, operation.wires
    if not operation.gate_row.n_angles:
        return [Element(wires, transfer_of(operation.gate_row.matrix()))]
    target = wires[-1:]
    if len(wires) == 1:
        return [_piece(target, piece) for piece in rotation_pieces(name[-1], turn_of(operation))]
    # A controlled rotation is half a turn one way, and half a turn back where the control is 0.
    before, ahead, after = rotation_pieces(name[-1], turn_of(operation, 0.5))
    flip = Element(wires, transfer_of(gate_named("cx").matrix()))
    return [
        *(_piece(target, before), _piece(target, ahead), flip),
        *(_piece(target, turn_of(operation, -0.5)), flip, _piece(target, after)),
    ]


def _piece(wires: tuple[int, ...], piece: Turn | np.ndarray) -> Element:
    return Element(wires, piece if isinstance(piece, Turn) else transfer_of(piece))


def _after_gate(noise: NoiseModel, size: int) -> Transfer | None:
    """The channel after a gate on this many qubits, or None where there is none."""
    together, seconds = (noise.depolarizing, noise.gate_time) if size == 1 else (noise.depolarizing2, noise.gate_time2)
    each = thermal_relaxation(noise.t1, noise.t2, seconds) @ phase_damping(noise.phase_damping)
    each = each @ amplitude_damping(noise.amplitude_damping)
    channel = beside(*[each] * size) @ depolarizing(together, size)
    return None if np.array_equal(channel, np.eye(4**size)) else channel
