"""Targets inside one another, which peft passes over, leaves without effect, or saves under names that do not load."""

from collections.abc import Callable
from itertools import accumulate

from torch import nn

from qpeft.errors import ModelError


def require_apart(model: nn.Module, kind: type[nn.Module], wanted: Callable[[str], object]) -> None:
    """Check that no module with deltas lies inside another one, whichever adapters they belong to.

    Args:
        model: With its adapter layers.
        kind: Class of the adapter layers.
        wanted: Whether the newest adapter targets a module of the base model, by its name.

    Raises:
        ModelError: Names the inner and the outer module.
    """
    layers = {name for name, module in model.named_modules() if isinstance(module, kind)}
    for name, _ in model.named_modules():
        outer = next((path for path in accumulate(name.split(".")[:-1], "{}.{}".format) if path in layers), None)
        if outer is None:
            continue
        plain = name.replace(".base_layer", "")
        # peft does not look for targets inside of what another adapter wrapped.
        passed_over = name.startswith(f"{outer}.base_layer.") and not name.endswith(".base_layer") and wanted(plain)
        if name in layers or passed_over:
            raise ModelError(
                f"targets must not lie inside one another; got {plain} inside {outer.replace('.base_layer', '')}; "
                f"target one of the two, also with a second adapter"
            )
