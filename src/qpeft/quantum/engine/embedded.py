"""Expectations of embedded vectors under real circuits: the factored form, or a dense matrix where that is faster.

Every hidden state of a batch goes through the same circuit. Factored: the factors of the circuit are built once and
multiplied into a few dozen states at a time, which stay in cache. Backward undoes the circuit from its last state: for
one layer there is nothing to compute again, and memory does not grow with depth (4 KB a token at 10 qubits; 8 KB for
RX, which needs two real states). Dense: the circuit's matrix is built once, by running it on basis states, and
multiplied into all states. It pays for small registers, and for deep circuits on many tokens; benchmarks/forms.py
measures where, and that single gates never do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from qpeft.circuits.circuit import Circuit, Operation
from qpeft.circuits.sizing import qubits_for_dimension
from qpeft.quantum.engine.factors import gate_table, kron_factors
from qpeft.quantum.engine.plan import ApplyFactors, ApplyMonomial, Plan, make_plan
from qpeft.quantum.engine.states import amplitude_embed, basis_bits

# States times amplitudes of a chunk: 64 states of 10 qubits. Half as many cost 15 % in calls, twice as many the cache.
CHUNK = 1 << 16
PERMUTATIONS = ("x", "cx", "swap")
# Multiplications an amplitude and layer, forward and backward: four products with the factors; three with a dense
# matrix, which run this many times as fast.
FACTORED, DENSE, FASTER = 4, 3, 1.8


@dataclass(frozen=True)
class Rotate:
    """Multiply qubit groups: (factor, first qubit, qubits) of each."""

    factors: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Permute:
    """Reorder the amplitudes; ``inverse`` puts them back."""

    source: Tensor
    inverse: Tensor


@dataclass(frozen=True, eq=False)
class Program:
    """A real circuit as what is done to a block of states, in order.

    Attributes:
        plan: The compiled circuit.
        masks: Factors on the embedded vector, shape ``(c, 2**n)``: one for each of c real states whose squares add up.
        moves: The steps before the readout.
        readout: The permutation that ends the circuit, inverted, for the rows of observables; None for none.
    """

    plan: Plan
    masks: Tensor
    moves: tuple[Rotate | Permute, ...]
    readout: Tensor | None


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept must be of use in training, too
def real_program(circuit: Circuit, device: torch.device, dtype: torch.dtype) -> Program | None:
    """The program of a circuit that needs no complex numbers, cached; None for others.

    One layer of RX gates followed by a permutation needs none either: RX = S^-1 RY S on every qubit, S only multiplies
    the real amplitude of index k by i to the number of its ones, and the S^-1 at the end changes no probability. The
    real and the imaginary amplitudes are two real states.
    """
    masks = torch.ones(1, 2**circuit.n_qubits)
    if not circuit.is_real:
        twin = _with_ry(circuit)
        if twin is None:
            return None
        ones = basis_bits(circuit.n_qubits).sum(1) % 4
        masks = torch.stack((torch.tensor([1.0, 0, -1, 0])[ones], torch.tensor([0.0, 1, 0, -1])[ones]))
        circuit = twin
    plan = make_plan(circuit, device, dtype)
    moves: list[Rotate | Permute] = []
    offsets, count = {}, 0
    for block in plan.blocks:
        offsets[block.n_qubits] = count
        count += block.n_factors
    for step in plan.body:
        if isinstance(step, ApplyFactors):
            moves.append(Rotate(tuple((offsets[size] + number, first, size) for size, number, first in step.factors)))
        elif isinstance(step, ApplyMonomial) and step.phase is None:
            moves.append(Permute(step.source, step.inverse))
        else:
            return None
    # Phases at the end, here signs, change no probability.
    readout = plan.last.inverse if plan.last else None
    return Program(plan, masks.to(device, dtype), tuple(moves), readout)


def _with_ry(circuit: Circuit) -> Circuit | None:
    """The same circuit with RY for RX, if it is RX gates followed by permutations only."""
    kinds = [
        "rx" if op.gate == "rx" else "permutation" if op.gate in PERMUTATIONS else "" for op in circuit.operations
    ]
    if "" in kinds or kinds != sorted(kinds, reverse=True):
        return None
    operations = tuple(Operation("ry", op.wires, op.angle) if op.gate == "rx" else op for op in circuit.operations)
    return Circuit(circuit.n_qubits, operations)


def embedded_expectations(
    program: Program, angles: Tensor, x: Tensor, observables: Tensor, *, dense: bool | None = None
) -> Tensor:
    """Expectations of diagonal observables after embedding x and running the program.

    Args:
        program: Of the dtype and device of x.
        angles: radians, shape ``(P,)``.
        x: shape ``(T, d)`` with d at most 2**n; a zero vector gives zeros and passes no gradient.
        observables: value of each observable on each basis state, shape ``(2**n, k)``.
        dense: Whether to multiply by one matrix; None does where it is faster.

    Returns:
        Shape ``(T, k)``.
    """
    table = gate_table(program.plan.table, angles)
    factors = [factor for block in program.plan.blocks for factor in kron_factors(block, table)]
    # The permutation that ends a circuit moves the few observables instead of every state.
    rows = observables.mT if program.readout is None else observables.mT.index_select(1, program.readout)
    if dense_pays(program, *x.shape) and x.device.type == "cpu" if dense is None else dense:
        return linear((_unit(x) @ _matrix(program, factors, x)).square(), rows)
    result: Tensor = _Expectations.apply(x, program, rows.contiguous(), *factors)  # type: ignore[no-untyped-call]
    return result


def dense_pays(program: Program, tokens: int, d: int) -> bool:
    """Whether one matrix costs less, making it included, which takes d tokens through the factors."""
    if len(program.masks) > 1:
        return False
    sizes = [1 << size for move in program.moves if isinstance(move, Rotate) for _, _, size in move.factors]
    factored = FASTER * FACTORED * sum(sizes)
    return (tokens - d) * factored > DENSE * d * tokens


def _matrix(program: Program, factors: list[Tensor], x: Tensor) -> Tensor:
    """The circuit's first d columns as rows, shape ``(d, 2**n)``."""
    return _moved(program, factors, torch.eye(x.shape[-1], program.masks.shape[1], dtype=x.dtype, device=x.device))


