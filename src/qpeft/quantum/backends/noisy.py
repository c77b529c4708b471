"""The noisy backend: exact probabilities under noise, in torch, with gradients."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.errors import ConfigError
from qpeft.quantum.engine.states import amplitude_embed
from qpeft.quantum.noise import NoiseModel, load_device, native_circuit, noisy_observables, noisy_probabilities


@dataclass(frozen=True)
class NoisyBackend:
    """Probabilities under a noise model, without sampling error; gradients to angles and input states are exact.

    >>> from qpeft.circuits import build_ansatz
    >>> backend = NoisyBackend(NoiseModel(device="torino"))
    >>> backend.probabilities(build_ansatz("ry_cnot", 2, 1), torch.zeros(2)).round(decimals=3)
    tensor([0.9860, 0.0040, 0.0080, 0.0010])

    Args:
        model: what goes wrong.
        dtype: precision of the simulation and of its result, float32 or float64; None follows the angles.

    Raises:
        ConfigError: the dtype is neither float32 nor float64, nor None.
    """

    model: NoiseModel = field(default_factory=NoiseModel)
    dtype: torch.dtype | None = None
    name: ClassVar[str] = "noisy"
    differentiable: ClassVar[bool] = True
    input_gradient: ClassVar[bool] = True
    shots: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.dtype not in (None, torch.float32, torch.float64):
            raise ConfigError(f"dtype must be torch.float32, torch.float64 or None; got {self.dtype}")

    @property
    def noise(self) -> str:
        """The noise model in words."""
        return self.model.name

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Probabilities of all basis states (see ``qpeft.quantum.noise.noisy_probabilities``); nothing is random."""
        if self.dtype is not None:
            angles = angles.to(self.dtype)
            if states is not None:
                states = states.to(self.dtype.to_complex() if states.is_complex() else self.dtype)
        return noisy_probabilities(circuit, self.model, angles, states)

    def observed(self, circuit: Circuit, angles: Tensor, x: Tensor, observables: Tensor) -> Tensor:
        """Diagonal observables of real vectors as z_k = x^T A_k x (see `Backend`).

        They go back through the circuit once, instead of a density matrix of 4**n numbers forward for every vector.
        """
        matrices = noisy_observables(circuit, self.model, angles.to(x.dtype), observables)
        unit = amplitude_embed(x, circuit.n_qubits)
        return torch.einsum("...i,kij,...j->...k", unit, matrices, unit)

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """Device, calibration date, physical qubits, transpiler level and seed, native gates; or the numbers given.

        >>> from qpeft.circuits import build_ansatz
        >>> details = NoisyBackend(NoiseModel(device="fez")).details(build_ansatz("ry_cnot", 5, 8))
        >>> details["physical_qubits"], details["gates_cz"], details["gates_sx"]
        ('136 143 142 141 140', 32, 105)
        """
        settings: dict[str, str | int | float] = dict(self.model.given())
        if self.model.device is None:
            return settings
        device = load_device(self.model.device, circuit.n_qubits)
        counts = native_circuit(circuit).counts()
        return settings | {
            "calibrated": device.calibrated,
            "physical_qubits": " ".join(map(str, device.physical)),
            "transpile_level": device.level,
            "transpile_seed": device.seed,
            **{f"gates_{name}": count for name, count in counts.items()},
        }
