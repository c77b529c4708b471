"""Patterns of entangling gates: which pairs of wires a layer joins, in order."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise

from qpeft.registry import Registry

WirePairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Entangler:
    """One pattern: (control, target) pairs, in order, for a number of qubits and the number of the layer."""

    name: str
    of_layer: Callable[[int, int], WirePairs]
    help: str

    def pairs(self, n_qubits: int, layer: int = 0) -> WirePairs:
        """The pairs of one layer, counted from 0."""
        return self.of_layer(n_qubits, layer)


def _chain(n_qubits: int, layer: int = 0) -> WirePairs:
    return tuple(pairwise(range(n_qubits)))


def _ring(n_qubits: int, layer: int = 0) -> WirePairs:
    # With two qubits the closing pair would join both a second time, so the ring is then the chain.
    return _chain(n_qubits) + (((n_qubits - 1, 0),) if n_qubits > 2 else ())


def _circular(n_qubits: int, layer: int = 0) -> WirePairs:
    return _ring(n_qubits)[-1:] + _chain(n_qubits) if n_qubits > 2 else _chain(n_qubits)


def _shifted(n_qubits: int, layer: int) -> WirePairs:
    pairs = _circular(n_qubits)
    cut = len(pairs) - layer % max(1, len(pairs))
    moved = pairs[cut:] + pairs[:cut]
    return tuple((target, control) for control, target in moved) if layer % 2 else moved


def _bricks(n_qubits: int, first: int) -> WirePairs:
    return tuple((wire, wire + 1) for wire in range(first, n_qubits - 1, 2))


def _ranged(n_qubits: int, layer: int) -> WirePairs:
    if n_qubits < 3:
        return _chain(n_qubits) if n_qubits < 2 else ((0, 1), (1, 0))
    step = layer % (n_qubits - 1) + 1
    return tuple((wire, (wire + step) % n_qubits) for wire in range(n_qubits))


ENTANGLERS: Registry[Entangler] = Registry("entangler")


def register_entangler(name: str, pairs: Callable[[int, int], WirePairs], help: str = "") -> None:
    """Make a pattern known by a name, to configs, recipes, the command line and error messages.

    >>> register_entangler("doc_ends", lambda n_qubits, layer: ((0, n_qubits - 1),))
    >>> ENTANGLERS["doc_ends"].pairs(4)
    ((0, 3),)
    >>> ENTANGLERS.remove("doc_ends")

    Args:
        name: letters, digits and underscores; not taken.
        pairs: from the number of qubits and that of the layer, counted from 0, to the pairs of wires, in order.
        help: one line for lists.

    Raises:
        ConfigError: the name is taken by another pattern, or is no word.
    """
    ENTANGLERS.register(name, Entangler(name, pairs, help))


for _row in (
    Entangler("chain", _chain, "(i, i+1), as in arXiv:2410.09846"),
    Entangler("reverse_chain", lambda n, layer: _chain(n)[::-1], "the chain from its end"),
    Entangler("ring", _ring, "the chain, closed by (n-1, 0) for more than two qubits"),
    Entangler("circular", _circular, "the same, the closing pair first, as in Qiskit"),
    Entangler("all_to_all", lambda n, layer: tuple(combinations(range(n), 2)), "(i, j) for all i < j"),
    Entangler("pairwise", lambda n, layer: _bricks(n, 0) + _bricks(n, 1), "(0, 1), (2, 3), ..., then (1, 2), ..."),
    Entangler("brick", lambda n, layer: _bricks(n, layer % 2), "(0, 1), (2, 3), ... and (1, 2), ... in turn"),
    Entangler("star", lambda n, layer: tuple((0, wire) for wire in range(1, n)), "(0, i) for all i"),
    Entangler("sca", _shifted, "circular, shifted by a pair a layer, controls and targets exchanged in turn"),
    Entangler("ranged", _ranged, "(i, i + r), r = 1, 2, ... in turn, as in StronglyEntanglingLayers"),
    Entangler("none", lambda n, layer: (), "no entangling gate: the product-state twin"),
):
    ENTANGLERS.own(_row.name, _row)
