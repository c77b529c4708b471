"""The part tuners share whose delta is a change of a linear layer's weight: places, merging, taking it out again."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from qpeft.errors import ModelError
from qpeft.tuners._peft import LORA_TARGETS, check_adapters_to_merge
from qpeft.tuners._residual import ResidualLayer, ResidualModel, linear_widths

PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
# How methods are written where their configs are named otherwise.
WORDS = {"Sora": "SoRA", "Core": "core"}


class LinearLayer(ResidualLayer):
    """A linear layer with deltas that know their ``weight()``, the update as a float32 matrix ``(d_out, d_in)``."""

    def delta(self, adapter_name: str) -> Any:
        """The update of one adapter."""
        return self.deltas[adapter_name]

    def plain_weight(self) -> Tensor | None:
        """The weight, where an update can be added to it; None where it is quantised or sharded."""
        weight = getattr(self.get_base_layer(), "weight", None)
        if weight is None or type(weight.data) is not Tensor or weight.dtype not in PLAIN:
            return None
        found: Tensor = weight.data
        return found

    def base_weight(self) -> Tensor:
        """The weight that an update can be added to.

        Raises:
            ModelError: The weight is quantised or sharded.
        """
        found = self.plain_weight()
        if found is None:
            base = self.get_base_layer()
            weight = getattr(base, "weight", None)
            kind = "no weight" if weight is None else f"a {type(weight.data).__name__} of {weight.dtype}"
            raise ModelError(
                f"an adapter can be merged only into a plain weight of floating point numbers; {type(base).__name__} "
                f"has {kind}; keep the adapter as it is, or load the base model without quantisation and merge there"
            )
        return found

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """The change of the base weight, in its shape; peft's tools ask for it by this name."""
        change: Tensor = self.delta(adapter_name).weight()
        return change.T if isinstance(self.get_base_layer(), Conv1D) else change

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Whether peft's own ``convert_to_lora`` can read the update; it takes Conv1D's for a linear layer's."""
        return not isinstance(self.get_base_layer(), Conv1D)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add updates to the base weight.

        Args:
            safe_merge: Refuse where the result is not finite.
            adapter_names: None is the active adapters.

        Raises:
            ModelError: The weight is quantised or sharded, or the result is not finite.
        """
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.deltas:
                weight = self.base_weight()
                merged = weight + self.get_delta_weight(name)
                if safe_merge and not torch.isfinite(merged).all():
                    raise ModelError(f"adapter {name!r} would merge to values that are not finite; it seems broken")
                weight.copy_(merged)
                self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take every merged update out again; equal to before up to the rounding of the base weight."""
        while self.merged_adapters:
            name = self.merged_adapters.pop()
            weight = self.base_weight()
            weight.copy_(weight - self.get_delta_weight(name))


class LinearModel(ResidualModel):
    """The tuner of a method that changes the weights of linear layers; its words name the method by its prefix."""

    target_module_mapping = LORA_TARGETS

    def widths(self, module: nn.Module, insertion: str, key: str) -> tuple[int, int]:
        """Input and output width of a linear layer.

        Raises:
            ModelError: The module is no linear layer.
        """
        found = linear_widths(module)
        if found is None:
            raise ModelError(
                f"{self.prefix.removesuffix('_')} needs linear layers; {key} is a {type(module).__name__}; name "
                f"linear layers in target_modules, or take 'all-linear'"
            )
        return found

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        """Where the user named no modules, take those peft gives LoRA in this family."""
        if peft_config.target_modules is None:
            family = str(model_config.get("model_type"))
            if family not in self.target_module_mapping:
                raise ModelError(
                    f"peft knows no usual target_modules for the family {family!r}; name linear layers in "
                    f"target_modules, or take 'all-linear'"
                )
            peft_config.target_modules = set(self.target_module_mapping[family])
        return peft_config

    def _check_merge_allowed(self) -> None:
        """Refuse before anything is merged: quantised weights, and weights that other modules use too.

        Raises:
            ModelError: Names the module.
        """
        users = Counter(id(m.weight) for m in self.model.modules() if "weight" in m._parameters)
        for key, layer in self.model.named_modules():
            if isinstance(layer, LinearLayer):
                layer.base_weight()
                if users[id(layer.get_base_layer().weight)] > 1:
                    raise ModelError(
                        f"{key} shares its weight with another module (a tied head, say), which merging would change "
                        f"too; give it a weight of its own before training: module.weight = "
                        f"torch.nn.Parameter(module.weight.detach().clone()), config.tie_word_embeddings = False"
                    )


def layers_of(model: nn.Module, kind: type[LinearLayer], adapter_name: str, method: str) -> dict[str, Any]:
    """Names, as ``named_modules`` gives them, and layers that an adapter reaches.

    Args:
        model: A model with the adapter in it.
        kind: The tuner's layers.
        adapter_name: The adapter.
        method: The method's name as the name of its config has it, for the message.

    Raises:
        ModelError: The model has no adapter of this kind and name.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, kind)}
    found = {name: layer for name, layer in layers.items() if adapter_name in layer.deltas}
    if not found:
        known = sorted({adapter for layer in layers.values() for adapter in layer.deltas})
        raise ModelError(
            f"a model with a {WORDS.get(method, method)} adapter named {adapter_name!r} was required; "
            f"{type(model).__name__} has {', '.join(known) or 'none'}; wrap it with peft.get_peft_model(model, "
            f"{method}Config(...)) first"
        )
    return found
