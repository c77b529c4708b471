"""The exact backend: qpeft's own state-vector simulator, on CPU or GPU."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.errors import ConfigError, require_choice
from qpeft.quantum.engine.embedded import embedded_expectations, real_program
from qpeft.quantum.engine.fused import triton_kernels
from qpeft.quantum.engine.simulate import KERNELS, probabilities, require_shapes


@dataclass(frozen=True)
class ExactBackend:
    """Noiseless probabilities with gradients to angles and input states.

    >>> from qpeft.circuits import build_ansatz
    >>> ExactBackend(torch.float64).probabilities(build_ansatz("ry_cnot", 1, 1), torch.zeros(1)).dtype
    torch.float64

    Args:
        dtype: precision of the simulation and of its result, float32 or float64; None follows the angles.
        kernel: ``torch``, or ``triton``: the whole circuit as one kernel forward and one backward, on a GPU.

    Raises:
        ConfigError: the dtype is neither float32 nor float64, nor None, or the kernel is unknown.
        MissingExtraError: the kernel needs Triton, which is not installed.
    """

    dtype: torch.dtype | None = None
    kernel: str = "torch"
    name: ClassVar[str] = "exact"
    differentiable: ClassVar[bool] = True
    input_gradient: ClassVar[bool] = True
    shots: ClassVar[None] = None
    noise: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.dtype not in (None, torch.float32, torch.float64):
            raise ConfigError(f"dtype must be torch.float32, torch.float64 or None; got {self.dtype}")
        require_choice("kernel", self.kernel, KERNELS)
        if self.kernel == "triton":
            triton_kernels()

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Probabilities of all basis states (see ``qpeft.quantum.engine.probabilities``); nothing here is random."""
        if self.dtype is None:
            return probabilities(circuit, angles, states, kernel=self.kernel)
        if states is not None:
            states = states.to(self.dtype.to_complex() if states.is_complex() else self.dtype)
        return probabilities(circuit, angles.to(self.dtype), states, kernel=self.kernel)

    def observed(self, circuit: Circuit, angles: Tensor, x: Tensor, observables: Tensor) -> Tensor | None:
        """Diagonal observables of real vectors chunk by chunk, never all amplitudes of a batch (see `Backend`)."""
        if self != ExactBackend() or not 1 <= x.shape[-1] <= 2**circuit.n_qubits:
            return None
        require_shapes(circuit, angles, None)
        program = real_program(circuit, x.device, x.dtype)
        if program is None:
            return None
        z = embedded_expectations(program, angles.to(x.dtype), x.reshape(-1, x.shape[-1]), observables)
        return z.view(*x.shape[:-1], observables.shape[-1])

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """Nothing: the result depends on circuit and angles alone."""
        return {}
