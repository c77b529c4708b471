"""Columns keep the order of operations and never let two symbols overlap."""

import random

from qpeft.circuits import GATES, Circuit, Operation
from qpeft.circuits.layout import columns, fold


def random_circuit(seed: int) -> Circuit:
    dice = random.Random(seed)
    gates = [dice.choice(list(GATES.values())) for _ in range(30)]
    return Circuit(
        5,
        tuple(Operation(g.name, tuple(dice.sample(range(5), g.n_qubits)), (0.1,) * g.n_angles or None) for g in gates),
    )


def test_nothing_overlaps_and_order_is_kept() -> None:
    for seed in range(20):
        circuit = random_circuit(seed)
        placed = columns(circuit, None)
        for column in placed:
            spans = [wire for symbol in column for wire in range(symbol.top, symbol.bottom + 1)]
            assert len(spans) == len(set(spans))
        for wire in range(5):
            shown = [symbol.wires for column in placed for symbol in column if wire in symbol.wires]
            assert shown == [operation.wires for operation in circuit.operations if wire in operation.wires]


def test_fold_keeps_every_column_once() -> None:
    rows = fold([3, 9, 2, 2, 2], available=5)
    assert rows == [range(0, 1), range(1, 2), range(2, 4), range(4, 5)]
    assert fold([], available=5) == [range(0, 0)]
