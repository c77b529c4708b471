"""Circuits for Qiskit: building, transpiling once, reading counts; the one place where the order of bits changes.

Qiskit counts the first qubit or bit of a register as the least significant one, we as the most significant. Wire i is
Qiskit's qubit i, and what has an order of its own is handed over reversed: the qubits of a prepared state or of saved
probabilities, and the bits a circuit is measured into. Every index that comes back is then ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.qiskit_circuits import append
from qpeft.errors import ConfigError, import_extra
from qpeft.quantum.backends._evaluations import Row, State

REGISTER = "c"


def qiskit_module(name: str) -> Any:
    """A module of Qiskit, Aer or the IBM runtime.

    Raises:
        MissingExtraError: it is not installed.
    """
    extra = "ibm" if name.startswith("qiskit_ibm_runtime") else "qiskit"
    return import_extra(name, "this backend needs Qiskit", f"Install it: pip install 'qpeft[{extra}]'")


def require_transpiling(level: int) -> None:
    """Raise ConfigError unless Qiskit knows the level."""
    if level not in range(4):
        raise ConfigError(f"level, the transpiler's optimisation level, must be 0, 1, 2 or 3; got {level!r}")


def to_qiskit(circuit: Circuit, state: State | None = None) -> Any:
    """A QuantumCircuit with parameters ``theta[i]``, measured into a register whose value is our basis index.

    Args:
        circuit: any circuit; wire i becomes qubit i.
        state: amplitudes of length one to start from, shape ``(2**n,)``; None is ``|0...0>``.
    """
    library = qiskit_module("qiskit.circuit")
    n = circuit.n_qubits
    program = library.QuantumCircuit(library.QuantumRegister(n, "q"), library.ClassicalRegister(n, REGISTER))
    theta = library.ParameterVector("theta", circuit.n_parameters)
    if state is not None:
        program.prepare_state(state, range(n)[::-1])
    append(program, circuit, theta)
    program.measure(range(n), range(n)[::-1])
    return program


@dataclass(frozen=True, eq=False)
class Isa:
    """A circuit in the instructions of a device, on its physical qubits.

    Attributes:
        program: a QuantumCircuit as wide as the device.
        physical_qubits: where each wire is measured; with the swaps of routing not where it starts.
        two_qubit_gates: how many.
        depth: layers of gates, with the measurement.
    """

    program: Any
    physical_qubits: tuple[int, ...]
    two_qubit_gates: int
    depth: int


def transpile(program: Any, target: Any, level: int, seed: int) -> Isa:
    """Fit a measured program to a Qiskit target; equal arguments give equal results."""
    managers = qiskit_module("qiskit.transpiler")
    manager = managers.generate_preset_pass_manager(level, target=target, seed_transpiler=seed)
    return isa_of(manager.run(program))


def isa_of(program: Any) -> Isa:
    """What there is to know about a transpiled program."""
    measured = {
        program.find_bit(item.clbits[0]).index: program.find_bit(item.qubits[0]).index
        for item in program.data
        if item.operation.name == "measure"
    }
    return Isa(
        program=program,
        physical_qubits=tuple(measured[bit] for bit in sorted(measured, reverse=True)),
        two_qubit_gates=program.num_nonlocal_gates(),
        depth=program.depth(),
    )


def bindings(program: Any, angles: Row) -> Row:
    """The columns of angles ``(B, P)`` that a program still has as parameters, in its order of them.

    Transpiling may drop one: a rotation about Z right before the measurement changes nothing.
    """
    columns = [parameter.index for parameter in program.parameters]
    return angles[:, columns]


def frequencies(counts: dict[str, int], n_qubits: int) -> Row:
    """Relative frequencies, shape ``(2**n,)``, of counts by bit string, divided by what was returned."""
    result: Row = np.zeros(2**n_qubits)
    for bits, count in counts.items():
        result[int(bits, 2)] = count
    result /= result.sum()
    return result


def count_indices(bits: NDArray[np.uint8], n_qubits: int) -> NDArray[np.int64]:
    """How often each basis index was measured, shape ``(B, 2**n)``, from packed bits ``(B, shots, bytes)``."""
    indices = np.zeros(bits.shape[:-1], dtype=np.int64)
    for byte in np.moveaxis(bits, -1, 0):
        indices = indices << 8 | byte
    return np.stack([np.bincount(row, minlength=2**n_qubits) for row in indices])


@lru_cache(maxsize=4)
def versions(*packages: str) -> dict[str, str]:
    """Versions of Qiskit and of further packages that run the circuits, for records."""
    return {name: version(name) for name in ("qiskit", *packages)}


def describe(isa: Isa, level: int, seed: int) -> dict[str, str | int | float]:
    """What a record tells about a transpiled circuit."""
    return {
        "level": level,
        "seed_transpiler": seed,
        "physical_qubits": " ".join(map(str, isa.physical_qubits)),
        "two_qubit_gates": isa.two_qubit_gates,
        "depth": isa.depth,
    }


def wires_of(program: Any, item: Any) -> Sequence[int]:
    """Qubit numbers of one instruction of a program."""
    return [program.find_bit(qubit).index for qubit in item.qubits]
