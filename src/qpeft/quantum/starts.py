"""The angles that training starts from."""

from collections.abc import Callable

import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.mirror import identity_angles
from qpeft.errors import ConfigError, require_choice

INITS = ("uniform", "zeros", "identity")
# A word, the angles themselves, or a function that fills a tensor, as those of torch.nn.init, or gives a new one.
Init = str | Tensor | Callable[[Tensor], Tensor | None]


def start_of(init: Init, circuit: Circuit, blocks: int, count: int) -> Tensor:
    """The first angles of a layer, shape ``(count,)``.

    Raises:
        ConfigError: an unknown word, or numbers of another shape.
        CircuitError: ``identity`` of a circuit that cannot be the identity.
    """
    if isinstance(init, Tensor):
        found = init.detach().clone()
    elif callable(init):
        given = torch.empty(count)
        with torch.no_grad():
            made = init(given)
        found = given if made is None else made.detach().clone()
    else:
        require_choice("init", init, INITS)
        found = torch.zeros(count) if init == "zeros" else random_angles(count)
    if found.shape != (count,):
        raise ConfigError(f"init must give {count} angles, shape ({count},); got shape {tuple(found.shape)}")
    if isinstance(init, str) and init == "identity" and count == blocks * circuit.n_parameters:
        parts = found.view(blocks, -1).tolist() if count else []
        found = torch.tensor([angle for part in parts for angle in identity_angles(circuit, part)])
    return found


def random_angles(count: int) -> Tensor:
    """Angles from U(-pi, pi) radians, shape ``(count,)``.

    Zeros would not do: with real amplitudes and RX gates every gradient is exactly zero there.
    """
    return torch.empty(count).uniform_(-torch.pi, torch.pi)
