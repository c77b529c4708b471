"""The sampled backend: finite shots over any backend that knows its distribution."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.errors import ConfigError
from qpeft.quantum.backend import Backend
from qpeft.quantum.backends.exact import ExactBackend
from qpeft.quantum.shots import Shots


@dataclass(frozen=True)
class SampledBackend:
    """Relative frequencies of a finite number of measurements (arXiv:2410.09846, Fig. 8).

    >>> from qpeft.circuits import build_ansatz
    >>> backend = SampledBackend(Shots(1000))
    >>> backend.probabilities(build_ansatz("ry_cnot", 1, 1), torch.tensor([torch.pi / 2]), seed=1)
    tensor([0.4930, 0.5070])

    Args:
        shots: Measurements of one circuit.
        inner: What gives the distribution that is sampled, such as the exact backend or one with noise.

    Raises:
        ConfigError: The inner backend has shots of its own.
    """

    shots: Shots
    inner: Backend = field(default_factory=ExactBackend)

    def __post_init__(self) -> None:
        if self.inner.shots is not None:
            raise ConfigError(
                f"sampling needs a backend with exact probabilities; {self.inner.name!r} already measures "
                f"{self.inner.shots} shots"
            )

    @property
    def name(self) -> str:
        """That of the inner backend; alone, ``sampled``."""
        return "sampled" if isinstance(self.inner, ExactBackend) else self.inner.name

    @property
    def differentiable(self) -> bool:
        """No: a count has no derivative."""
        return False

    @property
    def input_gradient(self) -> bool:
        """No."""
        return False

    @property
    def noise(self) -> str | None:
        """That of the inner backend."""
        return self.inner.noise

    @torch.no_grad()
    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Frequencies of all basis states, multiples of 1/shots; times the squared norm of an input state."""
        if states is not None:
            states = states.to(torch.complex128 if states.is_complex() else torch.float64)
        # In float32 the sum of 2^N probabilities misses 1 by more than numpy's sampler accepts.
        exact = self.inner.probabilities(circuit, angles.double(), states, seed=seed).cpu().numpy().clip(min=0)
        total = exact.sum(-1, keepdims=True)
        shots = self.shots.of(circuit.n_qubits)
        # A zero state has nothing to measure: any distribution serves, and is multiplied away.
        chances = np.where(total > 0, exact / np.where(total > 0, total, 1), 1 / exact.shape[-1])
        counts = np.random.default_rng(seed).multinomial(shots, chances)
        return torch.from_numpy(counts / shots * (1 if states is None else total)).to(angles)

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """Those of the inner backend."""
        return self.inner.details(circuit)
