"""Turn a circuit into few large instructions: rotation layers, index permutations, controlled rotations."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from qpeft.circuits.circuit import Circuit, Operation
from qpeft.circuits.gates import Matrix
from qpeft.errors import CircuitError

Index = NDArray[np.int64]

MOST_QUBITS = 24


@dataclass(frozen=True)
class Local:
    """One-qubit gates between two entangling steps: for each qubit, its gates in order."""

    gates: tuple[tuple[Operation, ...], ...]


@dataclass(frozen=True, eq=False)
class Monomial:
    """A run of gates with one entry per matrix row: ``new[i] = phase[i] * old[source[i]]``."""

    source: Index
    phase: Matrix | None

    @cached_property
    def inverse(self) -> Index:
        """Where each amplitude goes: ``inverse[source[i]] = i``."""
        places = np.empty_like(self.source)
        places[self.source] = np.arange(len(places))
        return places


@dataclass(frozen=True)
class ControlledRotation:
    """A rotation of the second wire where the first is 1."""

    operation: Operation


Instruction = Local | Monomial | ControlledRotation


@lru_cache(maxsize=256)
def compile_circuit(circuit: Circuit) -> tuple[Instruction, ...]:
    """Group the operations into instructions that, in order, act like the circuit.

    >>> from qpeft.circuits import build_ansatz
    >>> [type(step).__name__ for step in compile_circuit(build_ansatz("ry_cnot", 3, 2))]
    ['Local', 'Monomial', 'Local', 'Monomial']

    Raises:
        CircuitError: the register is too large for a state vector.
    """
    if circuit.n_qubits > MOST_QUBITS:
        raise CircuitError(
            f"the simulator holds at most {MOST_QUBITS} qubits; got {circuit.n_qubits}; "
            "use a larger n_mlp, or a backend that is not a state-vector simulator"
        )
    instructions: list[Instruction] = []
    # The layers of an ansatz share one permutation: at 20 qubits it takes half a second to make, and 8 MB to hold.
    made: dict[tuple[Operation, ...], Monomial] = {}
    for kind, operations in _runs(circuit.operations):
        if kind == "local":
            instructions.append(_local(circuit.n_qubits, operations))
        elif kind == "monomial":
            key = tuple(operations)
            if key not in made:
                made[key] = _monomial(circuit.n_qubits, operations)
            instructions.append(made[key])
        else:
            instructions += [ControlledRotation(operation) for operation in operations]
    return tuple(instructions)


def qubit_groups(n_qubits: int) -> tuple[int, ...]:
    """Sizes of the qubit groups whose gates are joined into one matrix, most significant first.

    Up to 11 qubits a call costs more than a larger matrix saves; from 12 on, arithmetic counts, and matrices of 16 to
    32 rows are the fastest. Milliseconds of 8 layers forward and backward: at 7 qubits, 0.70 in two groups, 0.63 in
    one; at 11, 0.84 in two, 0.88 in three; at 12, 0.86 in three, 0.94 in two; at 16, 8.2 in four, 11.2 in three; at
    18, 34 in four, 54 in three and 43 in five; at 20, 198 in five, 260 in four.

    >>> qubit_groups(5), qubit_groups(11), qubit_groups(13)
    ((5,), (6, 5), (5, 4, 4))
    """
    n_groups = 1 if n_qubits <= 6 else 2 if n_qubits <= 11 else n_qubits // 4
    return tuple(n_qubits // n_groups + (group < n_qubits % n_groups) for group in range(n_groups))


def _kind(operation: Operation, current: str) -> str:
    gate = operation.gate_row
    if gate.n_qubits == 2:
        return "controlled" if gate.n_angles else "monomial"
    # A fixed gate such as x or s joins a running permutation for nothing.
    if current == "monomial" and not gate.n_angles and _is_monomial(gate.matrix()):
        return "monomial"
    return "local"


def _runs(operations: Iterable[Operation]) -> list[tuple[str, list[Operation]]]:
    runs: list[tuple[str, list[Operation]]] = []
    for operation in operations:
        kind = _kind(operation, runs[-1][0] if runs else "")
        if not runs or runs[-1][0] != kind:
            runs.append((kind, []))
        runs[-1][1].append(operation)
    return runs


def _is_monomial(matrix: Matrix) -> bool:
    return bool((np.count_nonzero(matrix, axis=1) == 1).all())


def _local(n_qubits: int, operations: list[Operation]) -> Local:
    gates: list[list[Operation]] = [[] for _ in range(n_qubits)]
    for operation in operations:
        gates[operation.wires[0]].append(operation)
    return Local(tuple(tuple(column) for column in gates))


def _monomial(n_qubits: int, operations: list[Operation]) -> Monomial:
    basis = np.arange(2**n_qubits)
    source, phase = basis, np.ones(2**n_qubits, dtype=np.complex128)
    for operation in operations:
        gate_source, gate_phase = _on_register(n_qubits, operation, basis)
        source, phase = source[gate_source], gate_phase * phase[gate_source]
    return Monomial(source, None if (phase == 1).all() else phase)


def _on_register(n_qubits: int, operation: Operation, basis: Index) -> tuple[Index, Matrix]:
    """Source index and phase of one gate for every basis state of the register."""
    matrix = operation.gate_row.matrix()
    columns = np.abs(matrix).argmax(axis=1)
    shifts = [n_qubits - 1 - wire for wire in operation.wires]
    row = np.zeros_like(basis)
    for shift in shifts:
        row = 2 * row + (basis >> shift & 1)
    source = basis.copy()
    for place, shift in enumerate(reversed(shifts)):
        source = source & ~(1 << shift) | (columns[row] >> place & 1) << shift
    return source, matrix[row, columns[row]]


def controlled_entries(n_qubits: int, wires: tuple[int, ...]) -> tuple[Index, Index, Index]:
    """How a controlled one-qubit gate acts: ``new[i] = table[same[i]] old[i] + table[cross[i]] old[other[i]]``.

    The table is ``(0, 1, u00, u01, u10, u11)``, u being the gate's matrix.
    """
    basis = np.arange(2**n_qubits)
    control, target = (n_qubits - 1 - wire for wire in wires)
    on, row = basis >> control & 1, basis >> target & 1
    same = np.where(on == 1, 2 + 3 * row, 1)
    cross = np.where(on == 1, 3 + row, 0)
    return same, cross, basis ^ 1 << target
