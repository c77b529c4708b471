"""Probabilities with a backward of their own: steps are undone, and each angle reads its gradient off two states.

Let u be the state after a rotation exp(-i angle P/2) of one qubit, and f the gradient of the loss there. With M the
2 x 2 matrix of the sums of ``f conj(u)`` over all other qubits, the gradient of the angle is Re <M, -i P/2>. M does
not change when both states pass gates on other qubits, so one look after each factor serves all qubits joined in it;
a rotation followed by a gate g on its qubit sees ``g^-1 M g``.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qpeft.quantum.engine.factors import gate_table, kron_factors, table_rows
from qpeft.quantum.engine.moves import Factors, apply, multiply, undo, unmultiply
from qpeft.quantum.engine.plan import ApplyControlled, ApplyFactors, Plan

# Bytes of states between the steps that are kept for backward; above, they are computed again from the last one, and
# memory does not depend on depth. Kept / again, milliseconds of 8 layers forward and backward on one core: 0.40 / 0.63
# at 5 qubits, 1.09 / 1.56 at 11 (0.2 MB), 3.9 / 4.8 at 13 (0.8 MB), 7.1 / 6.4 at 14 (1.5 MB), 20 / 15 at 16 (8 MB):
# what no longer fits the cache costs more to fetch than to compute.
MOST_KEPT = 1 << 20


def probabilities_of(plan: Plan, angles: Tensor, states: Tensor) -> Tensor:
    """|U(angles) states|^2, differentiable once.

    Args:
        plan: Of a circuit with one parameter or more.
        angles: radians, shape ``(..., P)``, in the precision of the plan.
        states: shape ``(..., 2**n)``, of the dtype of the plan.

    Returns:
        Shape ``(..., 2**n)``, real.
    """
    result: Tensor = _Probabilities.apply(angles, states, plan)  # type: ignore[no-untyped-call]
    return result


def squared(state: Tensor) -> Tensor:
    """Squared magnitudes; not abs()**2, whose gradient is undefined where an amplitude is 0."""
    return torch.view_as_real(state).square().sum(-1) if state.is_complex() else state.square()


def matrices(plan: Plan, angles: Tensor) -> tuple[Tensor, Factors]:
    """All gates of a plan, and the factors of its qubit groups."""
    table = gate_table(plan.table, angles)
    return table, {block.n_qubits: kron_factors(block, table) for block in plan.blocks}


class _Probabilities(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, angles: Tensor, states: Tensor, plan: Plan) -> Tensor:
        made = matrices(plan, angles)
        count = max(angles.numel() // angles.shape[-1], 1) * states.numel()  # at most so many amplitudes
        keep = plan.n_moments * count * states.itemsize <= MOST_KEPT
        kept: list[Tensor] = []
        state = states
        for step in plan.body:
            if isinstance(step, ApplyFactors):
                for size, number, _ in step.factors:
                    state = multiply(made[1][size][number], state)
                    kept.append(state)
            else:
                state = apply(step, state, *made)
                kept += [state] if isinstance(step, ApplyControlled) else []
            kept = kept if keep else []
        ctx.plan, ctx.made = plan, made if keep else None
        ctx.save_for_backward(angles, states, *(kept if keep else [state]))
        squares = squared(state)
        # A permutation at the end is applied to the probabilities: half the numbers, and its phases do not matter.
        return squares if plan.last is None else squares.index_select(-1, plan.last.source)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_autocast_enabled(cotangents[0].device.type):
            with torch.autocast(cotangents[0].device.type, enabled=False):
                return _backward(ctx, cotangents[0])
        return _backward(ctx, cotangents[0])


def _backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    plan: Plan = ctx.plan
    angles, states, *kept = ctx.saved_tensors
    keep = ctx.made is not None
    table, factors = ctx.made or matrices(plan, angles)
    looks = _Looks(plan, shared=angles.dim() == 1, at_once=keep)
    state = kept[-1]
    flow = 2 * state * (cotangent if plan.last is None else cotangent.index_select(-1, plan.last.inverse))
    for step in reversed(plan.body):
        if isinstance(step, ApplyFactors):
            for size, number, _ in reversed(step.factors):
                state = kept.pop() if keep else state
                looks.add(size, flow, state)
                flow = unmultiply(factors[size][number], flow)
                state = state if keep else unmultiply(factors[size][number], state)
            continue
        if isinstance(step, ApplyControlled):
            state = kept.pop() if keep else state
            looks.add_controlled(step, flow, state)
        flow = undo(step, flow, table, factors)
        state = state if keep else undo(step, state, table, factors)
    return (
        looks.angle_gradient(angles, table) if ctx.needs_input_grad[0] else None,
        flow.sum_to_size(states.shape) if ctx.needs_input_grad[1] else None,
        None,
    )


class _Looks:
    """Collects the sums M, from the last step to the first."""

    def __init__(self, plan: Plan, *, shared: bool, at_once: bool) -> None:
        """With ``shared`` all states of a batch add up; with ``at_once`` states are kept and summed in one product."""
        self.plan, self.shared, self.at_once = plan, shared, at_once
        self.flows: dict[int, list[Tensor]] = {block.n_qubits: [] for block in plan.blocks}
        self.states: dict[int, list[Tensor]] = {block.n_qubits: [] for block in plan.blocks}
        self.sums: dict[int, Tensor] = {}
        self.to_come = {block.n_qubits: block.n_factors for block in plan.blocks}
        self.controlled: list[tuple[ApplyControlled, Tensor]] = []

    def add(self, size: int, flow: Tensor, state: Tensor) -> None:
        """Look at the state after a factor on the qubits that are now last, and at the gradient there."""
        self.flows[size].append(flow)
        self.states[size].append(state)
        if not self.at_once:
            self._sum_up(size)

    def add_controlled(self, step: ApplyControlled, flow: Tensor, state: Tensor) -> None:
        """The same after a controlled rotation, over the basis states where the control is 1."""
        sums = flow.new_zeros(*flow.shape[:-1], 6)
        sums.index_add_(-1, step.same, flow * state.conj())
        sums.index_add_(-1, step.cross, flow * state.index_select(-1, step.other).conj())
        sums = sums.view(-1, 6).sum(0) if self.shared else sums
        self.controlled.append((step, sums[..., 2:].reshape(*sums.shape[:-1], 1, 2, 2)))

    def _sum_up(self, size: int) -> None:
        count = len(self.flows[size])
        if not count:
            return
        flow, state = (self._stacked(some[size], size) for some in (self.flows, self.states))
        products = (flow.mT @ state.conj()).flatten(-2).index_select(-1, _places(size, flow.device))
        sums = products.view(*products.shape[:-1], size, 4, -1).sum(-1)
        if size not in self.sums:
            # One tensor for all: small ones between the large that come and go would leave the heap in pieces.
            self.sums[size] = sums.new_empty(*sums.shape[:-3], self.to_come[size], size, 4)
        self.to_come[size] -= count
        self.sums[size].narrow(-3, self.to_come[size], count).copy_(sums)

    def _stacked(self, some: list[Tensor], size: int) -> Tensor:
        """First step first, shape ``(..., steps, others, 2**k)``."""
        axis = 0 if self.shared else -2
        whole = torch.stack(some[::-1], axis) if len(some) > 1 else some[0].unsqueeze(axis)
        some.clear()
        return whole.reshape(*(whole.shape[:1] if self.shared else whole.shape[:-1]), -1, 2**size)

    def angle_gradient(self, angles: Tensor, table: Tensor) -> Tensor:
        """Shape of the angles."""
        parts: list[tuple[Tensor | None, Tensor]] = []
        for step, sums in self.controlled:
            parts.append((step.turn.angles, _along(sums, step.turn.generators)))
        for block in self.plan.blocks:
            self._sum_up(block.n_qubits)
            sums = self.sums[block.n_qubits]
            sums = sums.view(*sums.shape[:-3], -1, 2, 2)
            for place, (rows, turn) in enumerate(zip(block.rounds[::-1], block.turns[::-1], strict=True)):
                parts.append((turn.angles, _along(sums, turn.generators)))
                if place + 1 < len(block.rounds):
                    gates = table_rows(table, rows)
                    sums = gates.mH @ sums @ gates
        if len(parts) == 1 and parts[0][0] is None:
            return parts[0][1].sum_to_size(angles.shape)
        batch = max((part.shape[:-1] for _, part in parts), key=len)
        total = angles.new_zeros(*batch, angles.shape[-1])
        for places, part in parts:
            total = total + part if places is None else total.index_add_(-1, places, part)
        return total.sum_to_size(angles.shape)


def _along(sums: Tensor, generators: Tensor) -> Tensor:
    return (sums.conj() * generators).real.sum((-2, -1))


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # what is kept must be of use in training, too
def _places(size: int, device: torch.device) -> Tensor:
    """Where a flat matrix over k qubits holds the entries to be summed, by qubit, its two bits and all others."""
    basis = torch.arange(2**size)
    places = []
    for shift in reversed(range(size)):
        rest = basis[basis >> shift & 1 == 0]
        rows = torch.stack((rest, rest | 1 << shift))
        places.append(rows[:, None] * 2**size + rows[None])
    return torch.stack(places).flatten().to(device)
