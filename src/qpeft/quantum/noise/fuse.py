"""Neighbouring elements joined into as few steps over the whole state as there are changes of the pair of wires.

A step costs a pass over all 4^n coefficients whatever it holds; joining the small matrices first costs nothing beside.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qpeft.quantum.noise.channels import Transfer
from qpeft.quantum.noise.elements import Element
from qpeft.quantum.noise.native import Turn


@dataclass(frozen=True)
class Block:
    """One step: a matrix on one wire or on two.

    Attributes:
        wires: one, or two in rising order.
        parts: numbers of stages, or for one wire the number of a run, in the order they act.
        first: which of the wires no earlier block touches.
        last: which of the wires no later block touches.
    """

    wires: tuple[int, ...]
    parts: tuple[int, ...]
    first: tuple[bool, ...]
    last: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Fused:
    """A circuit and its noise, ready for angles. A run is what happens to one wire between gates on two.

    Attributes:
        constants: radians, shape ``(E,)``; the last turn is by nothing.
        weights: factors of the parameters in the turns, shape ``(E, P)``.
        fixed: what stands around the turns of the runs, shape ``(turns + 1, runs, 4, 4)``.
        turns: the number of each turn of the runs, shape ``(turns, runs)``.
        pairs: the runs before the gates on two wires, shape ``(stages, 2)``.
        gates: those gates, shape ``(stages, 16, 16)``.
        blocks: in the order they act.
    """

    constants: NDArray[np.float64]
    weights: NDArray[np.float64]
    fixed: NDArray[np.float64]
    turns: NDArray[np.int64]
    pairs: NDArray[np.int64]
    gates: NDArray[np.float64]
    blocks: tuple[Block, ...]


@dataclass
class _Run:
    """Fixed matrices around turns: one more than there are turns."""

    fixed: list[Transfer] = field(default_factory=lambda: [np.eye(4)])
    turns: list[Turn] = field(default_factory=list)

    def add(self, what: Transfer | Turn) -> None:
        if isinstance(what, Turn):
            self.turns.append(what)
            self.fixed.append(np.eye(4))
        else:
            self.fixed[-1] = what @ self.fixed[-1]

    @property
    def idle(self) -> bool:
        return not self.turns and np.array_equal(self.fixed[0], np.eye(4))


@dataclass
class _Open:
    """A block under construction."""

    wires: tuple[int, ...]
    parts: list[int] = field(default_factory=list)


class _Fuser:
    """Collects runs, stages and blocks."""

    def __init__(self, n_qubits: int) -> None:
        self.pending = [_Run() for _ in range(n_qubits)]
        self.latest: list[_Open | None] = [None] * n_qubits
        self.runs: list[_Run] = []
        self.pairs: list[tuple[int, int]] = []
        self.gates: list[Transfer] = []
        self.blocks: list[_Open] = []

    def add(self, element: Element) -> None:
        if len(element.wires) == 1:
            self.pending[element.wires[0]].add(element.what)
            return
        assert not isinstance(element.what, Turn)
        (a, b), gate = element.wires, element.what
        if a > b:
            a, b, gate = b, a, gate.reshape(4, 4, 4, 4).transpose(1, 0, 3, 2).reshape(16, 16)
        if self.pending[a].idle and self.pending[b].idle and self._joined(a, b):
            self.gates[-1] = gate @ self.gates[-1]
            return
        block = self.latest[a]
        if block is None or block is not self.latest[b]:
            block = _Open((a, b))
            self.blocks.append(block)
            self.latest[a] = self.latest[b] = block
        self._stage(block, gate)

    def finish(self) -> None:
        """Put what is left on each wire into the last block that touches it."""
        for wire, run in enumerate(self.pending):
            block = self.latest[wire]
            if block is None:
                self.blocks.append(_Open((wire,), [self._close(wire)]))
            elif not run.idle:
                self._stage(block, np.eye(16))

    def _joined(self, a: int, b: int) -> bool:
        """Whether the last stage written acts on this pair and nothing happened to it since."""
        block = self.latest[a]
        return block is not None and block is self.latest[b] and block.parts[-1] == len(self.gates) - 1

    def _stage(self, block: _Open, gate: Transfer) -> None:
        a, b = block.wires
        block.parts.append(len(self.gates))
        self.pairs.append((self._close_last(a, block), self._close_last(b, block)))
        self.gates.append(gate)

    def _close_last(self, wire: int, block: _Open) -> int:
        # At the end, a later block may own the other wire, and with it what is left there.
        if self.latest[wire] is block:
            return self._close(wire)
        self.runs.append(_Run())
        return len(self.runs) - 1

    def _close(self, wire: int) -> int:
        self.runs.append(self.pending[wire])
        self.pending[wire] = _Run()
        return len(self.runs) - 1


def fuse(elements: list[Element], n_qubits: int, n_parameters: int) -> Fused:
    """Join elements into blocks.

    >>> from qpeft.circuits import build_ansatz
    >>> from qpeft.quantum.noise.elements import noisy_elements
    >>> from qpeft.quantum.noise.model import NoiseModel
    >>> elements = noisy_elements(build_ansatz("ry_cnot", 3, 2), NoiseModel(device="fez"))
    >>> [block.wires for block in fuse(elements, 3, 6).blocks]
    [(0, 1), (1, 2), (0, 1), (1, 2)]
    """
    fuser = _Fuser(n_qubits)
    for element in elements:
        fuser.add(element)
    fuser.finish()
    turns = [turn for run in fuser.runs for turn in run.turns]
    weights = np.zeros((len(turns) + 1, n_parameters))
    for row, turn in enumerate(turns):
        for index, factor in turn.terms:
            weights[row, index] += factor
    fixed, numbers = _stacked(fuser.runs)
    return Fused(
        constants=np.array([*(turn.constant for turn in turns), 0.0]),
        weights=weights,
        fixed=fixed,
        turns=numbers,
        pairs=np.array(fuser.pairs, dtype=np.int64).reshape(-1, 2),
        gates=np.array(fuser.gates).reshape(-1, 16, 16),
        blocks=_with_ends(fuser.blocks, n_qubits),
    )


def _stacked(runs: list[_Run]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Runs of equal length: the short ones end with turns by nothing."""
    longest = max(len(run.turns) for run in runs)
    fixed = np.broadcast_to(np.eye(4), (longest + 1, len(runs), 4, 4)).copy()
    numbers = np.full((longest, len(runs)), sum(len(run.turns) for run in runs))
    count = 0
    for column, run in enumerate(runs):
        length = len(run.turns)
        fixed[: length + 1, column] = run.fixed
        numbers[:length, column] = range(count, count + length)
        count += length
    return fixed, numbers


def _with_ends(blocks: list[_Open], n_qubits: int) -> tuple[Block, ...]:
    touching = [[number for number, block in enumerate(blocks) if wire in block.wires] for wire in range(n_qubits)]
    return tuple(
        Block(
            wires=block.wires,
            parts=tuple(block.parts),
            first=tuple(touching[wire][0] == number for wire in block.wires),
            last=tuple(touching[wire][-1] == number for wire in block.wires),
        )
        for number, block in enumerate(blocks)
    )
