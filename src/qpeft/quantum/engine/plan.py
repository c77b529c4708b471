"""The tensors a compiled circuit needs on one device, made once and cached."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import torch

from qpeft.circuits.circuit import Circuit, Operation, Parameter
from qpeft.circuits.gates import Matrix
from qpeft.quantum.engine.compiling import (
    ControlledRotation,
    Index,
    Instruction,
    Local,
    Monomial,
    compile_circuit,
    controlled_entries,
    qubit_groups,
)


@dataclass(frozen=True, eq=False)
class Table:
    """The 2x2 matrices of all gates that are multiplied out; the rotations stand first.

    Attributes:
        parameters: angle index of each rotation, or None if they are 0, 1, 2, ... in order.
        at_zero: the rotations at angle 0, shape ``(R, 2, 2)``; rotation r is
            ``cos(angle/2) at_zero[r] + sin(angle/2) at_pi[r]``.
        at_pi: the rotations at angle pi, same shape.
        fixed: gates without a parameter, shape ``(F, 2, 2)``, or None.
    """

    parameters: torch.Tensor | None
    at_zero: torch.Tensor
    at_pi: torch.Tensor
    fixed: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Turn:
    """How the gates of one round depend on angles; a fixed gate has the generator 0.

    Attributes:
        angles: angle index of each gate, shape ``(S * k,)``, or None if they are 0, 1, 2, ... in order.
        generators: ``-i P/2`` of each gate, shape ``(S * k, 2, 2)``.
    """

    angles: torch.Tensor | None
    generators: torch.Tensor


@dataclass(frozen=True, eq=False)
class FactorBlock:
    """All S Kronecker factors over k qubits: which table rows build them, and how their columns are permuted.

    Attributes:
        n_qubits: k.
        rounds: for each round of gates the S * k table rows; None stands for the whole table in order.
        entries: for each entry of the stacked matrices its place among the products that outer_chain makes
            of the gates' entries, shape ``(S * 4**k,)``.
        turns: for each round how its gates depend on angles.
        phase: factor on each column, shape ``(S, 1, 2**k)``, or None.
    """

    n_qubits: int
    rounds: tuple[torch.Tensor | None, ...]
    turns: tuple[Turn, ...]
    entries: torch.Tensor
    phase: torch.Tensor | None

    @property
    def n_factors(self) -> int:
        """S."""
        return len(self.entries) >> 2 * self.n_qubits


@dataclass(frozen=True)
class ApplyFactors:
    """Multiply every qubit group by a factor; each entry is (k, factor within block k, first qubit)."""

    factors: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, eq=False)
class ApplyMonomial:
    """Reorder the amplitudes, then multiply them by a phase; ``inverse[source[i]] = i``."""

    source: torch.Tensor
    inverse: torch.Tensor
    phase: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class ApplyControlled:
    """Apply a table row to the second wire where the first is 1 (see controlled_entries)."""

    row: int
    turn: Turn
    same: torch.Tensor
    cross: torch.Tensor
    other: torch.Tensor


Step = ApplyFactors | ApplyMonomial | ApplyControlled


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything about a circuit that does not depend on angles."""

    n_qubits: int
    table: Table
    blocks: tuple[FactorBlock, ...]
    steps: tuple[Step, ...]
    ground_state: torch.Tensor

    @cached_property
    def last(self) -> ApplyMonomial | None:
        """The permutation that ends the circuit, if it does: readouts need not apply it to the state."""
        return self.steps[-1] if self.steps and isinstance(self.steps[-1], ApplyMonomial) else None

    @cached_property
    def body(self) -> tuple[Step, ...]:
        """The steps before that permutation."""
        return self.steps if self.last is None else self.steps[:-1]

    @cached_property
    def n_moments(self) -> int:
        """States on the way through the body: one after each factor, permutation and controlled rotation."""
        return sum(len(step.factors) if isinstance(step, ApplyFactors) else 1 for step in self.body)


