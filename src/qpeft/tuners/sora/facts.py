"""What SoRA says of itself."""

from typing import Any

from qpeft.method import Method
from qpeft.tuners.sora.prox import parameter_groups
from qpeft.tuners.sora.prune import prune, sparsity


def _callbacks() -> list[Any]:
    # Later than this package: transformers imports peft, and peft this package, before it has a Trainer.
    from qpeft.tuners.sora.callback import SoraCallback

    return [SoraCallback()]


METHOD = Method(
    "sora",
    "SORA",
    "LoRA with gates that training sets to zero",
    fixed={"peft_type": "SORA"},
    provider="qpeft",
    callbacks=_callbacks,
    # Decay would shrink the gates a second time beside their proximal step.
    parameter_groups=parameter_groups,
    effective=lambda model: sparsity(model).n_parameters,
    loras={"prune": prune},
)
