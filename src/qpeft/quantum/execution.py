"""Execution: where circuits run and how the gradient of their angles is found; Executor: one circuit run that way."""

import dataclasses
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from qpeft.circuits.circuit import Circuit
from qpeft.quantum.backend import Backend
from qpeft.quantum.backends.exact import ExactBackend
from qpeft.quantum.catalogue import open_backend
from qpeft.quantum.engine.simulate import probabilities as simulate
from qpeft.quantum.gradient import Gradient, chosen_method, surrogate
from qpeft.quantum.measured import Measurement, measured
from qpeft.quantum.meter import Meter, Told
from qpeft.quantum.simple import simple


@dataclass(frozen=True)
class Execution:
    """Where circuits run, and how the gradient of their angles is found.

    >>> Execution.open("exact:shots=20x").method
    'surrogate'

    Attributes:
        backend: What runs them.
        gradient: The way to the gradient.
        seed: Of shots and of random directions.
        told: Hears of circuits and shots before they are run.

    Raises:
        ConfigError: Autograd was asked of a backend it does not pass through.
    """

    backend: Backend = field(default_factory=ExactBackend)
    gradient: Gradient = field(default_factory=Gradient)
    seed: int = 0
    told: Told | None = None

    def __post_init__(self) -> None:
        chosen_method(self.gradient, self.backend)

    @classmethod
    def open(cls, backend: str = "exact", gradient: str = "auto", seed: int = 0) -> "Execution":
        """From the words of a recipe or the command line.

        Raises:
            ConfigError: A word or an option is unknown, or both do not go together.
            MissingExtraError: The backend needs a library that is not installed.
        """
        return cls(open_backend(backend), Gradient.parse(gradient), seed)

    @property
    def method(self) -> str:
        """The way to the gradient, ``auto`` resolved."""
        return chosen_method(self.gradient, self.backend)

    @property
    def written(self) -> str:
        """The same with its settings, as a record holds it."""
        return str(dataclasses.replace(self.gradient, method=self.method))


class Executor(nn.Module):
    """One circuit under an execution, with counters that a resumed run goes on with.

    Args:
        circuit: any circuit.
        execution: where and how.

    Attributes:
        meter: the backend, counting.

    Raises:
        ConfigError: a search was given too few evaluations for this circuit.
    """

    residual: Tensor

    def __init__(self, circuit: Circuit, execution: Execution) -> None:
        super().__init__()
        self.circuit, self.gradient, self.method = circuit, execution.gradient, execution.method
        self.gradient.further(circuit)  # raises where the evaluations of a search do not suffice
        self.meter = Meter(execution.backend, execution.seed, execution.told)
        self.age = 0
        self.register_buffer("residual", torch.zeros(2**circuit.n_qubits if self._keeps else 0))

    @property
    def _keeps(self) -> bool:
        """Whether one measurement serves for several evaluations."""
        return self.method == "surrogate" and self.gradient.refresh > 1

    def forward(self, angles: Tensor) -> Tensor:
        """Probabilities, or relative frequencies, of all basis states.

        Args:
            angles: radians, shape ``(P,)``.

        Returns:
            Shape ``(2**n,)``; its graph leads to the angles in the way of the execution's gradient.
        """
        circuit, angles = simple(self.circuit, angles)
        if self._keeps:
            return self._refreshed(circuit, angles)
        if self.method == "autograd":
            return self.meter.probabilities(circuit, angles)
        if not (angles.requires_grad and torch.is_grad_enabled()) or self.method == "none":
            return self.meter.probabilities(circuit, angles.detach())
        if self.method == "surrogate":
            return surrogate(circuit, angles, self.meter.probabilities(circuit, angles.detach()))
        return measured(Measurement(circuit, self.meter, self.gradient), angles)

    def _refreshed(self, circuit: Circuit, angles: Tensor) -> Tensor:
        exact = simulate(circuit, angles)
        if self.age % self.gradient.refresh == 0:
            self.residual = self.meter.probabilities(circuit, angles.detach()) - exact.detach()
        self.age += 1
        return exact + self.residual

    def get_extra_state(self) -> int:
        """Evaluations so far, as far as a measurement serves for several."""
        return self.age

    def set_extra_state(self, state: int) -> None:
        """Go on counting."""
        self.age = state

    def rewind(self, *, counted: bool = True) -> None:
        """Let the next evaluation repeat the last one: the same number, so the same seed and the same shots.

        Args:
            counted: Whether the repetition adds to the meter's counters.
        """
        measured = True
        if self._keeps:
            self.age -= 1
            measured = self.age % self.gradient.refresh == 0
        if measured:
            self.meter.rewind(self.circuit, counted=counted)
