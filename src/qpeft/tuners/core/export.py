"""From a trained core to an ordinary LoRA of peft that computes the same."""

from typing import Any

from qpeft.tuners._lora import PREFIX, as_lora, require_whole
from qpeft.tuners.core.layer import core_layers


def core_as_lora(model: Any, adapter_name: str = "default") -> Any:
    """Turn a core adapter into an ordinary LoRA of rank r on the same base model: ``A = V^T``, ``B = s U R``.

    The LoRA computes what the core computed up to the rounding of float32. It is saved, loaded and merged by peft
    alone, and holds r numbers for each input and output of a layer.

    Args:
        model: The peft model with the adapter. As after ``unload()``, its core layers are taken out, those of other
            adapters too: use what is returned.
        adapter_name: The adapter, which keeps its name.

    Raises:
        ModelError: The model is no peft model with a core adapter of this name, or the adapter is merged at present.
        ExportError: peft cannot tell a layer with an update from one without by its name.
    """
    layers = core_layers(model, adapter_name)
    require_whole(model, layers, "core_as_lora")
    r = model.peft_config[adapter_name].r
    pairs = {name.removeprefix(PREFIX): layer.delta(adapter_name).factors() for name, layer in layers.items()}
    return as_lora(model, adapter_name, pairs, {"r": r, "lora_alpha": r})