@lru_cache(maxsize=256)
def make_plan(circuit: Circuit, device: torch.device, dtype: torch.dtype) -> Plan:
    """The plan of a circuit for matrices of this dtype: complex, or real for a real circuit."""
    instructions = compile_circuit(circuit)
    n_rotations = sum(isinstance(operation.turn, Parameter) for operation in circuit.operations)
    draft = _Draft(circuit, _Maker(device, dtype), n_rotations)
    steps: list[Step] = []
    position = 0
    while position < len(instructions):
        step, used = _step(draft, instructions[position], instructions[position + 1 : position + 2])
        steps.append(step)
        position += used
    blocks = tuple(_block(draft, size) for size in draft.chains)
    ground = np.eye(1, 2**circuit.n_qubits, dtype=np.complex128)[0]
    return Plan(circuit.n_qubits, _table(draft), blocks, tuple(steps), draft.make.values(ground))


@dataclass(frozen=True)
class _Maker:
    """Turns arrays into tensors of one device and dtype; one array becomes one tensor however often it is used."""

    device: torch.device
    dtype: torch.dtype
    made: dict[int, tuple[Index, torch.Tensor]] = field(default_factory=dict)

    def values(self, array: Matrix) -> torch.Tensor:
        return torch.as_tensor(array if self.dtype.is_complex else array.real).to(self.device, self.dtype)

    def index(self, array: Index | list[int]) -> torch.Tensor:
        if isinstance(array, list):
            return torch.tensor(array, dtype=torch.int64, device=self.device)
        if id(array) not in self.made:
            # The array is kept beside its tensor, so that no other one takes over its id.
            self.made[id(array)] = array, torch.as_tensor(array).to(self.device)
        return self.made[id(array)][1]


@dataclass
class _Draft:
    """What a walk over the instructions collects: table rows, and for each size the factors."""

    circuit: Circuit
    make: _Maker
    n_rotations: int
    rotations: list[Operation] = field(default_factory=list)
    fixed: dict[Operation | None, int] = field(default_factory=dict)
    chains: dict[int, list[list[list[int]]]] = field(default_factory=dict)
    orders: dict[int, list[Monomial | None]] = field(default_factory=dict)

    def row(self, operation: Operation | None) -> int:
        """The table row of this gate; None is the identity."""
        if operation is not None and isinstance(operation.turn, Parameter):
            self.rotations.append(operation)
            return len(self.rotations) - 1
        key = None if operation is None else Operation(operation.gate, (), operation.turn)
        return self.n_rotations + self.fixed.setdefault(key, len(self.fixed))


def _step(draft: _Draft, first: Instruction, following: tuple[Instruction, ...]) -> tuple[Step, int]:
    """The next step, and how many instructions it covers."""
    groups = qubit_groups(draft.circuit.n_qubits)
    if isinstance(first, Monomial):
        # One matrix for the whole register can take the permutation before it along, as an order of its columns.
        if len(groups) == 1 and following and isinstance(following[0], Local):
            return _factors(draft, following[0], groups, first), 2
        phase = None if first.phase is None else draft.make.values(first.phase)
        return ApplyMonomial(draft.make.index(first.source), draft.make.index(first.inverse), phase), 1
    if isinstance(first, ControlledRotation):
        entries = controlled_entries(draft.circuit.n_qubits, first.operation.wires)
        row = draft.row(first.operation)
        return ApplyControlled(row, _turn(draft, [row]), *map(draft.make.index, entries)), 1
    return _factors(draft, first, groups, None), 1


def _factors(draft: _Draft, local: Local, groups: tuple[int, ...], order: Monomial | None) -> ApplyFactors:
    factors: list[tuple[int, int, int]] = []
    first = 0
    for size in groups:
        chains = draft.chains.setdefault(size, [])
        chains.append([[draft.row(gate) for gate in column] for column in local.gates[first : first + size]])
        draft.orders.setdefault(size, []).append(order)
        factors.append((size, len(chains) - 1, first))
        first += size
    return ApplyFactors(tuple(factors))


