"""Where SoRA goes in a model, as peft's tuner model."""

from collections import Counter
from typing import Any

from torch import nn

from qpeft.errors import ModelError
from qpeft.tuners._peft import LORA_TARGETS
from qpeft.tuners._residual import ResidualModel, linear_widths
from qpeft.tuners.sora.config import SoraConfig
from qpeft.tuners.sora.layer import SoraDelta, SoraLinear


class SoraModel(ResidualModel):
    """A base model with SoRA at its linear layers."""

    prefix = "sora_"
    tuner_layer_cls = SoraLinear
    linear_layer_cls = SoraLinear
    target_module_mapping = LORA_TARGETS

    def build_delta(self, config: SoraConfig, d_in: int, d_out: int) -> nn.Module:
        """The update of one linear layer."""
        return SoraDelta(config, d_in, d_out)

    def widths(self, module: nn.Module, insertion: str, key: str) -> tuple[int, int]:
        """Input and output width of a linear layer.

        Raises:
            ModelError: The module is no linear layer.
        """
        found = linear_widths(module)
        if found is None:
            raise ModelError(
                f"sora needs linear layers; {key} is a {type(module).__name__}; name linear layers in target_modules, "
                f"or take 'all-linear'"
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
            if isinstance(layer, SoraLinear):
                layer.base_weight()
                if users[id(layer.get_base_layer().weight)] > 1:
                    raise ModelError(
                        f"{key} shares its weight with another module (a tied head, say), which merging would change "
                        f"too; give it a weight of its own before training: module.weight = "
                        f"torch.nn.Parameter(module.weight.detach().clone()), config.tie_word_embeddings = False"
                    )
