"""The basis of the gradients: streamed through hooks, a few layers at a time, so that no second model is needed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from qpeft.errors import ModelError
from qpeft.tuners._linear import LinearLayer
from qpeft.tuners._residual import exact, linear_widths
from qpeft.tuners.core.basis import singular_vectors
from qpeft.tuners.core.layer import CoreLinear, core_layers

# Bytes of the gradients that are summed at a time, by default; each further part costs one more pass.
MEMORY = 2**30
PREFIX = "base_model.model."


@dataclass(frozen=True)
class Fitted:
    """What fitting a basis cost.

    Attributes:
        layers: Linear layers that got a basis.
        batches: Batches whose mean gradient was taken.
        tokens: Entries of their ``input_ids``.
        passes: How often the model went through them, forward and backward.
    """

    layers: int
    batches: int
    tokens: int
    passes: int

    def __str__(self) -> str:
        times = "" if self.passes == 1 else f", gone through {self.passes} times to save memory"
        return (
            f"the basis of {self.layers} layers was fitted before the first step to the mean gradient of "
            f"{self.batches} batches ({self.tokens} tokens{times}), which the counts of training leave out"
        )


def fit_basis(
    model: Any, batches: Iterable[Mapping[str, Any]], adapter_name: str = "default", memory: int = MEMORY
) -> Fitted | None:
    """Fit the basis of a core adapter to the base model's mean gradient over the tokens of some batches.

    The first ``basis_batches`` batches are used, or as many as there are. The model is in evaluation mode meanwhile
    and left as it was. The gradient of a layer is the sum of ``dy^T x`` over tokens, in float32, from the layer's
    inputs and its output's gradients: weights may be frozen, and quantised. Where several processes train, they take
    the mean over all their batches.

    ::

        model = peft.get_peft_model(base, qpeft.CoreConfig(task_type="CAUSAL_LM"))
        qpeft.fit_basis(model, loader)

    Args:
        model: A model with the adapter in it, which returns a ``loss``.
        batches: What the model takes, with ``labels``; equal at each pass.
        adapter_name: The adapter; layers that have a basis keep it.
        memory: Bytes of gradients that may be held at a time; more layers are fitted in further passes.

    Returns:
        What it cost; None where every layer has its basis.

    Raises:
        ModelError: There is no such adapter, no batch, no loss, or a layer that no gradient reaches.
    """
    layers = core_layers(model, adapter_name)
    missing = {name: layer for name, layer in layers.items() if not layer.delta(adapter_name).fitted}
    if not missing:
        return None
    config = next(iter(missing.values())).delta(adapter_name).config
    used = list(islice(batches, config.chosen("basis_batches")))
    if not used:
        raise ModelError("fitting a basis needs at least one batch of the training data; got none")
    passes = 0
    for part in parts(missing, adapter_name, memory):
        with untouched(model):
            gradients = summed_gradients(model, part, used)
        for name, gradient in gradients.items():
            delta = part[name].delta(adapter_name)
            delta.set_basis(*shared(singular_vectors(gradient, delta.config.r)))
        passes += 1
    tokens = sum(int(batch["input_ids"].numel()) for batch in used if "input_ids" in batch)
    return Fitted(len(missing), len(used), tokens, passes)


def parts(layers: dict[str, CoreLinear], adapter_name: str, memory: int) -> Iterator[dict[str, CoreLinear]]:
    """Layers in groups whose gradients fit, at least one a group."""
    group: dict[str, CoreLinear] = {}
    held = 0
    for name, layer in layers.items():
        delta = layer.delta(adapter_name)
        size = 4 * len(delta.U) * len(delta.V)
        if group and held + size > memory:
            yield group
            group, held = {}, 0
        group[name] = layer
        held += size
    yield group


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """The base model in evaluation mode, its adapters off and nothing trained; afterwards as it was."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(p, p.requires_grad) for p in model.parameters()]
    off = [(m, m._disable_adapters) for m in model.modules() if isinstance(m, LinearLayer)]
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        for layer, _ in off:
            layer._disable_adapters = True
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, trained in wanted:
            parameter.requires_grad_(trained)
        for layer, disabled in off:
            layer._disable_adapters = disabled


def summed_gradients(
    model: Any, layers: Mapping[str, CoreLinear], batches: list[Mapping[str, Any]]
) -> dict[str, Tensor]:
    """The gradient of each layer's weight, summed over the tokens of all batches and processes.

    Shapes (d_out, d_in), float32.

    Raises:
        ModelError: The model gives no loss, or no gradient reaches a layer.
    """
    sums: dict[str, Tensor] = {}
    handles = [layer.get_base_layer().register_forward_hook(watcher(name, sums)) for name, layer in layers.items()]
    place = next(model.parameters()).device
    try:
        with torch.enable_grad():
            for batch in batches:
                moved = {k: v.to(place) if isinstance(v, Tensor) else v for k, v in batch.items()}
                loss = getattr(model(**moved), "loss", None)
                if loss is None:
                    raise ModelError("fitting a basis needs a model that returns a loss; give batches with labels")
                weight = counted(moved)
                if weight and loss.requires_grad:
                    (loss * weight).backward()
    finally:
        for handle in handles:
            handle.remove()
    if several():
        for name, layer in layers.items():  # an expert may be idle in one process only
            d_in, d_out = linear_widths(layer.get_base_layer()) or (0, 0)
            dist.all_reduce(sums.setdefault(name, torch.zeros(d_out, d_in, device=place)))
    for name in layers:
        if name not in sums or not bool(sums[name].any()):
            raise ModelError(
                f"no gradient reaches {name.removeprefix(PREFIX)} in these batches, so that it has no basis; give "
                f"more batches, name the layer in exclude_modules, or take basis 'weight'"
            )
    return {name: sums[name] for name in layers}


def counted(batch: Mapping[str, Any]) -> int:
    """Tokens that the mean loss of a batch is over, so that the mean over batches does not depend on their sizes."""
    labels = batch.get("labels")
    return int((labels[..., 1:] != -100).sum()) if isinstance(labels, Tensor) and labels.dim() > 1 else 1


def watcher(name: str, sums: dict[str, Tensor]) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
    """A forward hook of a linear layer that adds the gradient of its weight to a sum as the gradient passes."""

    def watch(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        if not output.requires_grad:
            output.requires_grad_(True)  # here the graph begins: everything is frozen
        x = args[0].detach()
        output.register_hook(lambda gradient: add(x, gradient))  # type: ignore[no-untyped-call]

    def add(x: Tensor, gradient: Tensor) -> None:
        with exact(x):
            rows = gradient.detach().flatten(0, -2).float()
            product = rows.T @ x.flatten(0, -2).float()
        sums[name] = sums[name].add_(product) if name in sums else product

    return watch


def several() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def shared(basis: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The basis of the first process, which the others may have found with other rounding."""
    if several():
        for part in basis:
            dist.broadcast(part, 0)
    return basis