def _block(draft: _Draft, size: int) -> FactorBlock:
    columns = [column for factor in draft.chains[size] for column in factor]
    turns = range(max(1, *map(len, columns)))
    chosen = [[column[turn] if turn < len(column) else draft.row(None) for column in columns] for turn in turns]
    whole = None if draft.fixed else list(range(len(draft.rotations)))
    rounds = tuple(None if rows == whole else draft.make.index(rows) for rows in chosen)
    round_turns = tuple(_turn(draft, rows) for rows in chosen)
    matrix, orders = _kronecker_order(size), draft.orders[size]
    placed = [4**size * at + (matrix[:, order.inverse] if order else matrix) for at, order in enumerate(orders)]
    entries = draft.make.index(np.stack(placed).ravel())
    ones = np.ones(2**size)
    phase = np.stack([ones if one is None or one.phase is None else one.phase[one.inverse] for one in orders])
    phases = None if (phase == 1).all() else draft.make.values(phase[:, None])
    return FactorBlock(size, rounds, round_turns, entries, phases)


def _turn(draft: _Draft, rows: list[int]) -> Turn:
    still: tuple[int, Matrix] = (0, np.zeros((2, 2), dtype=np.complex128))
    found = [_angle_and_generator(draft.rotations[row]) if row < draft.n_rotations else still for row in rows]
    places = [place for place, _ in found]
    in_order = places == list(range(draft.circuit.n_parameters))
    return Turn(None if in_order else draft.make.index(places), _stack(draft.make, (matrix for _, matrix in found)))


def _angle_and_generator(operation: Operation) -> tuple[int, Matrix]:
    if not isinstance(operation.turn, Parameter):
        raise TypeError("a fixed gate depends on no angle")
    return operation.turn.index, small_matrix(operation, np.pi) / 2


def _kronecker_order(n_qubits: int) -> Index:
    """Matrix of places: entry (row, column) of a Kronecker product, among entries ordered gate by gate."""
    digits = np.arange(4**n_qubits).reshape((2,) * (2 * n_qubits))
    rows_then_columns = (*range(0, 2 * n_qubits, 2), *range(1, 2 * n_qubits, 2))
    return digits.transpose(rows_then_columns).reshape(2**n_qubits, 2**n_qubits)


def _table(draft: _Draft) -> Table:
    parameters = [one.turn.index for one in draft.rotations if isinstance(one.turn, Parameter)]
    in_order = parameters == list(range(draft.circuit.n_parameters))
    return Table(
        parameters=None if in_order else draft.make.index(parameters),
        at_zero=_stack(draft.make, (small_matrix(one, 0.0) for one in draft.rotations)),
        at_pi=_stack(draft.make, (small_matrix(one, np.pi) for one in draft.rotations)),
        fixed=_stack(draft.make, map(_fixed_matrix, draft.fixed)) if draft.fixed else None,
    )


def _stack(make: _Maker, matrices: Iterable[Matrix]) -> torch.Tensor:
    return make.values(np.array(list(matrices), dtype=np.complex128).reshape(-1, 2, 2))


def _fixed_matrix(operation: Operation | None) -> Matrix:
    if operation is None:
        return np.eye(2, dtype=np.complex128)
    if isinstance(operation.turn, Parameter):
        raise TypeError("a rotation with a parameter is no fixed gate")
    return small_matrix(operation, operation.turn)


def small_matrix(operation: Operation, angle: float | None) -> Matrix:
    """The 2x2 matrix on the last wire, rid of rounding such as cos(pi/2) = 6e-17."""
    matrix = operation.gate_row.matrix(angle)[-2:, -2:]
    return np.where(np.abs(matrix) < 1e-16, 0, matrix)
