"""The circuit families of arXiv:2410.09846 and the patterns of CNOTs that entangle them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, count, pairwise

from qpeft.circuits.circuit import Circuit, Operation, Parameter, on_wires
from qpeft.errors import CircuitError, require_choice

WirePairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Ansatz:
    """One circuit family: the rotations of a layer, each on every qubit and followed by the entangler."""

    name: str
    rotations: tuple[str, ...]
    equation: str


@dataclass(frozen=True)
class Entangler:
    """One pattern of CNOTs: (control, target) pairs, in order, for a number of qubits."""

    name: str
    pairs: Callable[[int], WirePairs]
    help: str


def _chain(n_qubits: int) -> WirePairs:
    return tuple(pairwise(range(n_qubits)))


def _ring(n_qubits: int) -> WirePairs:
    # With two qubits the closing CNOT would join the pair a second time, so the ring is then the chain.
    return _chain(n_qubits) + (((n_qubits - 1, 0),) if n_qubits > 2 else ())


ANSATZE: dict[str, Ansatz] = {
    "ry_cnot": Ansatz("ry_cnot", ("ry",), "Eq. 1"),
    "rx_cnot": Ansatz("rx_cnot", ("rx",), "Eq. 12"),
    "rxrz_cnot": Ansatz("rxrz_cnot", ("rx", "rz"), "Eq. 13"),
    "ryrz_cnot": Ansatz("ryrz_cnot", ("ry", "rz"), "Eq. 14"),
}

ENTANGLERS: dict[str, Entangler] = {
    "chain": Entangler("chain", _chain, "CNOT(i, i+1), as in the paper"),
    "ring": Entangler("ring", _ring, "the chain, closed by CNOT(n-1, 0) for more than two qubits"),
    "all_to_all": Entangler("all_to_all", lambda n: tuple(combinations(range(n), 2)), "CNOT(i, j) for all i < j"),
    "none": Entangler("none", lambda n: (), "no entangling gate: the product-state twin"),
}


def angles_per_layer(name: str, n_qubits: int) -> int:
    """Number of angles one layer of this family holds.

    >>> angles_per_layer("ryrz_cnot", 5)
    10

    Raises:
        ConfigError: no family has this name.
    """
    require_choice("ansatz", name, ANSATZE)
    return len(ANSATZE[name].rotations) * n_qubits


def build_ansatz(name: str, n_qubits: int, depth: int, entangler: str = "chain") -> Circuit:
    """The circuit of a family (arXiv:2410.09846, Eqs. 1 and 12-14).

    Parameters are numbered layer by layer, then rotation by rotation, then qubit by qubit.

    >>> build_ansatz("ry_cnot", n_qubits=7, depth=8).n_parameters
    56

    Args:
        name: a key of ANSATZE.
        n_qubits: N, 1 or more.
        depth: L, the number of layers, 1 or more.
        entangler: a key of ENTANGLERS; it follows every rotation layer.

    Returns:
        A circuit with ``depth * angles_per_layer(name, n_qubits)`` parameters.

    Raises:
        ConfigError: no family or entangler has this name.
        CircuitError: n_qubits or depth is below 1.
    """
    require_choice("ansatz", name, ANSATZE)
    require_choice("entangler", entangler, ENTANGLERS)
    if n_qubits < 1 or depth < 1:
        raise CircuitError(f"an ansatz needs n_qubits >= 1 and depth >= 1; got n_qubits={n_qubits}, depth={depth}")
    entangling = on_wires("cx", ENTANGLERS[entangler].pairs(n_qubits))
    index = count()
    operations: list[Operation] = []
    for _ in range(depth):
        for rotation in ANSATZE[name].rotations:
            operations += [Operation(rotation, (qubit,), Parameter(next(index))) for qubit in range(n_qubits)]
            operations += entangling
    return Circuit(n_qubits, tuple(operations))
