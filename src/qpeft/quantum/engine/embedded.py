"""Expectations of embedded vectors under real circuits: chunk by chunk, in cache, nothing kept for backward.

Every hidden state of a batch goes through the same circuit, so the factors of the circuit are built once and
multiplied into a few dozen states at a time. Backward computes each chunk again instead of storing it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qpeft.circuits.circuit import Circuit, Operation
from qpeft.quantum.engine.factors import gate_table, kron_factors
from qpeft.quantum.engine.plan import ApplyFactors, ApplyMonomial, Plan, make_plan
from qpeft.quantum.engine.states import basis_bits

# States times amplitudes of a chunk: 32 states of 10 qubits, whose buffers stay in a cache of 1 MiB.
CHUNK = 1 << 15
PERMUTATIONS = ("x", "cx", "swap")


@dataclass(frozen=True, eq=False)
class Program:
    """A real circuit as what is done to a block of states, in order.

    Attributes:
        plan: The compiled circuit.
        masks: Factors on the embedded vector, shape ``(c, 2**n)``: one for each of c real states whose squares add up.
        moves: (factor, first qubit, qubits), or a permutation of the amplitudes with its inverse.
        readout: The permutation that ends the circuit, inverted, for the rows of observables; None for none.
    """

    plan: Plan
    masks: Tensor
    moves: tuple["Move", ...]
    readout: Tensor | None


Move = tuple[int, int, int] | tuple[Tensor, Tensor]


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
    moves: list[Move] = []
    offsets, count = {}, 0
    for block in plan.blocks:
        offsets[block.n_qubits] = count
        count += len(block.entries) // 4**block.n_qubits
    for step in plan.steps:
        if isinstance(step, ApplyFactors):
            moves += [(offsets[size] + number, first, size) for size, number, first in step.factors]
        elif isinstance(step, ApplyMonomial) and step.phase is None:
            moves.append((step.source, step.source.argsort()))
        else:
            return None
    last = moves.pop() if moves and len(moves[-1]) == 2 else None
    return Program(plan, masks.to(device, dtype), tuple(moves), last[1] if last and len(last) == 2 else None)


def _with_ry(circuit: Circuit) -> Circuit | None:
    """The same circuit with RY for RX, if it is RX gates followed by permutations only."""
    kinds = [
        "rx" if op.gate == "rx" else "permutation" if op.gate in PERMUTATIONS else "" for op in circuit.operations
    ]
    if "" in kinds or kinds != sorted(kinds, reverse=True):
        return None
    operations = tuple(Operation("ry", op.wires, op.angle) if op.gate == "rx" else op for op in circuit.operations)
    return Circuit(circuit.n_qubits, operations)


def embedded_expectations(program: Program, angles: Tensor, x: Tensor, observables: Tensor) -> Tensor:
    """Expectations of diagonal observables after embedding x and running the program.

    Args:
        program: Of the dtype and device of x.
        angles: radians, shape ``(P,)``.
        x: shape ``(T, d)`` with d at most 2**n; a zero vector gives zeros and passes no gradient.
        observables: value of each observable on each basis state, shape ``(2**n, k)``.

    Returns:
        Shape ``(T, k)``.
    """
    table = gate_table(program.plan.table, angles)
    factors = [factor for block in program.plan.blocks for factor in kron_factors(block, table)]
    # The permutation that ends a circuit moves the few observables instead of every state.
    observables = observables if program.readout is None else observables.index_select(0, program.readout)
    result: Tensor = _Expectations.apply(x, program, observables, *factors)  # type: ignore[no-untyped-call]
    return result


class _Expectations(torch.autograd.Function):
    """z = P(x) M / |x|^2 with P the squared amplitudes of the unnormalised state."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, program: Program, observables: Tensor, *factors: Tensor) -> Tensor:
        ctx.program = program
        ctx.save_for_backward(x, observables, *factors)
        parts = [_forward(program, part, observables, factors) for part in _chunks(program, x)]
        return torch.cat([z for z, _, _ in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        x, observables, *factors = ctx.saved_tensors
        gradient = torch.empty_like(x)
        totals = [torch.zeros_like(factor) for factor in factors]
        chunks = (_chunks(ctx.program, whole) for whole in (x, gradient, cotangents[0]))
        with torch.autocast(x.device.type, enabled=False):
            for part, out, cotangent in zip(*chunks, strict=True):
                _backward(ctx.program, (part, observables, factors), cotangent, (out, totals))
        return gradient, None, None, *totals


def _chunks(program: Program, whole: Tensor) -> tuple[Tensor, ...]:
    """Views of consecutive rows; one chunk on an accelerator, where launches cost more than memory."""
    rows = max(1, CHUNK // program.masks.shape[1]) if whole.device.type == "cpu" else max(1, len(whole))
    return tuple(whole[start : start + rows] for start in range(0, max(1, len(whole)), rows))


def _forward(
    program: Program, x: Tensor, observables: Tensor, factors: tuple[Tensor, ...] | list[Tensor]
) -> tuple[Tensor, tuple[Tensor, Tensor], list[Tensor]]:
    """Expectations of one chunk, (largest value, squared norm of x over it) a row, and the state before each move."""
    largest = x.abs().amax(-1, keepdim=True)
    # Squares of smaller values would leave the number range; such a vector counts as zero.
    largest = largest.masked_fill(largest < torch.finfo(x.dtype).tiny ** 0.5, torch.inf)
    unit = x / largest
    norm = unit.square().sum(-1, keepdim=True).clamp_min(1)  # less than 1 only for a zero vector
    channels, size = program.masks.shape
    padded = torch.nn.functional.pad(unit, (0, size - x.shape[-1]))
    states = [(padded.unsqueeze(1) * program.masks).view(-1, size)]
    for move in program.moves:
        states.append(_apply(move, states[-1], factors))
    squares = states[-1] * states[-1]
    read = (squares @ observables).view(-1, channels, observables.shape[1]).sum(1)
    return read / norm, (largest, norm), states


def _apply(move: Move, state: Tensor, factors: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
    if len(move) == 2:
        return state.index_select(-1, move[0])
    number, first, size = move
    factor, left, middle = factors[number], 2**first, 2**size
    blocks = state.view(-1, middle, state.shape[-1] // left // middle)
    if blocks.shape[-1] == 1:
        return (blocks.squeeze(-1) @ factor.mT).view_as(state)
    return torch.bmm(factor.expand(blocks.shape[0], -1, -1), blocks).view_as(state)


def _backward(
    program: Program,
    inputs: tuple[Tensor, Tensor, list[Tensor]],
    cotangent: Tensor,
    outputs: tuple[Tensor, list[Tensor]],
) -> None:
    """Write the gradient of one chunk of x, add those of the factors."""
    x, observables, factors = inputs
    z, (largest, norm), states = _forward(program, x, observables, factors)
    channels, size = program.masks.shape
    weight = (2 * cotangent / norm) @ observables.mT
    flow = (states[-1].view(-1, channels, size) * weight.unsqueeze(1)).view(-1, size)
    for move, before in zip(reversed(program.moves), reversed(states[:-1]), strict=True):
        if len(move) == 2:
            flow = flow.index_select(-1, move[1])
            continue
        number, first, qubits = move
        factor, middle = factors[number], 2**qubits
        shape = (-1, middle, size // 2**first // middle)
        above, below = flow.view(shape), before.view(shape)
        if shape[-1] == 1:
            outputs[1][number] += above.squeeze(-1).mT @ below.squeeze(-1)
            flow = (above.squeeze(-1) @ factor).view(-1, size)
        else:
            outputs[1][number] += torch.bmm(above, below.mT).sum(0)
            flow = torch.bmm(factor.mT.expand(above.shape[0], -1, -1), above).view(-1, size)
    d = x.shape[-1]
    of_unit = (flow.view(-1, channels, size) * program.masks).sum(1)[:, :d]
    # z does not change with the length of x: the part of the gradient along x goes.
    of_unit -= 2 * (x / largest) * ((cotangent * z).sum(-1, keepdim=True) / norm)
    torch.div(of_unit, largest, out=outputs[0])
