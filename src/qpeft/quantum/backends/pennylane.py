"""The PennyLane backend: any PennyLane device, from its simulators to the plug-ins of hardware vendors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.pennylane_circuits import queue
from qpeft.errors import BackendError, import_extra
from qpeft.quantum.backends._evaluations import evaluations_of, leading_axes, seed_of
from qpeft.quantum.engine.simulate import require_shapes
from qpeft.quantum.shots import Shots
from qpeft.quantum.simple import simple

# Devices of PennyLane itself that are told how to draw their samples; plug-ins of vendors have their own ways.
SEEDED = ("default.qubit", "default.mixed", "lightning.qubit", "lightning.gpu", "lightning.kokkos")


@dataclass(frozen=True)
class PennyLaneBackend:
    """A PennyLane device.

    ``default.qubit`` without shots is differentiable in angles and states, by back-propagation. Every other device
    gives values only, for a gradient method of qpeft: PennyLane's adjoint method silently returns NaN for padded input
    states.

    >>> PennyLaneBackend().differentiable, PennyLaneBackend("lightning.qubit").differentiable
    (True, False)

    Args:
        device: a name that ``pennylane.device`` knows.
        shots: None gives exact probabilities, where the device has them.
        options: further (name, value) pairs for ``pennylane.device``.
        noise: what records call the noise, if the device has some of its own.

    Raises:
        MissingExtraError: with the first circuit: PennyLane is not installed.
    """

    device: str = "default.qubit"
    shots: Shots | None = None
    options: tuple[tuple[str, str | int | float], ...] = ()
    noise: str | None = None
    name: ClassVar[str] = "pennylane"

    @property
    def differentiable(self) -> bool:
        """Whether autograd passes to the angles: through the simulation of default.qubit."""
        return self.device == "default.qubit" and self.shots is None

    @property
    def input_gradient(self) -> bool:
        """Whether autograd passes to the states, too."""
        return self.differentiable

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Probabilities or relative frequencies (see ``Backend.probabilities``), simulated in float64.

        The seed reaches PennyLane's own devices; a vendor's device draws as it likes.

        Raises:
            BackendError: a value or a gradient is not finite.
        """
        # Not every device runs every gate with torch's angles: default.mixed has no PhaseShift and no U3 then.
        circuit, angles = simple(circuit, angles)
        if self.differentiable:
            return self._differentiable(circuit, angles, states)
        asked = evaluations_of(circuit, angles, states)
        program = self._program(circuit, seed_of(seed, 0))
        inputs = None if asked.states is None else torch.from_numpy(asked.states)
        with torch.no_grad():
            values = program(torch.from_numpy(asked.angles), inputs)
        # Without angles or states the device has seen one circuit, and the rows are as many draws from it.
        if values.dim() == 1 and self.shots and len(asked.angles) > 1:
            rows = [self._program(circuit, seed_of(seed, row))(None, None) for row in range(len(asked.angles))]
            values = torch.stack(rows)
        values = _finite(values.expand(len(asked.angles), -1), self.device)
        return asked.tensor(values.clamp(0, 1).numpy(), angles)

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """Device, its options, and PennyLane's version."""
        return {"device": self.device, **dict(self.options), "pennylane": str(_pennylane().__version__)}

    def _differentiable(self, circuit: Circuit, angles: Tensor, states: Tensor | None) -> Tensor:
        require_shapes(circuit, angles, states)
        shape = leading_axes(angles, states)
        # One set of angles for many states, or one state for many angles, is simulated without copies.
        rows = _rows(angles.double(), shape)
        inputs = None if states is None else _rows(states.to(torch.complex128), shape)
        for tensor in (rows, inputs):
            if tensor is not None and tensor.requires_grad:
                tensor.register_hook(lambda gradient: _finite(gradient, self.device))  # type: ignore[no-untyped-call]
        values = _finite(self._program(circuit, None)(rows, inputs), self.device)
        return values.expand(shape.numel(), -1).reshape(*shape, 2**circuit.n_qubits).to(angles.dtype)

    def _program(self, circuit: Circuit, seed: int | None) -> Callable[[Tensor | None, Tensor | None], Tensor]:
        """A function from angles ``(P,)`` or ``(B, P)`` and states to probabilities; new, so that its seed is."""
        qml = _pennylane()
        options = dict(self.options)
        if self.shots and self.device in SEEDED:
            options.setdefault("seed", seed or 0)
        try:
            device = qml.device(self.device, wires=circuit.n_qubits, **options)
        except Exception as error:  # each vendor's device refuses in its own way
            raise BackendError(f"PennyLane cannot open device {self.device!r}: {error}") from error

        def program(angles: Tensor | None, states: Tensor | None) -> Any:
            if states is not None:
                # Lengths are kept, not mended: the squares of the state are what comes out.
                qml.StatePrep(states, wires=range(circuit.n_qubits), validate_norm=False)
            for operation in circuit.operations:
                queue(qml, operation, angles)
            return qml.probs(wires=range(circuit.n_qubits))

        method = "backprop" if self.differentiable else None
        node = qml.QNode(program, device, interface="torch", diff_method=method)
        if self.shots:
            node = qml.set_shots(node, shots=self.shots.of(circuit.n_qubits))
        return lambda angles, states: torch.as_tensor(node(angles, states), dtype=torch.float64)


def _rows(values: Tensor, shape: torch.Size) -> Tensor:
    """The values as ``(B, ...)``, or without a leading axis where there is one row for all."""
    if values.shape[:-1].numel() == 1:
        return values.reshape(values.shape[-1])
    return values.expand(*shape, values.shape[-1]).reshape(shape.numel(), values.shape[-1])


def _finite(values: Tensor, device: str) -> Tensor:
    if not torch.isfinite(values).all():
        raise BackendError(
            f"PennyLane's {device} gave values or gradients that are not finite; check the angles and states for NaN, "
            "or use the exact backend"
        )
    return values


def _pennylane() -> Any:
    return import_extra("pennylane", "this backend needs PennyLane", "Install it: pip install 'qpeft[pennylane]'")
