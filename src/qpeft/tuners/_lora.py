"""From an adapter whose deltas are low-rank products to an ordinary LoRA of peft on the same base model."""

from collections.abc import Iterable, Mapping
from typing import Any

from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from qpeft.errors import ExportError, ModelError
from qpeft.tuners._linear import LinearLayer
from qpeft.tuners._peft import PeftModel

PREFIX = "base_model.model."
Factors = tuple[Tensor, Tensor]


def require_whole(model: Any, layers: Mapping[str, LinearLayer], what: str) -> None:
    """Refuse what can be turned into no LoRA: an injected adapter, and a merged one.

    Raises:
        ModelError: Says which.
    """
    if not isinstance(model, PeftModel):
        raise ModelError(f"{what} needs the peft model that holds the adapter; got a {type(model).__name__}")
    if any(layer.merged for layer in layers.values()):
        raise ModelError("the adapter is merged into the base model; call unmerge_adapter() first")


def as_lora(model: Any, adapter_name: str, factors: Mapping[str, Factors], ranks: Mapping[str, Any]) -> Any:
    """Put a LoRA in the place of an adapter; the adapter keeps its name.

    Args:
        model: The peft model with the adapter. As after ``unload()``, the tuner's layers are taken out, those of other
            adapters too: use what is returned.
        adapter_name: The adapter.
        factors: Name of a linear layer in the base model to A of shape (rank, d_in) and B of shape (d_out, rank),
            float32, without the scaling ``lora_alpha / rank``. Other layers get no LoRA.
        ranks: The fields of a LoraConfig about ranks, scaling and dropout.

    Raises:
        ExportError: peft cannot tell a layer with a LoRA from one without by its name.
    """
    check_names(model, factors)
    old = model.peft_config[adapter_name]
    bases = [model.get_submodule(PREFIX + name).get_base_layer() for name in factors]
    config = LoraConfig(
        target_modules=sorted(factors),
        modules_to_save=old.modules_to_save,
        fan_in_fan_out=all(isinstance(base, Conv1D) for base in bases),
        task_type=old.task_type,
        **ranks,
    )
    # Modules trained as a whole are part of the adapter: they are carried over as they are.
    state = get_peft_model_state_dict(model, adapter_name=adapter_name, save_embedding_layers=False)
    inside = f".{model.base_model.prefix}modules."
    state = {key: value for key, value in state.items() if inside not in key}
    for name, pair in factors.items():
        state[f"{PREFIX}{name}.lora_A.weight"], state[f"{PREFIX}{name}.lora_B.weight"] = pair
    training = model.training
    lora = get_peft_model(model.unload(), config, adapter_name=adapter_name).train(training)
    if unexpected := set_peft_model_state_dict(lora, state, adapter_name=adapter_name).unexpected_keys:
        raise ExportError(f"peft found no place for {', '.join(unexpected[:3])} of the adapter")
    return lora


def check_names(model: nn.Module, kept: Iterable[str]) -> None:
    """Check that full names mean the kept modules and no others, to peft, which compares the ends of names.

    Raises:
        ExportError: A name is the end of another module's name.
    """
    kept = set(kept)
    ends = tuple(f".{name}" for name in kept)
    names = [name.removeprefix(PREFIX) for name, _ in model.named_modules()]
    if wrong := [name for name in names if name not in kept and name.endswith(ends)]:
        raise ExportError(
            f"peft matches names by their ends and would put a LoRA on {wrong[0]} too, which has no update; keep the "
            f"adapter as it is"
        )