def _moved(program: Program, factors: Sequence[Tensor], state: Tensor) -> Tensor:
    """States of shape ``(rows, 2**n)`` after the moves of the program."""
    for move in program.moves:
        if isinstance(move, Permute):
            state = state.index_select(-1, move.source)
            continue
        for factor in move.factors:
            state = _multiply(factor, factors[factor[0]], state)
    return state


def _unit(x: Tensor) -> Tensor:
    """The vectors at length one; zero stays zero."""
    return amplitude_embed(x, qubits_for_dimension(x.shape[-1]))[..., : x.shape[-1]]


class _Expectations(torch.autograd.Function):
    """z = P(x) M / |x|^2 with P the squared amplitudes of the unnormalised state."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, program: Program, observables: Tensor, *factors: Tensor) -> Tensor:
        parts = [_forward(program, part, observables, factors) for part in _chunks(program, x)]
        z, largest, norm = (torch.cat(some) for some in zip(*(part[:3] for part in parts), strict=True))
        ctx.program, ctx.count = program, len(factors)
        ctx.save_for_backward(x, observables, z, largest, norm, *factors, *(part[3] for part in parts))
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        x, observables, z, largest, norm, *rest = ctx.saved_tensors
        factors, last = rest[: ctx.count], rest[ctx.count :]
        gradient = torch.empty_like(x)
        totals = [torch.zeros_like(factor) for factor in factors]
        with torch.autocast(x.device.type, enabled=False):
            # z does not change with the length of x: the part of the gradient along x goes.
            inward = (cotangents[0] * z).sum(-1, keepdim=True)
            wholes = (x, gradient, cotangents[0], inward, largest, norm)
            for state, *part in zip(last, *(_chunks(ctx.program, whole) for whole in wholes), strict=True):
                _backward(ctx.program, (state, observables, factors), part, totals)
            totals = [total @ factor for total, factor in zip(totals, factors, strict=True)]
        return gradient, None, None, *totals


def _chunks(program: Program, whole: Tensor) -> tuple[Tensor, ...]:
    """Views of consecutive rows; one chunk on an accelerator, where launches cost more than memory."""
    rows = max(1, CHUNK // program.masks.shape[1]) if whole.device.type == "cpu" else max(1, len(whole))
    return tuple(whole[start : start + rows] for start in range(0, max(1, len(whole)), rows))


def _forward(
    program: Program, x: Tensor, observables: Tensor, factors: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Expectations of one chunk, largest value and squared norm of x over it for each row, and the last state."""
    largest = x.abs().amax(-1, keepdim=True)  # a tenth of the time of a maximum norm
    # Squares of smaller values would leave the number range; such a vector counts as zero.
    largest = largest.masked_fill(largest < torch.finfo(x.dtype).tiny ** 0.5, torch.inf)
    unit = x / largest
    norm = unit.square().sum(-1, keepdim=True).clamp_min(1)  # less than 1 only for a zero vector
    channels, size = program.masks.shape
    state = x.new_zeros(len(x), channels, size)
    torch.mul(unit.unsqueeze(1), program.masks[:, : x.shape[-1]], out=state[..., : x.shape[-1]])
    state = _moved(program, factors, state.view(-1, size))
    # Few columns: the product is twice as fast with the observables as rows.
    return linear(_squares(state, channels), observables) / norm, largest, norm, state


