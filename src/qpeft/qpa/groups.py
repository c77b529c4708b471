"""Groups: what torch's parameter groups mean where all numbers come from one generator.

The generator has one learning rate, the largest of the groups. A group with a smaller one takes a smaller share of
what the generator moves: a = offset + share * factors * G(theta). With AdamW the share is the ratio of the rates, with
SGD its square root (there it acts twice, in the gradient and in the step). If every number of the adapter had a number
of its own in the generator, both would be torch's own update with these rates; a share of 0 is a tensor that stays
where it is.
"""

import inspect
import math
from collections.abc import Sequence
from typing import Any

from torch.optim import SGD, AdamW, Optimizer

from qpeft.errors import ConfigError, nearest, require_choice

INNER: dict[str, type[Optimizer]] = {"adamw": AdamW, "sgd": SGD}
# What a group may say for itself; the rest belongs to the one optimizer of the generator.
OWN = ("params", "param_names", "lr", "weight_decay", "initial_lr")
# Given elsewhere, or without meaning: a step writes into leaves, which autograd cannot follow.
TAKEN = ("params", "lr", "weight_decay", "differentiable")


def check_rate(key: str, value: Any) -> float:
    """A learning rate or a weight decay as a number.

    Raises:
        ConfigError: It is negative, infinite or not a number.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0) or isinstance(value, bool):
        raise ConfigError(f"{key} must be a finite number of at least 0; got {value!r}")
    return number


def check_inner(name: str, options: dict[str, Any]) -> None:
    """Check the inner optimizer's name and the names of its options.

    Raises:
        ConfigError: One is unknown, or belongs elsewhere.
    """
    require_choice("inner", name, INNER)
    allowed = [key for key in list(inspect.signature(INNER[name]).parameters) if key not in TAKEN]
    for key in options:
        if key not in allowed:
            raise ConfigError(
                f"inner_options must be options of {INNER[name].__name__} ({', '.join(allowed)}); "
                f"got {key!r}{nearest(key, allowed)}"
            )


def check_group(group: dict[str, Any], earlier: Sequence[dict[str, Any]]) -> None:
    """Check one parameter group as torch has filled it in, ahead of torch's own checks where those only warn.

    Args:
        group: With ``params`` as a list of tensors or of (name, tensor) pairs.
        earlier: The groups before it.

    Raises:
        ConfigError: A tensor stands twice, or the group sets what is set for all numbers together.
    """
    for key in group:
        if key not in OWN:
            raise ConfigError(
                f"a parameter group of QPAOptimizer may set lr and weight_decay; got {key!r}, which belongs to the "
                f"generator's one optimizer: give it there, inner_options={{{key!r}: ...}}"
            )
    check_rate("lr of a parameter group", group.get("lr", 0.0))
    check_rate("weight_decay of a parameter group", group.get("weight_decay", 0.0))
    tensors = [entry[1] if isinstance(entry, tuple) else entry for entry in group["params"]]
    seen = {id(tensor) for one in earlier for tensor in one["params"]}
    for tensor in tensors:
        if id(tensor) in seen:
            raise ConfigError(
                f"each Parameter must be given once, as it is generated once; one of shape {tuple(tensor.shape)} "
                f"stands twice (tied weights?): leave the copy out"
            )
        seen.add(id(tensor))


def top_rate(groups: Sequence[dict[str, Any]]) -> float:
    """The generator's learning rate: the largest of the groups that hold anything.

    Raises:
        ConfigError: A rate cannot be used.
    """
    return max(check_rate("lr of a parameter group", group["lr"]) for group in groups if group["params"])


def shares(groups: Sequence[dict[str, Any]], top: float, inner: Optimizer) -> list[float]:
    """Each Parameter's share of what the generator moves, 0 to 1; 0 where it has no gradient."""
    power = 1.0 if isinstance(inner, AdamW) else 0.5
    found = []
    for group in groups:
        share = 1.0 if group["lr"] == top else (float(group["lr"]) / top) ** power
        found += [share if parameter.grad is not None else 0.0 for parameter in group["params"]]
    return found


def decays(groups: Sequence[dict[str, Any]], inner: Optimizer) -> list[float]:
    """What each Parameter loses: AdamW's lr * weight_decay of itself, or SGD's weight_decay into its gradient."""
    found = []
    for group in groups:
        decay = check_rate("weight_decay of a parameter group", group.get("weight_decay", 0.0))
        decay *= float(group["lr"]) if isinstance(inner, AdamW) else 1.0
        found += [decay if parameter.grad is not None else 0.0 for parameter in group["params"]]
    return found
