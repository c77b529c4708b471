"""From a trained SoRA adapter to an ordinary LoRA of peft without the ranks whose gates are zero."""

import re
from dataclasses import dataclass
from typing import Any

from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from qpeft.errors import ExportError, ModelError
from qpeft.tuners._peft import PeftModel
from qpeft.tuners.sora.config import SoraConfig
from qpeft.tuners.sora.layer import SoraDelta, sora_layers

PREFIX = "base_model.model."


@dataclass(frozen=True)
class ModuleGates:
    """The gates of one linear layer.

    Attributes:
        kept: Gates that are not zero.
        r: All gates.
        width: Input plus output width of the layer.
    """

    kept: int
    r: int
    width: int


@dataclass(frozen=True)
class Sparsity:
    """The gates of an adapter, by module and in all.

    Attributes:
        modules: Name of a linear layer in the base model to its gates.
    """

    modules: dict[str, ModuleGates]

    @property
    def kept(self) -> int:
        """Gates that are not zero."""
        return sum(module.kept for module in self.modules.values())

    @property
    def total(self) -> int:
        """All gates."""
        return sum(module.r for module in self.modules.values())

    @property
    def n_parameters(self) -> int:
        """Numbers of the pruned LoRA: the kept ranks times input plus output width, over all modules."""
        return sum(module.kept * module.width for module in self.modules.values())


def sparsity(model: nn.Module, adapter_name: str = "default") -> Sparsity:
    """Count the gates of an adapter that are not zero.

    Raises:
        ModelError: The model has no SoRA adapter of this name.
    """
    found = {}
    for name, layer in sora_layers(model, adapter_name).items():
        delta = layer.delta(adapter_name)
        width = delta.A.shape[1] + delta.B.shape[0]
        found[name.removeprefix(PREFIX)] = ModuleGates(int((delta.gate != 0).sum()), delta.gate.numel(), width)
    return Sparsity(found)


def prune(model: Any, adapter_name: str = "default") -> Any:
    """Turn a SoRA adapter into an ordinary LoRA on the same base model, without the ranks whose gates are zero.

    ``A' = g[keep] * A[keep]``, ``B' = B[:, keep]``, the scaling stays ``alpha / r`` of before. The LoRA computes what
    SoRA computed up to the rounding of float32 (differences of logits of about 1e-7); only the order of two products
    differs. It is saved, loaded and merged by peft alone. Modules without a gate left have no LoRA.

    Args:
        model: The peft model with the adapter. As after ``unload()``, its SoRA layers are taken out, those of other
            adapters too: use what is returned.
        adapter_name: The adapter, which keeps its name.

    Raises:
        ModelError: The model is no peft model with a SoRA adapter of this name, or the adapter is merged at present.
        ExportError: All gates are zero, or peft cannot tell a kept module from one without gates by its name.
    """
    layers = sora_layers(model, adapter_name)
    if not isinstance(model, PeftModel):
        raise ModelError(f"prune needs the peft model that holds the adapter; got a {type(model).__name__}")
    if any(layer.merged for layer in layers.values()):
        raise ModelError("the adapter is merged into the base model; call unmerge_adapter() first")
    deltas = {name.removeprefix(PREFIX): layer.delta(adapter_name) for name, layer in layers.items()}
    kept = {name: delta for name, delta in deltas.items() if bool((delta.gate != 0).any())}
    check_names(model, kept)
    conv = all(isinstance(layers[PREFIX + name].get_base_layer(), Conv1D) for name in kept)
    config = lora_config(model.peft_config[adapter_name], kept, fan_in_fan_out=conv)
    # Modules trained as a whole are part of the adapter: they are carried over as they are.
    state = get_peft_model_state_dict(model, adapter_name=adapter_name, save_embedding_layers=False)
    state = {key: value for key, value in state.items() if ".sora_modules." not in key}
    for name, delta in kept.items():
        state[f"{PREFIX}{name}.lora_A.weight"], state[f"{PREFIX}{name}.lora_B.weight"] = factors(delta)
    training = model.training
    lora = get_peft_model(model.unload(), config, adapter_name=adapter_name).train(training)
    if unexpected := set_peft_model_state_dict(lora, state, adapter_name=adapter_name).unexpected_keys:
        raise ExportError(f"peft found no place for {', '.join(unexpected[:3])} of the pruned adapter")
    return lora


def factors(delta: SoraDelta) -> tuple[Tensor, Tensor]:
    """A' of shape (kept, d_in) and B' of shape (d_out, kept), float32."""
    keep = (delta.gate != 0).nonzero().squeeze(1)
    gate, A, B = (tensor.detach().float() for tensor in (delta.gate, delta.A, delta.B))
    return gate[keep, None] * A[keep], B[:, keep].contiguous()


def lora_config(config: SoraConfig, kept: dict[str, SoraDelta], *, fan_in_fan_out: bool) -> Any:
    """The config of the pruned LoRA: full names, and a rank and alpha of its own where a module lost ranks."""
    # peft reads the keys as patterns for the end of a name; anchored, each means one module only.
    ranks = {"^" + re.escape(name): int((delta.gate != 0).sum()) for name, delta in kept.items()}
    ranks = {key: rank for key, rank in ranks.items() if rank != config.r}
    return LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        rank_pattern=ranks,
        alpha_pattern={key: config.lora_alpha * rank / config.r for key, rank in ranks.items()},
        target_modules=sorted(kept),
        modules_to_save=config.modules_to_save,
        fan_in_fan_out=fan_in_fan_out,
        task_type=config.task_type,
    )


def check_names(model: nn.Module, kept: dict[str, SoraDelta]) -> None:
    """Check that full names mean the kept modules and no others, to peft, which compares the ends of names.

    Raises:
        ExportError: There is nothing to keep, or a name is the end of another module's name.
    """
    if not kept:
        raise ExportError(
            "all gates of the adapter are zero, so nothing is left to save; train with a smaller prox_lambda"
        )
    ends = tuple(f".{name}" for name in kept)
    names = [name.removeprefix(PREFIX) for name, _ in model.named_modules()]
    if wrong := [name for name in names if name not in kept and name.endswith(ends)]:
        raise ExportError(
            f"peft matches names by their ends and would put a LoRA on {wrong[0]} too, which has no gates left or "
            f"none at all; keep the adapter as SoRA"
        )
