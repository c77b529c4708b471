"""Any circuit as one of simple gates with bare parameters, and its angles as those of the other."""

from functools import lru_cache

import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.lowering import lowered
from qpeft.errors import ShapeError


def simple(circuit: Circuit, angles: Tensor) -> tuple[Circuit, Tensor]:
    """A circuit of simple gates with the same probabilities, and its angles; the same ones where it is one already.

    >>> from qpeft.circuits import Operation, Parameter
    >>> circuit = Circuit(1, (Operation("p", (0,), Parameter(0, scale=2.0)),))
    >>> simple(circuit, torch.tensor([0.25]))[1]
    tensor([0.5000])

    Args:
        circuit: any circuit.
        angles: radians, shape ``(..., P)``.

    Returns:
        The circuit, and angles of shape ``(..., K)`` through which autograd passes.

    Raises:
        ShapeError: the angles are not floats, or their last axis does not fit the circuit.
    """
    found = lowered(circuit)
    if found is None:
        return circuit, angles
    require_angles_of(circuit, angles)
    origin, scales, shifts = _lines(circuit, angles.device, angles.dtype)
    return found.circuit, angles.index_select(-1, origin) * scales + shifts


def require_angles_of(circuit: Circuit, angles: Tensor) -> None:
    """Raise ShapeError unless the angles fit the circuit."""
    if angles.dtype not in (torch.float32, torch.float64):
        raise ShapeError(f"angles must be float32 or float64; got {angles.dtype}; use angles.float()")
    if angles.dim() == 0 or angles.shape[-1] != circuit.n_parameters:
        raise ShapeError(
            f"angles must have {circuit.n_parameters} values on the last axis, one per parameter of the circuit; "
            f"got shape {tuple(angles.shape)}"
        )


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept must be of use in training, too
def _lines(circuit: Circuit, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Origin, scale and shift of each angle."""
    found = lowered(circuit)
    assert found is not None
    scales, shifts = (torch.tensor(values, dtype=dtype, device=device) for values in (found.scales, found.shifts))
    return torch.tensor(found.origin, device=device, dtype=torch.int64), scales, shifts
