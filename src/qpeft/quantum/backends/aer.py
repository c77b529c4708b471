"""The Aer backend: Qiskit's simulator, noiseless or with the calibrated noise of an IBM device."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.quantum.backends._devices import Patch, calibration_date, cut, device_isa, fake_device, fake_name, read
from qpeft.quantum.backends._evaluations import Evaluations, Row, State, evaluations_of, seed_of
from qpeft.quantum.backends._qiskit import (
    Isa,
    bindings,
    describe,
    frequencies,
    qiskit_module,
    require_transpiling,
    to_qiskit,
    transpile,
    versions,
)
from qpeft.quantum.shots import Shots

# Aer's crx, cry and crz ignore an angle that is bound at run time (qiskit-aer issue 2323), so they are taken apart.
SAFE = ("rx", "ry", "rz", "x", "y", "z", "h", "s", "sdg", "t", "sx", "u", "cx", "cy", "cz", "swap", "measure")


@dataclass(frozen=True)
class Transpiled:
    """A circuit as a device runs it.

    Attributes:
        text: drawing in characters, without the idle qubits.
        two_qubit_gates: how many.
        depth: layers of gates, with the measurement.
        physical_qubits: the device's qubit of every wire.
    """

    text: str
    two_qubit_gates: int
    depth: int
    physical_qubits: tuple[int, ...]


def transpiled(circuit: Circuit, device: str, level: int = 3, seed_transpiler: int = 0) -> Transpiled:
    """The circuit in the native gates of a device, for looking at it.

    Args:
        circuit: any circuit.
        device: as of `AerBackend`.
        level: optimisation level of the transpiler, 0 to 3.
        seed_transpiler: of its random choices.

    Raises:
        ConfigError: there is no offline copy of such a device, or no such level.
        MissingExtraError: Qiskit or its IBM runtime is not installed.
    """
    require_transpiling(level)
    isa = device_isa(circuit, fake_name(device), level, seed_transpiler)
    text = str(isa.program.draw("text", idle_wires=False, fold=100))
    return Transpiled(text, isa.two_qubit_gates, isa.depth, isa.physical_qubits)


@dataclass(frozen=True)
class AerBackend:
    """Qiskit Aer, offline.

    With a device, every circuit is fitted to it once, and simulated by its density matrix with the errors of the gates
    and of the readout on the qubits it uses. Decoherence of idle qubits is not modelled (0.004 to 0.006 of total
    variation distance at 5 to 10 qubits).

    >>> AerBackend(device="ibm_torino").noise
    'fake_torino'

    Args:
        device: ``torino`` or ``fez`` (``ibm_torino`` and ``fake_torino`` mean the same), or another device whose
            calibration qiskit-ibm-runtime ships; None is noiseless.
        shots: None gives exact probabilities, through the noise where there is a device.
        level: optimisation level of the transpiler, 0 to 3; of no effect without a device.
        seed_transpiler: of its random choices.

    Raises:
        ConfigError: no such level; with the first circuit: no such device.
        MissingExtraError: with the first circuit: Qiskit Aer, or for a device the IBM runtime, is not installed.
    """

    device: str | None = None
    shots: Shots | None = None
    level: int = 3
    seed_transpiler: int = 0
    name: ClassVar[str] = "aer"
    differentiable: ClassVar[bool] = False
    input_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_transpiling(self.level)
        if self.device is not None:
            object.__setattr__(self, "device", fake_name(self.device))

    @property
    def noise(self) -> str | None:
        """The device, as ``fake_torino``; None is noiseless."""
        return self.device

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Probabilities or relative frequencies (see ``Backend.probabilities``), without gradients.

        All angles of one starting state run together; every other starting state is a circuit of its own, which takes
        much longer: a state of n qubits costs about 2**n two-qubit gates.
        """
        asked = evaluations_of(circuit, angles, states)
        result = np.empty((len(asked.angles), 2**circuit.n_qubits))
        for number, (state, rows) in enumerate(asked.groups()):
            patch = self._patch(circuit) if state is None else self._new_patch(circuit, state)
            result[rows] = self._run(patch, asked, rows, seed_of(seed, number))
        return asked.tensor(result, angles)

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """Device, calibration date, layout and gates of a circuit on it, and versions."""
        if self.device is None:
            return {**versions("qiskit-aer")}
        isa = device_isa(circuit, self.device, self.level, self.seed_transpiler)
        told = {"device": self.device, "calibrated": calibration_date(fake_device(self.device))}
        return {**told, **describe(isa, self.level, self.seed_transpiler), **versions("qiskit-aer")}

    def _run(self, patch: Patch, asked: Evaluations, rows: NDArray[np.intp], seed: int) -> Row:
        """The values of some rows, which share their starting state."""
        program = patch.program if self.shots else _saving(patch)
        values = bindings(program, asked.angles[rows])
        n = len(patch.measured)
        settings = {
            "shots": self.shots.of(n) if self.shots else 1,
            "seed_simulator": seed,
            # Aer then binds the angles itself, which halves the time of a batch.
            "runtime_parameter_bind_enable": True,
        }
        if values.shape[1]:
            binds = [dict(zip(program.parameters, values.T.tolist(), strict=True))]
            outcome = patch.simulator.run([program], parameter_binds=binds, **settings).result()
        else:
            outcome = patch.simulator.run([program] * len(rows), **settings).result()
        if self.shots:
            return np.stack([frequencies(outcome.get_counts(row), n) for row in range(len(rows))])
        exact = np.stack([outcome.data(row)["probabilities"] for row in range(len(rows))])
        return read(exact.clip(0, 1), patch.readout)

    def _patch(self, circuit: Circuit) -> Patch:
        return _cached_patch(circuit, self.device, self.level, self.seed_transpiler)

    def _new_patch(self, circuit: Circuit, state: State) -> Patch:
        return _make_patch(to_qiskit(circuit, state), self.device, self.level, self.seed_transpiler)


@lru_cache(maxsize=64)
def _cached_patch(circuit: Circuit, device: str | None, level: int, seed: int) -> Patch:
    if device is not None:
        return cut(device_isa(circuit, device, level, seed), fake_device(device))
    return _make_patch(to_qiskit(circuit), device, level, seed)


def _make_patch(program: Any, device: str | None, level: int, seed: int) -> Patch:
    if device is not None:
        return cut(transpile(program, fake_device(device).target, level, seed), fake_device(device))
    basis = qiskit_module("qiskit.transpiler").Target.from_configuration(list(SAFE), num_qubits=program.num_qubits)
    # Level 0 rewrites what is not in the basis, such as the preparation of a state, and nothing else.
    isa: Isa = transpile(program, basis, 0, seed)
    simulator = qiskit_module("qiskit_aer").AerSimulator(method="statevector")
    perfect = np.broadcast_to(np.eye(2), (len(isa.physical_qubits), 2, 2))
    return Patch(isa.program, simulator, isa.physical_qubits, perfect)


def _saving(patch: Patch) -> Any:
    """The patch's program with its probabilities saved in place of the measurement."""
    program = patch.program.remove_final_measurements(inplace=False)
    # Imported for what it adds to QuantumCircuit; wires are reversed as Qiskit counts the first as least significant.
    qiskit_module("qiskit_aer")
    program.save_probabilities(patch.measured[::-1])
    return program
