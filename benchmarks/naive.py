"""RY and CNOT one gate at a time in plain torch: what a straightforward simulator does."""

import torch
from torch import Tensor

from qpeft.circuits import Circuit, Parameter


def single_gates(circuit: Circuit, angles: Tensor, state: Tensor) -> Tensor:
    """Probabilities after RY and CNOT gates.

    Args:
        circuit: Of these two gates only.
        angles: radians, shape ``(P,)``.
        state: real amplitudes, shape ``(T, 2**n)``.

    Returns:
        Shape ``(T, 2**n)``.
    """
    rows = len(state)
    for op in circuit.operations:
        if isinstance(op.angle, Parameter):
            half = angles[op.angle.index] / 2
            cos, sin = half.cos(), half.sin()
            zero, one = state.view(rows, 2 ** op.wires[0], 2, -1).unbind(2)
            state = torch.stack((cos * zero - sin * one, sin * zero + cos * one), 2)
        else:
            control, target = op.wires
            split = state.view(rows, 2**control, 2, 2 ** (target - control - 1), 2, -1)
            state = torch.stack((split[:, :, 0], split[:, :, 1].flip(3)), 2)
    return state.view(rows, -1).square()
