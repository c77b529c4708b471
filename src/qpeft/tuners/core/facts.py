"""What the method says of itself."""

from typing import Any

from qpeft.method import Method
from qpeft.tuners.core.export import core_as_lora
from qpeft.tuners.core.twins import twins


def _callbacks() -> list[Any]:
    # Later than this package: transformers imports peft, and peft this package, before it has a Trainer.
    from qpeft.tuners.core.callback import CoreCallback

    return [CoreCallback()]


METHOD = Method(
    "core",
    "CORE",
    "a small trained matrix in a frozen basis: of the first gradients, of the weights (LoRA-XS) or random",
    fixed={"peft_type": "CORE"},
    provider="qpeft",
    callbacks=_callbacks,
    twins=twins,
    loras={"lora": core_as_lora},
)
