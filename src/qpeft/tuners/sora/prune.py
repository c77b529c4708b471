"""From a trained SoRA adapter to an ordinary LoRA of peft without the ranks whose gates are zero."""

import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from qpeft.errors import ExportError
from qpeft.tuners._lora import PREFIX, as_lora, require_whole
from qpeft.tuners.sora.config import SoraConfig
from qpeft.tuners.sora.layer import SoraDelta, sora_layers


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
    require_whole(model, layers, "prune")
    deltas = {name.removeprefix(PREFIX): layer.delta(adapter_name) for name, layer in layers.items()}
    kept = {name: delta for name, delta in deltas.items() if bool((delta.gate != 0).any())}
    if not kept:
        raise ExportError(
            "all gates of the adapter are zero, so nothing is left to save; train with a smaller prox_lambda"
        )
    pairs = {name: factors(delta) for name, delta in kept.items()}
    return as_lora(model, adapter_name, pairs, ranks_of(model.peft_config[adapter_name], kept))


def factors(delta: SoraDelta) -> tuple[Tensor, Tensor]:
    """A' of shape (kept, d_in) and B' of shape (d_out, kept), float32."""
    keep = (delta.gate != 0).nonzero().squeeze(1)
    gate, A, B = (tensor.detach().float() for tensor in (delta.gate, delta.A, delta.B))
    return gate[keep, None] * A[keep], B[:, keep].contiguous()


def ranks_of(config: SoraConfig, kept: dict[str, SoraDelta]) -> dict[str, Any]:
    """Ranks and scaling of the pruned LoRA: a rank and alpha of its own where a module lost ranks."""
    # peft reads the keys as patterns for the end of a name; anchored, each means one module only.
    ranks = {"^" + re.escape(name): int((delta.gate != 0).sum()) for name, delta in kept.items()}
    ranks = {key: rank for key, rank in ranks.items() if rank != config.r}
    return {
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "rank_pattern": ranks,
        "alpha_pattern": {key: config.lora_alpha * rank / config.r for key, rank in ranks.items()},
    }
