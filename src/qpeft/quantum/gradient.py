"""Gradient: how dL/dp becomes dL/dtheta where autograd does not pass, and what that costs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.setting import read_setting
from qpeft.errors import ConfigError, require_choice
from qpeft.quantum.backend import Backend
from qpeft.quantum.engine.simulate import probabilities as simulate
from qpeft.quantum.shift import shift_table

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

    def budget(self, circuit: Circuit, n_angles: int | None = None) -> int:
        """Circuits one search may run, over all angles of a circuit or some of them.

        Raises:
            ConfigError: They do not suffice for one look in the direction of every angle.
        """
        searched = circuit.n_parameters if n_angles is None else n_angles
        fewest = searched + 2
        if self.evaluations is not None and self.evaluations < fewest:
            raise ConfigError(
                f"gradient {self.method} looks along every angle once: evaluations must be at least {fewest} for "
                f"{searched} angles; got {self.evaluations}"
            )
        return 2 * fewest - 2 if self.evaluations is None else self.evaluations


TAKES: dict[str, tuple[str, ...]] = {
    "surrogate": ("refresh",),
    "auto": ("refresh",),
    "shift": ("coordinates",),
    "spsa": ("samples", "step"),
    **dict.fromkeys(SEARCHES, ("evaluations", "step")),
}


def surrogate(circuit: Circuit, angles: Tensor, measured: Tensor, states: Tensor | None = None) -> Tensor:
    """What was measured, with the gradient of the exact distribution (a straight-through estimate)."""
    exact = simulate(circuit, angles, states)
    return exact + (measured - exact).detach()


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
