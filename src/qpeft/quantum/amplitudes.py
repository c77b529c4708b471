"""Amplitude embedding, circuit and readout in one: what a vector of hidden states becomes on a quantum register."""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.errors import ConfigError, require_choice
from qpeft.quantum.backend import Backend
from qpeft.quantum.backends.exact import ExactBackend
from qpeft.quantum.engine.readout import marginal, pauli_z
from qpeft.quantum.engine.states import amplitude_embed
from qpeft.quantum.simple import simple

READOUTS = ("pauli_z", "probabilities")
# Up to this many readings are taken as observables chunk by chunk; more are read from all probabilities.
FEW = 64


@dataclass(frozen=True)
class EmbeddedCircuit:
    """x to z: the vector as amplitudes, the circuit, the readout (arXiv:2509.16244, Sections 3.1-3.3).

    >>> from qpeft.circuits import Circuit
    >>> EmbeddedCircuit(Circuit(1, ()))(torch.tensor([0.6, 0.8]), torch.zeros(0)).round(decimals=3)
    tensor([-0.2800])

    Args:
        circuit: n qubits; vectors of up to 2**n values are padded with zeros and scaled to length one.
        readout: ``pauli_z``, one expectation in [-1, 1] a wire, or ``probabilities`` of the wires' outcomes.
        wires: the measured qubits, or None for all.
        backend: where the circuit runs; it must take input states, and where a gradient is asked for, pass it on.
        parities: sets of wires; the expectation of the product of Z on each is read instead.

    Raises:
        ConfigError: the readout is unknown, or a wire repeats or is not of the circuit.
    """

    circuit: Circuit
    readout: str = "pauli_z"
    wires: tuple[int, ...] | None = None
    backend: Backend = field(default_factory=ExactBackend)
    parities: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        require_choice("readout", self.readout, READOUTS)
        wires, n = self.measured, self.circuit.n_qubits
        if not wires or len(set(wires)) < len(wires) or not all(0 <= wire < n for wire in wires):
            raise ConfigError(f"wires must be different numbers in 0..{n - 1}, at least one; got {list(wires)}")

    @property
    def measured(self) -> tuple[int, ...]:
        """The measured wires."""
        return tuple(range(self.circuit.n_qubits)) if self.wires is None else self.wires

    @property
    def n_features(self) -> int:
        """Length of z."""
        if self.parities is not None:
            return len(self.parities)
        return len(self.measured) if self.readout == "pauli_z" else 2 ** len(self.measured)

    def __call__(self, x: Tensor, angles: Tensor) -> Tensor:
        """Read z from x.

        Args:
            x: shape ``(..., d)`` with d at most 2**n. A zero vector gives zeros, and passes no gradient.
            angles: radians, shape ``(P,)``, float32 or float64.

        Returns:
            Shape ``(..., n_features)`` in at least the precision of the angles.

        Raises:
            ShapeError: x does not fit the register, or the angles do not fit the circuit.
            ConfigError: a gradient is asked for and the backend has none to its input states, so that layers below
                could not be trained.
        """
        wanted = torch.is_grad_enabled() and (x.requires_grad or angles.requires_grad)
        if wanted and not self.backend.input_gradient:
            raise ConfigError(
                f"backend {self.backend.name!r} has no gradient to input states, which every layer below an embedded "
                f"circuit needs; train on the exact or the noisy backend, or measure under torch.no_grad()"
            )
        # A model under autocast must not lower the precision of the circuit.
        with torch.autocast(x.device.type, enabled=False):
            circuit, angles = simple(self.circuit, angles)
            read = self if circuit is self.circuit else replace(self, circuit=circuit)
            return read._read(x.to(torch.promote_types(x.dtype, angles.dtype)), angles)

    def _read(self, x: Tensor, angles: Tensor) -> Tensor:
        observed = getattr(self.backend, "observed", None)
        if (
            observed is not None
            and not x.is_complex()
            and angles.dim() == 1
            and self.n_features <= FEW
            and x.dim() > 0
        ):
            found: Tensor | None = observed(self.circuit, angles, x, self._observables(x))
            if found is not None:
                return found
        states = amplitude_embed(x, self.circuit.n_qubits)
        return self.read_off(self.backend.probabilities(self.circuit, angles, states))

    def read_off(self, probabilities: Tensor) -> Tensor:
        """Turn probabilities into z: of all basis states, shape ``(..., 2**n)`` to ``(..., n_features)``."""
        if self.readout == "probabilities" and self.parities is None:
            return probabilities if self.wires is None else marginal(probabilities, self.measured)
        return probabilities @ self._observables(probabilities)

    def _observables(self, like: Tensor) -> Tensor:
        """The readout as diagonal observables, shape ``(2**n, n_features)``."""
        return _observables(self.circuit.n_qubits, self.readout, self.measured, self.parities).to(like)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must be of use in training, too
def _observables(
    n_qubits: int, readout: str, wires: tuple[int, ...], parities: tuple[tuple[int, ...], ...] | None
) -> Tensor:
    outcomes = torch.eye(2**n_qubits)
    if parities is not None:
        signs = pauli_z(outcomes)
        return torch.stack([signs[:, list(some)].prod(-1) for some in parities], -1)
    return pauli_z(outcomes)[:, list(wires)] if readout == "pauli_z" else marginal(outcomes, wires)
