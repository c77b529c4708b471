"""Gradients from probabilities alone: parameter shift, as hardware needs it, and finite differences to check it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qpeft.circuits.circuit import Circuit, Parameter
from qpeft.circuits.lowering import Lowered, lowered
from qpeft.errors import ShapeError
from qpeft.quantum.simple import require_angles_of

# Called with a circuit and angles of shape (rows, K); answers probabilities of shape (rows, ..., 2**n).
ProbabilitiesFn = Callable[[Circuit, Tensor], Tensor]

# frequencies of a value in the angle -> (shift in radians, weight) of each evaluation in its exact derivative
_FOUR_NEAR, _FOUR_FAR = (sqrt(2) + 1) / (4 * sqrt(2)), (sqrt(2) - 1) / (4 * sqrt(2))
SHIFT_RULES: dict[tuple[float, ...], tuple[tuple[float, float], ...]] = {
    (1.0,): ((pi / 2, 0.5), (-pi / 2, -0.5)),
    (0.5, 1.0): (
        (pi / 2, _FOUR_NEAR),
        (-pi / 2, -_FOUR_NEAR),
        (3 * pi / 2, -_FOUR_FAR),
        (-3 * pi / 2, _FOUR_FAR),
    ),
}


@dataclass(frozen=True)
class ShiftTable:
    """Which evaluations give the gradient of a circuit.

    Attributes:
        circuit: the circuit with one parameter per gate, so that each can be shifted alone.
        origin: for each of its K parameters, the parameter of the original circuit.
        rows: for each evaluation, the shifted parameter, the shift in radians and the weight.
    """

    circuit: Circuit
    origin: tuple[int, ...]
    rows: tuple[tuple[int, float, float], ...]


@lru_cache(maxsize=256)
def shift_table(circuit: Circuit) -> ShiftTable:
    """The evaluations parameter shift needs: two per rotation, four per controlled rotation, of simple gates.

    >>> from qpeft.circuits import build_ansatz
    >>> len(shift_table(build_ansatz("ry_cnot", 3, 2)).rows)
    12
    """
    found = lowered(circuit)
    unshared, origin = (circuit if found is None else found.circuit).unshared()
    rows = [
        (operation.angle.index, shift, weight)
        for operation in unshared.operations
        if isinstance(operation.angle, Parameter)
        for shift, weight in SHIFT_RULES[operation.gate_row.frequencies]
    ]
    return ShiftTable(unshared, origin, tuple(rows))


def parameter_shift_vjp(
    fn: ProbabilitiesFn, circuit: Circuit, angles: Tensor, cotangent: Tensor, chosen: Tensor | None = None
) -> Tensor:
    """Gradient of ``(cotangent * probabilities).sum()`` by parameter shift, in one call of fn.

    >>> from qpeft.circuits import build_ansatz
    >>> from qpeft.quantum.engine import probabilities
    >>> circuit, angles = build_ansatz("ry_cnot", 1, 1), torch.tensor([torch.pi / 2])
    >>> parameter_shift_vjp(probabilities, circuit, angles, torch.tensor([1.0, 0.0])).round(decimals=3)
    tensor([-0.5000])

    Args:
        fn: maps a circuit and angles ``(rows, K)`` to probabilities ``(rows, ..., 2**n)``. It is given a
            circuit with one parameter per gate, which differs from the original where gates share one.
        circuit: the circuit to differentiate.
        angles: radians, shape ``(P,)``; or ``(B, P)`` for B evaluations with angles of their own, where fn maps
            ``(rows, B, K)`` to ``(rows, B, 2**n)``.
        cotangent: derivative of the loss by the probabilities, shape ``(..., 2**n)``, or ``(B, 2**n)``.
        chosen: the angles to differentiate by, bool of shape ``(P,)``; None is all. The others get 0.

    Returns:
        The gradient, of the shape of the angles.

    Raises:
        ShapeError: the angles, or what fn returned, do not have these shapes.
    """
    require_angles_of(circuit, angles)
    found = lowered(circuit)
    if found is not None:
        return _by_lines(fn, found, angles, cotangent, chosen)
    table = shift_table(circuit)
    rows = [row for row in table.rows if chosen is None or chosen[table.origin[row[0]]]]
    if not rows:
        return torch.zeros_like(angles)
    index, shift, weight = zip(*rows, strict=True)
    offsets = torch.zeros(len(index), len(table.origin), dtype=angles.dtype, device=angles.device)
    offsets[torch.arange(len(index)), torch.tensor(index)] = offsets.new_tensor(shift)
    origin = torch.tensor(table.origin, device=angles.device)
    batched = angles.dim() > 1
    with torch.no_grad():
        rows_of = angles[..., origin] + (offsets.unsqueeze(1) if batched else offsets)
        values = _contract(fn(table.circuit, rows_of), cotangent, len(index), batched=batched)
        of_angle = origin[torch.tensor(index, device=angles.device)]
        weighted = values.movedim(0, -1).to(angles.dtype) * angles.new_tensor(weight)
        return torch.zeros_like(angles).index_add(-1, of_angle, weighted)


def _by_lines(fn: ProbabilitiesFn, found: Lowered, angles: Tensor, cotangent: Tensor, chosen: Tensor | None) -> Tensor:
    """Parameter shift of the simple circuit, and the chain rule."""
    origin = torch.tensor(found.origin, device=angles.device)
    scales, shifts = angles.new_tensor(found.scales), angles.new_tensor(found.shifts)
    some = None if chosen is None else chosen[origin.to(chosen.device)]
    inner = parameter_shift_vjp(fn, found.circuit, angles[..., origin] * scales + shifts, cotangent, some)
    return torch.zeros_like(angles).index_add(-1, origin, inner * scales)


def finite_difference_vjp(
    fn: ProbabilitiesFn, circuit: Circuit, angles: Tensor, cotangent: Tensor, step: float = 1e-5
) -> Tensor:
    """The same gradient by central differences: approximate, for checks only.

    Args:
        fn: maps a circuit and angles ``(rows, P)`` to probabilities ``(rows, ..., 2**n)``.
        circuit: the circuit to differentiate.
        angles: radians, shape ``(P,)``; use float64.
        cotangent: derivative of the loss by the probabilities, shape ``(..., 2**n)``.
        step: radians.

    Returns:
        The gradient, shape ``(P,)``, with an error of order ``step**2``.

    Raises:
        ShapeError: the angles, or what fn returned, do not have these shapes.
    """
    _require_one_vector(circuit, angles)
    if circuit.n_parameters == 0:
        return torch.zeros_like(angles)
    steps = step * torch.eye(circuit.n_parameters, dtype=angles.dtype, device=angles.device)
    with torch.no_grad():
        rows = torch.cat((angles + steps, angles - steps))
        ahead, behind = _contract(fn(circuit, rows), cotangent, len(rows)).chunk(2)
        return ((ahead - behind) / (2 * step)).to(angles.dtype)


def shift_probabilities(fn: ProbabilitiesFn, circuit: Circuit, angles: Tensor) -> Tensor:
    """Probabilities from fn whose backward pass uses parameter shift, so fn itself needs no gradient.

    >>> from qpeft.circuits import build_ansatz
    >>> from qpeft.quantum.engine import probabilities
    >>> angles = torch.tensor([torch.pi / 2], requires_grad=True)
    >>> shift_probabilities(probabilities, build_ansatz("ry_cnot", 1, 1), angles)[0].backward()
    >>> angles.grad.round(decimals=3)
    tensor([-0.5000])

    Args:
        fn: maps a circuit and angles ``(rows, K)`` to probabilities ``(rows, ..., 2**n)``.
        circuit: the circuit to run.
        angles: radians, shape ``(P,)``.

    Returns:
        What fn gives for this one row, shape ``(..., 2**n)``. Its gradient reaches the angles only.

    Raises:
        ShapeError: the angles, or what fn returned, do not have these shapes.
    """
    _require_one_vector(circuit, angles)
    result: Tensor = ShiftProbabilities.apply(angles, circuit, fn)  # type: ignore[no-untyped-call]
    return result


class ShiftProbabilities(torch.autograd.Function):
    """The autograd function behind shift_probabilities."""

    @staticmethod
    def forward(ctx: Any, angles: Tensor, circuit: Circuit, fn: ProbabilitiesFn) -> Tensor:
        """Run fn on one row of angles."""
        ctx.save_for_backward(angles)
        ctx.circuit, ctx.fn = circuit, fn
        rows = fn(circuit, angles.detach().unsqueeze(0))
        if rows.dim() < 2 or rows.shape[0] != 1:
            raise ShapeError(f"fn was given 1 row of angles and must return shape (1, ..., 2**n); got {rows.shape}")
        return rows[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None, None]:
        """Parameter shift."""
        (angles,) = ctx.saved_tensors
        return parameter_shift_vjp(ctx.fn, ctx.circuit, angles, cotangents[0]), None, None


def _contract(rows: Tensor, cotangent: Tensor, n_rows: int, *, batched: bool = False) -> Tensor:
    """Each row times the cotangent, summed up, or summed up for each member of a batch."""
    expected = (n_rows, *cotangent.shape)
    if rows.shape != expected:
        raise ShapeError(f"fn must return shape {tuple(expected)}, rows before states; got {tuple(rows.shape)}")
    if batched:
        return (rows * cotangent.to(rows.dtype)).sum(-1)
    return rows.flatten(1) @ cotangent.to(rows.dtype).flatten()


def _require_one_vector(circuit: Circuit, angles: Tensor) -> None:
    if angles.shape != (circuit.n_parameters,):
        raise ShapeError(
            f"parameter shift takes one vector of {circuit.n_parameters} angle(s), one per parameter; "
            f"got shape {tuple(angles.shape)}"
        )
