"""Exact state-vector simulation: the state and the probabilities of a circuit, differentiable by autograd."""

from collections.abc import Sequence

import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.errors import ShapeError
from qpeft.quantum.engine.factors import gate_table, kron_factors
from qpeft.quantum.engine.plan import ApplyControlled, ApplyFactors, ApplyMonomial, Plan, Step, make_plan


def probabilities(circuit: Circuit, angles: Tensor, states: Tensor | None = None) -> Tensor:
    """Probabilities of all basis states after the circuit, ``|U(angles) states|^2``.

    >>> from qpeft.circuits import build_ansatz
    >>> probabilities(build_ansatz("ry_cnot", 2, 1), torch.tensor([torch.pi, 0.0])).round(decimals=3)
    tensor([0., 0., 0., 1.])

    Args:
        circuit: any circuit; its compiled form is cached.
        angles: radians, shape ``(..., P)``, float32 or float64.
        states: amplitudes before the circuit, shape ``(..., 2**n)``, real or complex; None is ``|0...0>``.
            Leading axes of angles and states broadcast.

    Returns:
        Values in [0, 1] that sum to the squared norm of the states, shape ``(..., 2**n)``, real.

    Raises:
        ShapeError: the last axis of angles or states does not fit the circuit, or angles are not float32 or float64.
        CircuitError: the register is too large for a state vector.
    """
    plan, angles = _prepare(circuit, angles, states)
    last = plan.steps[-1] if plan.steps else None
    order = last.source if isinstance(last, ApplyMonomial) else None
    # A permutation at the end is applied to the probabilities: half the numbers, and its phases do not matter.
    steps = plan.steps if order is None else plan.steps[:-1]
    state = _run(plan, steps, angles, states)
    # Not abs()**2: its gradient is undefined where an amplitude is 0.
    squares = torch.view_as_real(state).square().sum(-1) if state.is_complex() else state.square()
    return squares if order is None else squares.index_select(-1, order)


def final_state(circuit: Circuit, angles: Tensor, states: Tensor | None = None) -> Tensor:
    """Amplitudes after the circuit; real as long as the circuit and the states are real.

    >>> from qpeft.circuits import Circuit, Operation
    >>> final_state(Circuit(1, (Operation("h", (0,)),)), torch.zeros(0))
    tensor([0.7071, 0.7071])

    Args:
        circuit: any circuit; its compiled form is cached.
        angles: radians, shape ``(..., P)``, float32 or float64.
        states: amplitudes before the circuit, shape ``(..., 2**n)``, real or complex; None is ``|0...0>``.

    Returns:
        Shape ``(..., 2**n)``.

    Raises:
        ShapeError: the last axis of angles or states does not fit the circuit, or angles are not float32 or float64.
        CircuitError: the register is too large for a state vector.
    """
    plan, angles = _prepare(circuit, angles, states)
    return _run(plan, plan.steps, angles, states)


def _prepare(circuit: Circuit, angles: Tensor, states: Tensor | None) -> tuple[Plan, Tensor]:
    """The circuit's plan in the dtype it needs, and the angles in that precision."""
    require_shapes(circuit, angles, states)
    real = angles.dtype if states is None else torch.promote_types(angles.dtype, _real_dtype(states))
    dtype = real if circuit.is_real else real.to_complex()
    with torch.inference_mode(False):  # the plan is kept, and must be of use in training, too
        plan = make_plan(circuit, angles.device, dtype)
    return plan, angles.to(real)


def _run(plan: Plan, steps: Sequence[Step], angles: Tensor, states: Tensor | None) -> Tensor:
    """The state after some steps of a plan."""
    # A model under autocast must not lower the precision of the circuit.
    if torch.is_autocast_enabled(angles.device.type):
        with torch.autocast(angles.device.type, enabled=False):
            return _run(plan, steps, angles, states)
    state = plan.ground_state if states is None else states
    dtype = torch.promote_types(plan.ground_state.dtype, state.dtype)
    state = state.to(dtype)
    table = gate_table(plan.table, angles)
    factors = {block.n_qubits: kron_factors(block, table) for block in plan.blocks}
    if dtype != plan.ground_state.dtype:
        table = table.to(dtype)
        factors = {size: [factor.to(dtype) for factor in block] for size, block in factors.items()}
    for step in steps:
        if isinstance(step, ApplyFactors):
            for size, number, first in step.factors:
                state = _apply_factor(state, factors[size][number], first, size, plan.n_qubits)
        elif isinstance(step, ApplyMonomial):
            state = state.index_select(-1, step.source)
            state = state if step.phase is None else state * step.phase
        else:
            state = _apply_controlled(state, table, step)
    if angles.shape[-1] == 0 and angles.dim() > 1:
        # Without rotations nothing has brought in the batch axes of the angles yet.
        state = state + angles.new_zeros(*angles.shape[:-1], 1)
    return state


def _apply_factor(state: Tensor, factor: Tensor, first: int, size: int, n_qubits: int) -> Tensor:
    """Multiply the qubits first .. first + size - 1 by a matrix of shape ``(..., 2**size, 2**size)``."""
    left, middle, right = 2**first, 2**size, 2 ** (n_qubits - first - size)
    if left == right == 1:
        return _matrix_times_state(factor, state)
    batch = state.shape[:-1]
    if right == 1:
        result = state.reshape(*batch, left, middle) @ factor.mT
    elif left == 1:
        result = factor @ state.reshape(*batch, middle, right)
    else:
        result = (factor.unsqueeze(-3) @ state.reshape(*batch, left, middle, right)).flatten(-3, -2)
    return result.flatten(-2)


def _matrix_times_state(matrix: Tensor, state: Tensor) -> Tensor:
    if matrix.dim() == 2 and state.dim() == 1:
        return matrix.mv(state)
    if matrix.dim() == 2:
        return state @ matrix.mT  # one matrix for all states: a single matrix product
    return (matrix @ state.unsqueeze(-1)).squeeze(-1)


def _apply_controlled(state: Tensor, table: Tensor, step: ApplyControlled) -> Tensor:
    gate = table[..., step.row, :, :].flatten(-2)
    constants = torch.stack((torch.zeros_like(gate[..., 0]), torch.ones_like(gate[..., 0])), -1)
    entries = torch.cat((constants, gate), -1)  # (..., 6): 0, 1, u00, u01, u10, u11
    same, cross = entries.index_select(-1, step.same), entries.index_select(-1, step.cross)
    return same * state + cross * state.index_select(-1, step.other)


def _real_dtype(states: Tensor) -> torch.dtype:
    return states.dtype.to_real() if states.is_complex() else states.dtype


def require_shapes(circuit: Circuit, angles: Tensor, states: Tensor | None) -> None:
    """Raise ShapeError unless the angles, and the states where there are some, fit the circuit."""
    if angles.dtype not in (torch.float32, torch.float64):
        raise ShapeError(f"angles must be float32 or float64; got {angles.dtype}; use angles.float()")
    if angles.dim() == 0 or angles.shape[-1] != circuit.n_parameters:
        raise ShapeError(
            f"angles must have {circuit.n_parameters} values on the last axis, one per parameter of the circuit; "
            f"got shape {tuple(angles.shape)}"
        )
    if states is not None and (states.dim() == 0 or states.shape[-1] != 2**circuit.n_qubits):
        raise ShapeError(
            f"states must have 2**{circuit.n_qubits} = {2**circuit.n_qubits} amplitudes on the last axis; "
            f"got shape {tuple(states.shape)}; amplitude_embed pads and normalises"
        )
