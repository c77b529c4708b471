"""Meter: a backend that counts what it is asked for, and gives every evaluation a seed of its own."""

from collections.abc import Callable
from math import prod

import numpy as np
from torch import Tensor, nn

from qpeft.circuits.circuit import Circuit
from qpeft.quantum.backend import Backend
from qpeft.quantum.backends._evaluations import leading_axes
from qpeft.quantum.shots import Shots

# Called with circuits and shots before they are asked of a backend, so that nothing is missed where a process ends.
Told = Callable[[int, int], None]


class Meter(nn.Module):
    """A backend around another one; a backend itself.

    The counters are in its state_dict: a resumed run goes on counting, and the seed of an evaluation follows from its
    number. They are plain numbers, so that counting never waits for an accelerator. What a killed process ran after
    its last checkpoint is not among them; ``told`` hears of that.

    >>> import torch
    >>> from qpeft.circuits import build_ansatz
    >>> from qpeft.quantum.backends.sampled import SampledBackend
    >>> meter = Meter(SampledBackend(Shots(100)), seed=7)
    >>> first, second = (meter.probabilities(build_ansatz("ry_cnot", 2, 1), torch.ones(2)) for _ in range(2))
    >>> bool((first == second).all()), meter.circuits, meter.shots_spent
    (False, 2, 200)

    Attributes:
        backend: What runs the circuits.
        evaluations: Calls so far.
        circuits: Circuits run so far; a call with a batch runs many.
        shots_spent: Measurements so far.
    """

    def __init__(self, backend: Backend, seed: int = 0, told: Told | None = None) -> None:
        super().__init__()
        self.backend, self.seed, self.told = backend, seed, told
        self.evaluations, self.circuits, self.shots_spent = 0, 0, 0

    def get_extra_state(self) -> dict[str, int]:
        """The counters."""
        return {"evaluations": self.evaluations, "circuits": self.circuits, "shots_spent": self.shots_spent}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Go on counting."""
        self.evaluations, self.circuits = state["evaluations"], state["circuits"]
        self.shots_spent = state["shots_spent"]

    @property
    def name(self) -> str:
        """That of the backend."""
        return self.backend.name

    @property
    def differentiable(self) -> bool:
        """That of the backend."""
        return self.backend.differentiable

    @property
    def input_gradient(self) -> bool:
        """That of the backend."""
        return self.backend.input_gradient

    @property
    def shots(self) -> Shots | None:
        """That of the backend."""
        return self.backend.shots

    @property
    def noise(self) -> str | None:
        """That of the backend."""
        return self.backend.noise

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Probabilities from the backend; the seed is mixed with the meter's own and the number of this call."""
        batch = leading_axes(angles, states)
        mine = mixed(self.seed, seed, self.evaluations)
        if self.told is not None:
            self.told(prod(batch), prod(batch) * self._shots(circuit))
        found = self.backend.probabilities(circuit, angles, states, seed=mine)
        self.count(circuit, batch)
        return found

    def observed(self, circuit: Circuit, angles: Tensor, x: Tensor, observables: Tensor) -> Tensor | None:
        """That of the backend, where it has this way; counted as other evaluations are."""
        observed = getattr(self.backend, "observed", None)
        found: Tensor | None = None if observed is None else observed(circuit, angles, x, observables)
        if found is not None:
            self.count(circuit, x.shape[:-1])
        return found

    def count(self, circuit: Circuit, batch: tuple[int, ...]) -> None:
        """One evaluation of as many circuits as the batch holds."""
        self.evaluations += 1
        self.circuits += prod(batch)
        self.shots_spent += prod(batch) * self._shots(circuit)

    def rewind(self, circuit: Circuit, *, counted: bool) -> None:
        """Let the next evaluation repeat the last one, which was of one circuit: the same number, the same seed.

        Args:
            circuit: What was evaluated.
            counted: Whether the repetition adds to the counters.
        """
        self.evaluations -= 1
        if not counted:
            self.circuits -= 1
            self.shots_spent -= self._shots(circuit)

    def _shots(self, circuit: Circuit) -> int:
        """Measurements of one run of a circuit; 0 where probabilities are exact."""
        return 0 if self.shots is None else self.shots.of(circuit.n_qubits)

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """Those of the backend."""
        return self.backend.details(circuit)


def mixed(*numbers: int) -> int:
    """One seed, 0 to 2**31 - 1, that depends on all numbers; negative ones are taken by their size."""
    return int(np.random.SeedSequence([abs(number) for number in numbers]).generate_state(1)[0] >> 1)
