"""The part all our tuners share: a module of the base model with a trained delta after, beside or before it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from qpeft.card import write_card
from qpeft.errors import ConfigError, ModelError, require_choice
from qpeft.tuners._nesting import require_apart
from qpeft.tuners._peft import BaseTuner, BaseTunerLayer, PeftConfig, peft_type
from qpeft.tuners._sites import site_pattern

INSERTIONS = ("after", "parallel", "before")


@dataclass
class ResidualConfig(PeftConfig):  # type: ignore[misc]
    """Fields every tuner of qpeft has; the names are those peft, transformers and TRL read.

    Args:
        target_modules: Names or ends of names, one pattern for whole names, or None: the sites of ``placement``.
        exclude_modules: Names or a pattern left out.
        modules_to_save: Modules trained and saved as a whole beside the adapter.
        layers_to_transform: Only these layers, counted from 0; None is all.
        layers_pattern: Name of the list of layers, where names in ``target_modules`` need it.
        init_weights: Start with a delta of exactly zero, so that the model computes what it did; False starts at
            random, for tests.
    """

    METHOD: ClassVar[str]

    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    modules_to_save: list[str] | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    trainable_token_indices: None = field(default=None, repr=False)
    init_weights: bool = True

    def __post_init__(self) -> None:
        """Set the type; as in peft, lists of names become sets."""
        super().__post_init__()
        self.peft_type = peft_type(self.METHOD)
        for key in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, key), list):
                setattr(self, key, set(getattr(self, key)))
        if isinstance(self.layers_to_transform, int):
            self.layers_to_transform = [self.layers_to_transform]
        if self.trainable_token_indices is not None:
            raise ConfigError(f"{self.METHOD} trains no tokens; leave trainable_token_indices out")

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Write the config, and into the model card beside it what the adapter is and how to load it."""
        super().save_pretrained(save_directory, **kwargs)
        write_card(save_directory)


Choice = Iterable[str] | Callable[[str, str], None]


def check_fields(
    config: ResidualConfig, checks: dict[str, tuple[str, Any]], choices: dict[str, Choice] | None = None
) -> None:
    """Check values against (what is required in words, predicate), or words against those allowed or by a function.

    Raises:
        ConfigError: One line a fault: the key as typed, what was required, what came.
    """
    faults = []
    for key, allowed in (choices or {}).items():
        try:
            check = allowed if callable(allowed) else partial(require_choice, allowed=allowed)
            check(f"{config.METHOD}.{key}", str(getattr(config, key)))
        except ConfigError as fault:
            faults.append(str(fault))
    faults += [
        f"{config.METHOD}.{key} must be {needed}; got {getattr(config, key)!r}"
        for key, (needed, good) in checks.items()
        if not good(getattr(config, key))
    ]
    if faults:
        raise ConfigError("\n".join(faults))


class ResidualLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A module of the base model and the deltas of its adapters.

    A delta is an ``nn.Module`` with an attribute ``insertion`` that maps ``(..., d_in)`` to ``(..., d_out)`` in the
    dtype it likes; its Parameters and persistent buffers sit directly on it, which peft's file format asks for.
    ``after``: ``y = f(x); y + delta(y)``. ``parallel``: ``f(x) + delta(x)``. ``before``: ``f(x + delta(x))``.
    """

    container: ClassVar[str]
    _active_adapter: str | list[str]

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        setattr(self, self.container, nn.ModuleDict())
        self.adapter_layer_names = (self.container,)
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    @property
    def deltas(self) -> nn.ModuleDict:
        """Adapter name to delta."""
        return getattr(self, self.container)  # type: ignore[no-any-return]

    def add(self, adapter_name: str, delta: nn.Module, inference_mode: bool) -> None:
        """Attach the delta of one adapter, on the device of the base module."""
        place = next(self.get_base_layer().parameters(), None)
        on_meta = any(p.device.type == "meta" for p in delta.parameters())
        self.deltas[adapter_name] = delta if place is None or on_meta else delta.to(place.device)
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def _get_base_layer_device_and_dtype(self, base_layer: nn.Module) -> tuple[torch.device | None, None]:
        """Where peft moves a loaded delta; no dtype, since it would round float32 deltas to a 16-bit base's."""
        place = next(base_layer.parameters(), None)
        return None if place is None else place.device, None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The base module with the deltas of the active adapters."""
        if self._disable_adapters and self.merged:
            self.unmerge()
        active = [] if self._disable_adapters or self.merged else self.active_deltas()
        if not active:
            return self.base_layer(*args, **kwargs)
        reads = any(delta.insertion != "after" for delta in active)
        x: Any = (args[0] if args else kwargs["hidden_states"]) if reads else None  # transformers' keyword
        for delta in active:
            if delta.insertion == "before":
                x = added(x, delta(x))
                args, kwargs = ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})
        out = self.base_layer(*args, **kwargs)
        if isinstance(out, tuple) and linear_widths(self.get_base_layer()) is not None:
            raise ModelError(
                f"{type(self.get_base_layer()).__name__} is a linear layer that returns more than its result (it "
                f"chooses experts, say), so that an update of the result has no effect; name it in exclude_modules"
            )
        y = out[0] if isinstance(out, tuple) else out
        for delta in (delta for delta in active if delta.insertion != "before"):
            y = added(y, self.update_of(delta, x, y))
        return (y, *out[1:]) if isinstance(out, tuple) else y

    def update_of(self, delta: Any, x: Any, y: Tensor) -> Any:
        """What a delta adds to the result y of the base module, whose input was x."""
        return delta(y if delta.insertion == "after" else x)

    def active_deltas(self) -> list[Any]:
        """The deltas of the active adapters that reach this module."""
        return [self.deltas[name] for name in self.active_adapters if name in self.deltas]

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Refuse: only a tuner whose delta is a change of one weight can be merged."""
        raise ModelError(unmergeable(self.container.split("_")[0]))

    def unmerge(self) -> None:
        """Nothing is ever merged."""

    def __getattr__(self, name: str) -> Any:
        """What the base model asks of the module that stood here is answered by that module."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            # accelerate's marks of a module it has hooked must not pass for this one's: the adapter would be skipped.
            if name in ("base_layer", "_hf_hook", "_old_forward"):
                raise
            return getattr(self.base_layer, name)


def unmergeable(method: str) -> str:
    """Why a method cannot be merged, and the way on."""
    return (
        f"an adapter of type {method.upper()} cannot be merged: it computes with the hidden states themselves and is "
        f"no change of a weight; keep it as an adapter, or call unload() to get the base model back"
    )


def added(hidden: Tensor, delta: Tensor) -> Tensor:
    """The sum in the dtype of the hidden states."""
    return hidden + delta.to(hidden.dtype)


class ResidualModel(BaseTuner):  # type: ignore[misc]
    """The tuner of a method that adds deltas: finds the places, checks them, puts the layers in."""

    tuner_layer_cls: type[ResidualLayer]
    linear_layer_cls: type[ResidualLayer]  # for linear layers; peft's "all-linear" knows it by "Linear" in its name
    target_module_mapping: ClassVar[dict[str, Any]] = {}

    def build_delta(self, config: Any, d_in: int, d_out: int) -> nn.Module:
        """The delta of one place; d_in and d_out are the widths it maps between."""
        raise NotImplementedError

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        """Fill in the sites of the model family where the user named none."""
        if peft_config.target_modules is None:
            peft_config.target_modules = site_pattern(
                str(model_config.get("model_type")), peft_config.placement, peft_config.layers_to_transform
            )
        return peft_config

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """Put the layers in; where one place cannot take its delta, the model is left as it was."""
        trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        try:
            super().inject_adapter(model, adapter_name, *args, **kwargs)
            wanted = partial(self._check_target_module_exists, self.peft_config[adapter_name])
            require_apart(model, self.tuner_layer_cls, wanted)
        except Exception:
            remove(model, adapter_name, self.tuner_layer_cls)
            self.peft_config.pop(adapter_name, None)
            for parameter, requires_grad in trainable:
                parameter.requires_grad_(requires_grad)
            raise

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        kind = self.tuner_layer_cls if linear_widths(target) is None else self.linear_layer_cls
        layer = target if isinstance(target, self.tuner_layer_cls) else kind(target)
        widths = self.widths(layer.get_base_layer(), peft_config.insertion, current_key)
        if adapter_name not in layer.deltas:
            layer.add(adapter_name, self.build_delta(peft_config, *widths), peft_config.inference_mode)
        if layer is not target:
            layer._active_adapter = adapter_name
            if adapter_name not in self.active_adapters:
                layer.requires_grad_(False)
            self._replace_module(parent, target_name, layer, target)

    def widths(self, module: nn.Module, insertion: str, key: str) -> tuple[int, int]:
        """Input and output width of the delta at a module.

        Raises:
            ModelError: The module is an embedding, a container or of another kind that maps no hidden states.
        """
        linear = linear_widths(module)
        if linear is None:
            if isinstance(module, (nn.Embedding, nn.ModuleList, nn.ModuleDict)):
                raise ModelError(
                    f"{key} is a {type(module).__name__}, which maps no hidden states; target attention or "
                    f"feed-forward modules, norms or linear layers"
                )
            linear = (hidden_size(self.model), hidden_size(self.model))
        return {"after": (linear[1], linear[1]), "parallel": linear, "before": (linear[0], linear[0])}[insertion]

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        """Put a module in another's place; peft's own way copies a ``weight``, which a sublayer does not have."""
        setattr(parent, child_name, new_module)

    def _check_merge_allowed(self) -> None:
        raise ModelError(unmergeable(self.prefix.removesuffix("_")))


def linear_widths(module: nn.Module) -> tuple[int, int] | None:
    """Input and output width of a linear layer of any kind, quantised ones included; None for other modules."""
    if isinstance(module, Conv1D):
        return module.weight.shape[0], module.weight.shape[1]
    found = getattr(module, "in_features", None), getattr(module, "out_features", None)
    return found if all(isinstance(width, int) for width in found) else None  # type: ignore[return-value]


def hidden_size(model: Any) -> int:
    """Width of the hidden states of a transformers model.

    Raises:
        ModelError: The model's config does not say.
    """
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    size = getattr(config, "hidden_size", None)
    if not isinstance(size, int):
        raise ModelError(f"the config of {type(model).__name__} must give hidden_size, the width of the hidden states")
    return size


def remove(model: nn.Module, adapter_name: str, kind: type[ResidualLayer]) -> None:
    """Take one adapter out of every layer; layers left without adapters give way to their base modules."""
    for parent, name, layer in [(m, name, child) for m in model.modules() for name, child in m.named_children()]:
        if isinstance(layer, kind) and adapter_name in layer.deltas:
            del layer.deltas[adapter_name]
            if not layer.deltas:
                setattr(parent, name, layer.base_layer)


def exact(x: Tensor) -> Any:
    """A context in which autocast is off: deltas compute in float32 whatever the model does."""
    return torch.autocast(x.device.type, enabled=False)