def _squares(state: Tensor, channels: int) -> Tensor:
    """Squared amplitudes, the channels of a row added up."""
    if channels == 1:
        return state.square()
    real, imaginary = state.view(-1, channels, state.shape[-1]).unbind(1)
    return (real * real).addcmul_(imaginary, imaginary)


def _blocks(factor: tuple[int, int, int], state: Tensor) -> Tensor:
    """A factor's qubits as an axis, shape ``(rows, 2**k, others)``, or ``(rows, 2**k)`` where they are last."""
    _, first, qubits = factor
    right = state.shape[-1] // 2 ** (first + qubits)
    return state.view(-1, 2**qubits) if right == 1 else state.view(-1, 2**qubits, right)


def _multiply(factor: tuple[int, int, int], matrix: Tensor, state: Tensor) -> Tensor:
    blocks = _blocks(factor, state)
    if blocks.dim() == 2:
        return (blocks @ matrix.mT).view_as(state)
    return torch.bmm(matrix.expand(len(blocks), -1, -1), blocks).view_as(state)


def _backward(
    program: Program, made: tuple[Tensor, Tensor, list[Tensor]], rows: list[Tensor], totals: list[Tensor]
) -> None:
    """Write the gradient of one chunk of x; add, for each factor, the sums over all other qubits that make its own.

    With f the gradient after a factor F on some qubits and u the state there, F has the gradient ``(sum f u^T) F``.
    The sum does not change while f and u pass factors on other qubits, so one pair serves all groups of a layer.
    """
    state, observables, factors = made
    x, gradient, cotangent, inward, largest, norm = rows
    channels, size = program.masks.shape
    weight = (2 * cotangent / norm) @ observables
    flow = (state.view(-1, channels, size) * weight.unsqueeze(1)).view(-1, size)
    for place, move in reversed(list(enumerate(program.moves))):
        if isinstance(move, Permute):
            flow, state = flow.index_select(-1, move.inverse), state.index_select(-1, move.inverse)
            continue
        for factor in move.factors:
            above, below = _blocks(factor, flow), _blocks(factor, state)
            totals[factor[0]] += above.mT @ below if above.dim() == 2 else torch.bmm(above, below.mT).sum(0)
        for factor in move.factors:
            inverse = factors[factor[0]].mT
            flow = _multiply(factor, inverse, flow)
            state = _multiply(factor, inverse, state) if place else state
    d = x.shape[-1]
    masks = program.masks[:, :d]
    of_unit = flow.view(-1, channels, size)[..., :d]
    of_unit = of_unit[:, 0] if channels == 1 else (of_unit * masks).sum(1)
    torch.div(of_unit - 2 * (x / largest) * (inward / norm), largest, out=gradient)
