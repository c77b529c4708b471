"""What the steps of a plan do to a state, forward and back; every move is unitary, so back is the adjoint."""

from torch import Tensor, cat, ones_like, zeros_like

from qpeft.quantum.engine.plan import ApplyControlled, ApplyFactors, ApplyMonomial, Step

Factors = dict[int, list[Tensor]]


def apply(step: Step, state: Tensor, table: Tensor, factors: Factors) -> Tensor:
    """The state after a step.

    Args:
        step: Of the plan that table and factors were made for.
        state: shape ``(..., 2**n)``, in the dtype of the table.
        table: All gates of the plan, shape ``(..., G, 2, 2)``.
        factors: For each group size its factors, shape ``(..., 2**k, 2**k)``.
    """
    if isinstance(step, ApplyFactors):
        for size, number, _ in step.factors:
            state = multiply(factors[size][number], state)
        return state
    if isinstance(step, ApplyMonomial):
        state = state.index_select(-1, step.source)
        return state if step.phase is None else state * step.phase
    return _controlled(step, state, table[..., step.row, :, :])


def undo(step: Step, state: Tensor, table: Tensor, factors: Factors) -> Tensor:
    """The state before a step, and as well the gradient there from the gradient after it."""
    if isinstance(step, ApplyFactors):
        for size, number, _ in reversed(step.factors):
            state = unmultiply(factors[size][number], state)
        return state
    if isinstance(step, ApplyMonomial):
        state = state if step.phase is None else state * step.phase.conj()
        return state.index_select(-1, step.inverse)
    return _controlled(step, state, table[..., step.row, :, :].mH)


def multiply(factor: Tensor, state: Tensor) -> Tensor:
    """Multiply the leading qubits by a matrix and move them to the end.

    One large matrix product for any group; once every group had its turn, the qubits are in their order again.
    """
    size, total = factor.shape[-1], state.shape[-1]
    if size == total:
        return _matrix_times_state(factor, state)
    if factor.dim() == 2 and state.dim() == 1:  # the usual case, in as few calls as it takes
        return state.view(size, -1).t().mm(factor.t()).view(-1)
    return _product(state.reshape(*state.shape[:-1], size, -1).mT, factor.mT).flatten(-2)


def unmultiply(factor: Tensor, state: Tensor) -> Tensor:
    """Undo ``multiply``."""
    size, total = factor.shape[-1], state.shape[-1]
    if size == total:
        return _matrix_times_state(factor.mH, state)
    if factor.dim() == 2 and state.dim() == 1:
        return factor.mH.mm(state.view(-1, size).t()).view(-1)
    return _product(factor.mH, state.reshape(*state.shape[:-1], -1, size).mT).flatten(-2)


def _product(left: Tensor, right: Tensor) -> Tensor:
    # torch would fold a batch into one product with the single matrix, and copy the transposed states for it.
    if left.dim() == 2 < right.dim():
        left = left.expand(*right.shape[:-2], -1, -1)
    elif right.dim() == 2 < left.dim():
        right = right.expand(*left.shape[:-2], -1, -1)
    return left @ right


def _matrix_times_state(matrix: Tensor, state: Tensor) -> Tensor:
    if matrix.dim() == 2 and state.dim() == 1:
        return matrix.mv(state)
    if matrix.dim() == 2:
        return state @ matrix.mT  # one matrix for all states: a single matrix product
    return (matrix @ state.unsqueeze(-1)).squeeze(-1)


def _controlled(step: ApplyControlled, state: Tensor, gate: Tensor) -> Tensor:
    entries = gate.flatten(-2)
    one = entries[..., :1]
    entries = cat((zeros_like(one), ones_like(one), entries), -1)  # (..., 6): 0, 1, u00, u01, u10, u11
    same, cross = entries.index_select(-1, step.same), entries.index_select(-1, step.cross)
    return same * state + cross * state.index_select(-1, step.other)
