"""Where core goes in a model, as peft's tuner model."""

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from qpeft.errors import ModelError
from qpeft.tuners._linear import LinearModel
from qpeft.tuners.core.basis import random_basis, singular_vectors
from qpeft.tuners.core.config import CoreConfig
from qpeft.tuners.core.layer import CoreDelta, CoreLinear


class CoreModel(LinearModel):
    """A base model with cores at its linear layers."""

    prefix = "core_"
    tuner_layer_cls = CoreLinear
    linear_layer_cls = CoreLinear

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """Put the layers in, where peft can tell their numbers from the base model's by name."""
        mine = f"{self.prefix}modules."
        if clash := [name for name, _ in model.named_parameters() if self.prefix in name and mine not in name]:
            raise ModelError(
                f"peft knows the numbers of this method by {self.prefix!r} in their names, and the base model has "
                f"{clash[0]}; rename the module, or take another method"
            )
        super().inject_adapter(model, adapter_name, *args, **kwargs)

    def build_delta(self, config: CoreConfig, d_in: int, d_out: int) -> nn.Module:
        """The update of one linear layer."""
        return CoreDelta(config, d_in, d_out)

    def widths(self, module: nn.Module, insertion: str, key: str) -> tuple[int, int]:
        """Input and output width of a linear layer that is wide enough.

        Raises:
            ModelError: The module is no linear layer, or narrower than the rank.
        """
        found, r = super().widths(module, insertion, key), self.peft_config[self._adding].r
        if r > min(found):
            raise ModelError(
                f"r must be at most the smaller width of every layer; {key} maps {found[0]} to {found[1]}, got r = "
                f"{r}; take a smaller r, or name the layer in exclude_modules"
            )
        return found

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        *rest: Any,
        **named: Any,
    ) -> None:
        self._adding = adapter_name
        super()._create_and_replace(peft_config, adapter_name, target, target_name, parent, *rest, **named)
        layer = getattr(parent, target_name)
        # A loaded adapter brings its basis along.
        if peft_config.basis != "gradient" and not peft_config.inference_mode:
            start_basis(layer, adapter_name)


def start_basis(layer: CoreLinear, adapter_name: str) -> None:
    """Give a new delta the basis that needs no data.

    Raises:
        ModelError: The weight is quantised or sharded, so that it has no singular vectors to take.
    """
    delta, place = layer.delta(adapter_name), next(layer.get_base_layer().parameters(), None)
    if delta.fitted or delta.U.device.type == "meta" or (place is not None and place.device.type == "meta"):
        return
    d_out, d_in, r = len(delta.U), len(delta.V), delta.config.r
    if delta.config.basis == "random":
        delta.set_basis(*random_basis(d_out, d_in, r))
        return
    weight = layer.plain_weight()
    if weight is None:
        raise ModelError(
            f"basis 'weight' takes the singular vectors of a plain weight; {type(layer.get_base_layer()).__name__} "
            f"has none; take basis 'gradient' or 'random'"
        )
    delta.set_basis(*singular_vectors(weight.T if isinstance(layer.get_base_layer(), Conv1D) else weight, r))
