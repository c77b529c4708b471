"""What a call asks of a vendor library: rows of angles and of normalised states as numpy arrays, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.errors import ShapeError
from qpeft.quantum.engine.simulate import require_shapes

Row = NDArray[np.float64]
State = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Evaluations:
    """All evaluations of one call, their leading axes flattened to B rows.

    Vendors want states of length one: a state is scaled here, and its probabilities by the squared length on the way
    back, as the exact simulator has it. A zero state runs as ``|0...0>`` and comes back as zeros.

    Attributes:
        shape: leading axes of the result.
        angles: radians, shape ``(B, P)``.
        states: of length one, shape ``(B, 2**n)``, or None.
        weights: squared lengths the states had, shape ``(B, 1)``.
    """

    shape: torch.Size
    angles: Row
    states: State | None
    weights: Row

    def groups(self) -> list[tuple[State | None, NDArray[np.intp]]]:
        """Each different state with the rows that start from it, in order of first appearance."""
        if self.states is None:
            return [(None, np.arange(len(self.angles)))]
        rows: dict[bytes, list[int]] = {}
        for number, state in enumerate(self.states):
            rows.setdefault(state.tobytes(), []).append(number)
        return [(self.states[numbers[0]], np.array(numbers)) for numbers in rows.values()]

    def tensor(self, rows: Sequence[Any] | NDArray[Any], like: Tensor) -> Tensor:
        """Values of the rows, shape ``(B, 2**n)``, as a tensor of the result's shape, precision and device."""
        values = np.asarray(rows, dtype=np.float64) * self.weights
        return torch.from_numpy(values.reshape(*self.shape, values.shape[-1])).to(like)


def evaluations_of(circuit: Circuit, angles: Tensor, states: Tensor | None) -> Evaluations:
    """The rows of a call to ``Backend.probabilities``.

    Raises:
        ShapeError: the last axes do not fit the circuit, or the leading axes do not broadcast.
    """
    require_shapes(circuit, angles, states)
    shape = leading_axes(angles, states)
    flat = _flat(angles.detach().double(), shape)
    if states is None:
        return Evaluations(shape, flat, None, np.ones((len(flat), 1)))
    amplitudes = _flat(states.detach().to(torch.complex128), shape)
    lengths = np.linalg.norm(amplitudes, axis=-1, keepdims=True)
    ground = np.eye(1, amplitudes.shape[-1])
    units = np.where(lengths > 0, amplitudes / np.where(lengths > 0, lengths, 1), ground)
    return Evaluations(shape, flat, units.astype(np.complex128), lengths**2)


def leading_axes(angles: Tensor, states: Tensor | None) -> torch.Size:
    """The leading axes of a result.

    Raises:
        ShapeError: those of angles and states do not broadcast.
    """
    if states is None:
        return angles.shape[:-1]
    try:
        return torch.Size(np.broadcast_shapes(angles.shape[:-1], states.shape[:-1]))
    except ValueError as error:
        raise ShapeError(
            f"leading axes of angles and states must broadcast; got shapes {tuple(angles.shape)} and "
            f"{tuple(states.shape)}; insert axes of size 1 where one of them varies alone"
        ) from error


def seed_of(seed: int, number: int) -> int:
    """A seed of 32 bits for one of several independent runs of a call."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def _flat(values: Tensor, shape: torch.Size) -> Any:
    rows = values.expand(*shape, values.shape[-1]).reshape(shape.numel(), values.shape[-1])
    return rows.cpu().resolve_conj().numpy()
