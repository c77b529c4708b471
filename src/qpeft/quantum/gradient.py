"""Gradient: how dL/dp becomes dL/dtheta where autograd does not pass, and what that costs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.setting import read_setting
from qpeft.errors import ConfigError, require_choice
from qpeft.quantum.backend import Backend
from qpeft.quantum.engine.simulate import probabilities as simulate
from qpeft.quantum.meter import Meter, mixed
from qpeft.quantum.shift import parameter_shift_vjp, shift_table

METHODS: dict[str, str] = {
    "auto": "autograd where the backend has it, else surrogate",
    "autograd": "through the backend's own simulation, its noise included",
    "surrogate": "of the circuit simulated without noise, whatever the backend measured; no further circuits",
    "shift": "parameter shift on the backend: two circuits an angle, four a controlled rotation",
    "spsa": "simultaneous perturbation on the backend: two circuits a sample",
    "nelder-mead": "no gradient: a simplex search on the backend for angles that lower dL/dp . p",
    "cobyla": "no gradient: the same by linear models in a trust region",
    "none": "the angles get no gradient",
}
SEARCHES = {"nelder-mead": "Nelder-Mead", "cobyla": "COBYLA"}


@dataclass(frozen=True)
class Gradient:
    """One way to the gradient of the angles, with its settings.

    >>> Gradient.parse("shift:coordinates=8").coordinates, str(Gradient.parse("spsa:samples=4"))
    (8, 'spsa:samples=4')

    Attributes:
        method: A key of ``METHODS``.
        coordinates: ``shift``: only this many angles, drawn anew each time, their derivatives scaled so that the
            expectation is the whole gradient; None is all.
        samples: ``spsa``: perturbations that are averaged.
        step: ``spsa``: the size of a perturbation; ``nelder-mead``, ``cobyla``: of the first moves. Radians.
        evaluations: ``nelder-mead``, ``cobyla``: circuits one search may run; None is two more than twice the angles.
        refresh: ``surrogate``: the backend runs at every so many evaluations only; in between its last difference to
            the exact distribution is kept.
    """

    method: str = "auto"
    coordinates: int | None = None
    samples: int = 1
    step: float = 0.1
    evaluations: int | None = None
    refresh: int = 1

    def __post_init__(self) -> None:
        require_choice("gradient", self.method, METHODS)
        counts = {"coordinates": self.coordinates, "samples": self.samples, "evaluations": self.evaluations}
        for key, value in {**counts, "refresh": self.refresh}.items():
            if value is not None and value < 1:
                raise ConfigError(f"gradient {key} must be a whole number of at least 1; got {value}")
        if not self.step > 0:
            raise ConfigError(f"gradient step must be more than 0 radians; got {self.step}")

    @classmethod
    def parse(cls, text: str) -> "Gradient":
        """Read ``method`` or ``method:key=value,key=value``.

        Raises:
            ConfigError: The method is unknown, does not take a key, or a value is out of its range.
        """
        name, given = read_setting(text)
        require_choice("gradient", name, METHODS)
        kinds: dict[str, Callable[[str], Any]] = {key: float if key == "step" else int for key in TAKES.get(name, ())}
        for key in given:
            require_choice(f"gradient {name}: option", key, kinds or ["(none)"])
        try:
            return cls(name, **{key: kinds[key](value) for key, value in given.items()})
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"gradient {text!r} must hold numbers: {error}") from error

    def __str__(self) -> str:
        plain = Gradient(self.method)
        changed = [key for key in TAKES.get(self.method, ()) if getattr(self, key) != getattr(plain, key)]
        options = ",".join(f"{key}={getattr(self, key)}" for key in changed)
        return f"{self.method}:{options}" if options else self.method

    def further(self, circuit: Circuit) -> int:
        """Circuits one gradient takes besides the evaluation itself; for a search, at most."""
        if self.method == "shift":
            rows = len(shift_table(circuit).rows)
            angles = circuit.n_parameters
            return rows if self.coordinates is None else round(rows * min(1.0, self.coordinates / max(1, angles)))
        if self.method in SEARCHES:
            return self.budget(circuit)
        return 2 * self.samples if self.method == "spsa" else 0

    def budget(self, circuit: Circuit) -> int:
        """Circuits one search may run.

        Raises:
            ConfigError: They do not suffice for one look in the direction of every angle.
        """
        fewest = circuit.n_parameters + 2
        if self.evaluations is not None and self.evaluations < fewest:
            raise ConfigError(
                f"gradient {self.method} looks along every angle once: evaluations must be at least {fewest} for "
                f"{circuit.n_parameters} angles; got {self.evaluations}"
            )
        return 2 * fewest - 2 if self.evaluations is None else self.evaluations


TAKES: dict[str, tuple[str, ...]] = {
    "surrogate": ("refresh",),
    "auto": ("refresh",),
    "shift": ("coordinates",),
    "spsa": ("samples", "step"),
    **dict.fromkeys(SEARCHES, ("evaluations", "step")),
}


def surrogate(circuit: Circuit, angles: Tensor, measured: Tensor) -> Tensor:
    """What was measured, with the gradient of the exact distribution (a straight-through estimate)."""
    exact = simulate(circuit, angles)
    return exact + (measured - exact).detach()


def with_vjp(circuit: Circuit, angles: Tensor, meter: Meter, gradient: Gradient) -> Tensor:
    """Probabilities from the meter's backend whose backward pass asks it again, as ``gradient.method`` says.

    Args:
        circuit: any circuit.
        angles: radians, shape ``(P,)``.
        meter: Counts the circuits of the backward pass, too.
        gradient: ``shift``, ``spsa``, ``nelder-mead`` or ``cobyla``.

    Returns:
        Shape ``(2**n,)``.
    """
    result: Tensor = MeasuredProbabilities.apply(angles, circuit, meter, gradient)  # type: ignore[no-untyped-call]
    return result


class MeasuredProbabilities(torch.autograd.Function):
    """The autograd function behind with_vjp."""

    @staticmethod
    def forward(ctx: Any, angles: Tensor, circuit: Circuit, meter: Meter, gradient: Gradient) -> Tensor:
        """One circuit."""
        ctx.save_for_backward(angles)
        ctx.circuit, ctx.meter, ctx.gradient = circuit, meter, gradient
        return meter.probabilities(circuit, angles.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None, None, None]:
        """More circuits."""
        (angles,) = ctx.saved_tensors
        return VJPS[ctx.gradient.method](ctx.circuit, angles, cotangents[0], ctx.meter, ctx.gradient), None, None, None


def shift_vjp(circuit: Circuit, angles: Tensor, cotangent: Tensor, meter: Meter, gradient: Gradient) -> Tensor:
    """Parameter shift, of all angles or of a random choice of them."""
    wanted, count = gradient.coordinates, circuit.n_parameters
    if wanted is None or wanted >= count:
        return parameter_shift_vjp(meter.probabilities, circuit, angles, cotangent)
    draw = np_generator(meter).permutation(count)[:wanted]
    chosen = torch.zeros(count, dtype=torch.bool, device=angles.device)
    chosen[torch.as_tensor(draw, device=angles.device)] = True
    found = parameter_shift_vjp(meter.probabilities, circuit, angles, cotangent, chosen)
    return found * (count / wanted)


def spsa_vjp(circuit: Circuit, angles: Tensor, cotangent: Tensor, meter: Meter, gradient: Gradient) -> Tensor:
    """Central differences along random directions of signs, averaged (Spall 1992)."""
    draws = np_generator(meter).integers(0, 2, (gradient.samples, circuit.n_parameters))
    signs = torch.as_tensor(2 * draws - 1).to(angles)
    moves = torch.cat((gradient.step * signs, -gradient.step * signs))
    values = meter.probabilities(circuit, angles + moves) @ cotangent.to(angles.dtype)
    ahead, behind = values.chunk(2)
    slopes = (ahead - behind) / (2 * gradient.step)
    return (slopes[:, None] * signs).mean(0)


def search_vjp(circuit: Circuit, angles: Tensor, cotangent: Tensor, meter: Meter, gradient: Gradient) -> Tensor:
    """A direction found without derivatives: from the best angles of a bounded search back to where it began.

    The loss is linear in p to first order, so the search lowers ``cotangent . p(angles)``. Its length is scaled to
    that of the drop it achieved, ``|drop| / |move|``, which is the slope along the move.
    """
    from scipy.optimize import minimize

    weights = cotangent.double().cpu()
    start = angles.double().cpu().numpy()

    def value(point: Any) -> float:
        found = meter.probabilities(circuit, torch.as_tensor(point).to(angles))
        return float(found.double().cpu() @ weights)

    name, size, most = SEARCHES[gradient.method], gradient.step, gradient.budget(circuit) - 1
    options: dict[str, Any] = {"maxiter": most, "rhobeg": size}
    if name == "Nelder-Mead":
        simplex = np.vstack([start, start + size * np.eye(len(start))])
        options = {"maxfev": most, "initial_simplex": simplex}
    first = value(start)
    found = minimize(value, start, method=name, options=options)
    move = torch.as_tensor(start - found.x)
    length, drop = float(move.norm()), first - float(found.fun)
    if length == 0 or drop <= 0:
        return torch.zeros_like(angles)
    return (move / length * (drop / length)).to(angles)


def np_generator(meter: Meter) -> np.random.Generator:
    """Random numbers of the next evaluation, apart from those the backend draws."""
    return np.random.default_rng(mixed(meter.seed, meter.evaluations, 1))


VJPS: dict[str, Callable[[Circuit, Tensor, Tensor, Meter, Gradient], Tensor]] = {
    "shift": shift_vjp,
    "spsa": spsa_vjp,
    **dict.fromkeys(SEARCHES, search_vjp),
}


def chosen_method(gradient: Gradient, backend: Backend) -> str:
    """What ``auto`` stands for on a backend.

    Raises:
        ConfigError: Autograd was asked of a backend it does not pass through.
    """
    exact = backend.differentiable and backend.shots is None
    if gradient.method == "autograd" and not exact:
        raise ConfigError(
            "gradient autograd needs a backend with exact probabilities that torch can differentiate (exact, noisy, "
            "pennylane's default.qubit without shots); use surrogate, shift, spsa, nelder-mead or cobyla here"
        )
    return gradient.method if gradient.method != "auto" else "autograd" if exact else "surrogate"
