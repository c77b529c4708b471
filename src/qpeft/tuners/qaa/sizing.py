"""How large QAA's updates are: sized by what the first batch shows, and the size of Adam's first step foretold.

Adam's first step moves every number of W from 0 to -r sign(g), r the learning rate. The update ``s W^T z`` then has
components of size ``r s ||z||_1`` at most, which they reach where the readings z differ little between tokens. With h
the root mean square of the hidden state the update is added to, module m changes it by ``c_m = r s_m ||z||_1 / h_m``.
The gradient turns the changes of all M modules the same way, while their outputs themselves add up like independent
vectors: the sum of the outputs changes by ``sqrt(M) mean(c_m)``. Asking for ``first_step`` at r = 0.001 gives
``s_m = first_step h_m / (0.001 ||z||_1 sqrt(M))``, whatever the width, the depth and the size of the hidden states.
"""

import math
import warnings
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

# The rate first_step is told for, LoRA's usual rate, a change that breaks a model, and one that does not.
RATE, USUAL, TOO_FAR, GENTLE = 1e-3, 5e-3, 0.5, 0.05


@dataclass
class Survey:
    """What the first batch of training showed at the modules of one adapter.

    Attributes:
        n_modules: M.
        setting: What sized the updates, in words.
        changes: One number a module that was seen: relative change of its hidden state for each unit of the rate.
        told: Whether the warning was given, or someone who knows the rate gives it.
    """

    n_modules: int = 1
    setting: str = ""
    changes: list[float] = field(default_factory=list)
    told: bool = False

    def first_step(self, learning_rate: float) -> float | None:
        """Relative change of the hidden states that Adam's first step makes, about; None before the first batch."""
        if not self.changes:
            return None
        return learning_rate * math.sqrt(self.n_modules) * math.fsum(self.changes) / len(self.changes)

    def note(self, change: float) -> None:
        """Take in one module, and warn with the last one where a usual rate would break the model."""
        self.changes.append(change)
        expected = self.first_step(USUAL)
        if len(self.changes) == self.n_modules and not self.told and expected is not None and expected > TOO_FAR:
            self.told = True
            warnings.warn(drowned(self, USUAL), UserWarning, stacklevel=2)


def drowned(survey: Survey, learning_rate: float) -> str:
    """What a too large first step does, and the way on."""
    expected = survey.first_step(learning_rate)
    assert expected is not None
    good = learning_rate * GENTLE / expected
    return (
        f"QAA with {survey.setting}: the first step of Adam at a learning rate of {learning_rate:g} changes the "
        f"hidden states of this model ({survey.n_modules} modules) by about {expected:.2g} times their size, which "
        f"can undo what it has learnt; use preset 'measured', or a learning rate of about {good:.0e}"
    )


@torch.no_grad()
def look(hidden: Tensor, features: Tensor, biased: bool) -> tuple[float, float] | None:
    """Medians over the tokens of the hidden state's root mean square and of ||z||_1; None where one of them is 0.

    Several processes of a training take the mean of theirs, so that they go on with the same numbers.

    Args:
        hidden: Shape ``(..., d)``.
        features: z, shape ``(..., k)``.
        biased: A trained vector is added: one more reading, which is always 1.
    """
    if hidden.numel() == 0:
        return None
    size = hidden.float().square().mean(-1).sqrt().median()
    reading = features.float().abs().sum(-1).median() + float(biased)
    both = torch.stack([size, reading])
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(both)
        both /= dist.get_world_size()
    found = both.tolist()
    return (found[0], found[1]) if all(0 < number < math.inf for number in found) else None
