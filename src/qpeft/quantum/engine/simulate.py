"""Exact state-vector simulation: the state and the probabilities of a circuit, differentiable by autograd."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.errors import ShapeError
from qpeft.quantum.engine.adjoint import matrices, probabilities_of, squared
from qpeft.quantum.engine.fused import fused_probabilities
from qpeft.quantum.engine.moves import apply
from qpeft.quantum.engine.plan import Plan, Step, make_plan
from qpeft.quantum.simple import require_angles_of, simple

KERNELS = ("torch", "triton")


def probabilities(circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, kernel: str = "torch") -> Tensor:
    """Probabilities of all basis states after the circuit, ``|U(angles) states|^2``.

    >>> from qpeft.circuits import build_ansatz
    >>> probabilities(build_ansatz("ry_cnot", 2, 1), torch.tensor([torch.pi, 0.0])).round(decimals=3)
    tensor([0., 0., 0., 1.])

    Args:
        circuit: any circuit; its compiled form is cached.
        angles: radians, shape ``(..., P)``, float32 or float64.
        states: amplitudes before the circuit, shape ``(..., 2**n)``, real or complex; None is ``|0...0>``.
            Leading axes of angles and states broadcast.
        kernel: ``torch``, or ``triton`` for one fused kernel on a GPU, up to 12 qubits.

    Returns:
        Values in [0, 1] that sum to the squared norm of the states, shape ``(..., 2**n)``, real.

    Raises:
        ShapeError: the last axis of angles or states does not fit the circuit, or angles are not float32 or float64.
        CircuitError: the register is too large for a state vector, or for the fused kernel.
        ConfigError: the fused kernel was asked for without a GPU.
        MissingExtraError: it was asked for without Triton.
    """
    circuit, angles = simple(circuit, angles)
    plan, angles, states = _prepare(circuit, angles, states)
    with torch.autocast(angles.device.type, enabled=False) if _lowered(angles) else nullcontext():
        if angles.shape[-1] and kernel == "triton":
            return fused_probabilities(circuit, angles, states)
        if angles.shape[-1]:
            return probabilities_of(plan, angles, states)
        squares = squared(_run(plan, plan.body, angles, states))
    return squares if plan.last is None else squares.index_select(-1, plan.last.source)


def final_state(circuit: Circuit, angles: Tensor, states: Tensor | None = None) -> Tensor:
    """Amplitudes after the circuit; real as long as the circuit and the states are real.

    Gates such as p, u and cp, which are run as turns about Z, leave out a global phase.

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
    circuit, angles = simple(circuit, angles)
    plan, angles, states = _prepare(circuit, angles, states)
    with torch.autocast(angles.device.type, enabled=False) if _lowered(angles) else nullcontext():
        return _run(plan, plan.steps, angles, states)


def _prepare(circuit: Circuit, angles: Tensor, states: Tensor | None) -> tuple[Plan, Tensor, Tensor]:
    """The circuit's plan in the dtype it needs, and angles and states in that precision."""
    require_shapes(circuit, angles, states)
    real = angles.dtype if states is None else torch.promote_types(angles.dtype, _real_dtype(states))
    is_real = circuit.is_real and (states is None or not states.is_complex())
    dtype = real if is_real else real.to_complex()
    with torch.inference_mode(False):  # the plan is kept, and must be of use in training, too
        plan = make_plan(circuit, angles.device, dtype)
    return plan, angles.to(real), plan.ground_state if states is None else states.to(dtype).contiguous()


def _lowered(angles: Tensor) -> bool:
    """Whether a model's autocast would lower the precision of the circuit."""
    return torch.is_autocast_enabled(angles.device.type)


def _run(plan: Plan, steps: Sequence[Step], angles: Tensor, state: Tensor) -> Tensor:
    """The state after some steps of a plan."""
    made = matrices(plan, angles)
    for step in steps:
        state = apply(step, state, *made)
    if angles.shape[-1] == 0 and angles.dim() > 1:
        # Without rotations nothing has brought in the batch axes of the angles yet.
        state = state + angles.new_zeros(*angles.shape[:-1], 1)
    return state


def _real_dtype(states: Tensor) -> torch.dtype:
    return states.dtype.to_real() if states.is_complex() else states.dtype


def require_shapes(circuit: Circuit, angles: Tensor, states: Tensor | None) -> None:
    """Raise ShapeError unless the angles, and the states where there are some, fit the circuit."""
    require_angles_of(circuit, angles)
    if states is not None and (states.dim() == 0 or states.shape[-1] != 2**circuit.n_qubits):
        raise ShapeError(
            f"states must have 2**{circuit.n_qubits} = {2**circuit.n_qubits} amplitudes on the last axis; "
            f"got shape {tuple(states.shape)}; amplitude_embed pads and normalises"
        )
