"""Probabilities that a backend measures, and their gradient found by asking the backend again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qpeft.circuits.circuit import Circuit
from qpeft.errors import ConfigError, ShapeError
from qpeft.quantum.gradient import SEARCHES, Gradient
from qpeft.quantum.meter import Meter, mixed
from qpeft.quantum.shift import parameter_shift_vjp
from qpeft.quantum.simple import simple

# Amplitudes of one call where a batch is shifted: 2**22 of them take 64 MB as complex numbers of single precision.
MOST = 1 << 22


@dataclass(frozen=True, eq=False)
class Measurement:
    """A circuit to be measured, and how its gradient is to be found.

    Attributes:
        circuit: any circuit; its first angles may be data, the others are shared by a batch.
        meter: runs it, and counts the circuits of the backward pass, too.
        gradient: ``shift``, ``spsa``, ``nelder-mead`` or ``cobyla``.
        states: amplitudes before the circuit, shape ``(B, 2**n)``, or None.
    """

    circuit: Circuit
    meter: Meter
    gradient: Gradient
    states: Tensor | None = None

    def __call__(self, circuit: Circuit, angles: Tensor) -> Tensor:
        """Probabilities of one form of the circuit, for many rows of angles at a time where there are some."""
        circuit, angles = simple(circuit, angles)
        if self.states is None and angles.dim() < 3:
            return self.meter.probabilities(circuit, angles)
        if self.states is None:
            size, rows = angles.shape[-2], angles
        else:
            size, rows = len(self.states), angles.unsqueeze(-2)
        most = max(1, MOST // max(1, size * 2**circuit.n_qubits))
        parts = torch.split(rows, most) if rows.dim() > 2 else (rows,)
        return torch.cat([self.meter.probabilities(circuit, part, self.states) for part in parts])

    def generator(self) -> np.random.Generator:
        """Random numbers of the next evaluation, apart from those the backend draws."""
        return np.random.default_rng(mixed(self.meter.seed, self.meter.evaluations, 1))


def measured(measurement: Measurement, own: Tensor, data: Tensor | None = None) -> Tensor:
    """Probabilities from the meter's backend whose backward pass asks it again, as the gradient's method says.

    Args:
        measurement: what is run.
        own: radians, shape ``(P,)``: the last angles of the circuit.
        data: radians, shape ``(B, Q)``: the first ones, one row an evaluation; None where there are none.

    Returns:
        Shape ``(2**n,)``, or ``(B, 2**n)`` with data or states.

    Raises:
        ShapeError: a search was given a batch of angles.
        ConfigError: a gradient to the states is wanted, or by a search one to the data; neither can be measured.
    """
    method, states = measurement.gradient.method, measurement.states
    if method in SEARCHES and own.dim() > 1:
        raise ShapeError(f"gradient {method} takes one vector of angles; got shape {tuple(own.shape)}")
    if torch.is_grad_enabled():
        if states is not None and states.requires_grad:
            raise ConfigError(
                f"gradient {method} cannot reach the input of an amplitude embedding, which layers below it need; "
                f"take gradient surrogate, an angle embedding, an exact backend, or detach the input"
            )
        if method in SEARCHES and data is not None and data.requires_grad:
            raise ConfigError(
                f"gradient {method} searches the layer's own angles and gives its input no gradient, which layers "
                f"below it, or a trained embedding, need; take surrogate, shift or spsa, or detach the input"
            )
    result: Tensor = Measured.apply(own, data, measurement)  # type: ignore[no-untyped-call]
    return result


def joined(own: Tensor, data: Tensor | None) -> Tensor:
    """All angles of a circuit: shape ``(P,)``, or ``(B, Q + P)`` with data."""
    return own if data is None else torch.cat((data, own.expand(len(data), -1)), -1)


class Measured(torch.autograd.Function):
    """The autograd function behind measured."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, data: Tensor | None, measurement: Measurement) -> Tensor:
        """One circuit, or one of each row."""
        ctx.save_for_backward(own, data)
        ctx.measurement = measurement
        return measurement(measurement.circuit, joined(own.detach(), None if data is None else data.detach()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """More circuits."""
        own, data = ctx.saved_tensors
        to_own, to_data = ctx.needs_input_grad[:2]
        if ctx.measurement.gradient.method in SEARCHES:
            return search_vjp(ctx.measurement, own, data, cotangents[0]), None, None
        angles, n_data = joined(own, data), 0 if data is None else data.shape[-1]
        wanted = torch.full((angles.shape[-1],), to_own)
        wanted[:n_data] = to_data
        found = VJPS[ctx.measurement.gradient.method](ctx.measurement, angles, cotangents[0], wanted)
        if data is None:
            return found, None, None
        return found[:, n_data:].sum(0) if to_own else None, found[:, :n_data] if to_data else None, None


def shift_vjp(measurement: Measurement, angles: Tensor, cotangent: Tensor, wanted: Tensor) -> Tensor:
    """Parameter shift, of all wanted angles or of a random choice of them."""
    some, count = measurement.gradient.coordinates, int(wanted.sum())
    if some is None or some >= count:
        chosen = None if bool(wanted.all()) else wanted
        return parameter_shift_vjp(measurement, measurement.circuit, angles, cotangent, chosen)
    draw = measurement.generator().permutation(count)[:some]
    chosen = torch.zeros_like(wanted)
    chosen[wanted.nonzero()[:, 0][torch.as_tensor(draw)]] = True
    found = parameter_shift_vjp(measurement, measurement.circuit, angles, cotangent, chosen)
    return found * (count / some)


def spsa_vjp(measurement: Measurement, angles: Tensor, cotangent: Tensor, wanted: Tensor) -> Tensor:
    """Central differences along random directions of signs, averaged (Spall 1992)."""
    step, samples = measurement.gradient.step, measurement.gradient.samples
    draws = measurement.generator().integers(0, 2, (samples, *angles.shape))
    signs = torch.as_tensor(2 * draws - 1).to(angles) * wanted.to(angles.dtype)
    moves = torch.cat((step * signs, -step * signs))
    found = measurement(measurement.circuit, angles + moves)
    if angles.dim() > 1:
        values = (found * cotangent.to(angles.dtype)).sum(-1)
    else:
        values = found.flatten(1) @ cotangent.to(angles.dtype).flatten()
    ahead, behind = values.chunk(2)
    slopes = (ahead - behind) / (2 * step)
    return (slopes[..., None] * signs).mean(0)


def search_vjp(measurement: Measurement, own: Tensor, data: Tensor | None, cotangent: Tensor) -> Tensor:
    """A direction found without derivatives: from the best angles of a bounded search back to where it began.

    The loss is linear in p to first order, so the search lowers ``cotangent . p(angles)``. Its length is scaled to
    that of the drop it achieved, ``|drop| / |move|``, which is the slope along the move.
    """
    from scipy.optimize import minimize

    gradient, circuit = measurement.gradient, measurement.circuit
    weights = cotangent.double().cpu().flatten()
    start = own.double().cpu().numpy()

    def value(point: Any) -> float:
        found = measurement(circuit, joined(torch.as_tensor(point).to(own), data))
        return float(found.double().cpu().flatten() @ weights)

    name, size, most = SEARCHES[gradient.method], gradient.step, gradient.budget(circuit, len(start)) - 1
    options: dict[str, Any] = {"maxiter": most, "rhobeg": size}
    if name == "Nelder-Mead":
        simplex = np.vstack([start, start + size * np.eye(len(start))])
        options = {"maxfev": most, "initial_simplex": simplex}
    first = value(start)
    found = minimize(value, start, method=name, options=options)
    move = torch.as_tensor(start - found.x)
    length, drop = float(move.norm()), first - float(found.fun)
    if length == 0 or drop <= 0:
        return torch.zeros_like(own)
    return (move / length * (drop / length)).to(own)


VJPS: dict[str, Callable[[Measurement, Tensor, Tensor, Tensor], Tensor]] = {"shift": shift_vjp, "spsa": spsa_vjp}
