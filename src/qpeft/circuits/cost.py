"""What a circuit costs: gates, depth, parameters."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from qpeft.circuits.circuit import Circuit, Operation


@dataclass(frozen=True)
class Cost:
    """Counts of one circuit.

    Attributes:
        n_qubits: register size.
        n_parameters: trainable angles.
        n_gates: operations.
        n_two_qubit: operations on two wires, the ones hardware is bad at.
        depth: longest chain of operations that share wires.
        two_qubit_depth: the same, counting only operations on two wires.
        gates: (name, count) pairs, sorted by name.
    """

    n_qubits: int
    n_parameters: int
    n_gates: int
    n_two_qubit: int
    depth: int
    two_qubit_depth: int
    gates: tuple[tuple[str, int], ...]


def circuit_cost(circuit: Circuit) -> Cost:
    """Count gates, parameters and depth.

    >>> from qpeft.circuits.ansatz import build_ansatz
    >>> cost = circuit_cost(build_ansatz("ry_cnot", 5, 8))
    >>> cost.n_parameters, cost.n_two_qubit, cost.gates
    (40, 32, (('cx', 32), ('ry', 40)))
    """
    counts = Counter(operation.gate for operation in circuit.operations)
    return Cost(
        n_qubits=circuit.n_qubits,
        n_parameters=circuit.n_parameters,
        n_gates=len(circuit),
        n_two_qubit=sum(_is_two_qubit(operation) for operation in circuit.operations),
        depth=_longest_chain(circuit, lambda operation: True),
        two_qubit_depth=_longest_chain(circuit, _is_two_qubit),
        gates=tuple(sorted(counts.items())),
    )


def _is_two_qubit(operation: Operation) -> bool:
    return len(operation.wires) == 2


def _longest_chain(circuit: Circuit, counted: Callable[[Operation], bool]) -> int:
    level = [0] * circuit.n_qubits
    for operation in circuit.operations:
        reached = max(level[wire] for wire in operation.wires) + counted(operation)
        for wire in operation.wires:
            level[wire] = reached
    return max(level)
