"""The one dict of all methods: from a MethodSpec to a model that is ready to train."""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import peft
import torch
from transformers import TrainerCallback

import qpeft.tuners  # noqa: F401  (makes our methods known to peft)
from qpeft.errors import ConfigError, ModelError, QpeftError, nearest, require_choice
from qpeft.qpa import QPAConfig, QPAOptimizer
from qpeft.quantum import Execution
from qpeft.records import ExecutionSpec, MethodSpec
from qpeft.training.models import untie_for
from qpeft.tuners.core.callback import CoreCallback
from qpeft.tuners.qaa.layer import QAADelta
from qpeft.tuners.qaa.monitor import QAAMonitor
from qpeft.tuners.qaa.place import run_modules_on
from qpeft.tuners.sora import parameter_groups
from qpeft.tuners.sora.callback import SoraCallback

EXACT = ExecutionSpec()
# Options that peft reads as a regular expression where they are one text.
PATTERNS = ("target_modules", "exclude_modules", "layers_pattern")
# How a prefix begins: peft draws it from N(0, 1), a size no keys and values have; `training.prefix` takes real tokens.
STARTS = ("random", "tokens")


@dataclass
class Built:
    """A model ready to train, and what trains it."""

    model: Any
    peft_config: Any = None
    qpa: QPAConfig | None = None
    execution: Execution = field(default_factory=Execution)
    trained: bool = True
    notes: list[str] = field(default_factory=list)
    callbacks: list[TrainerCallback] = field(default_factory=list)

    @property
    def kind(self) -> str | None:
        """The adapter's type as peft names it, such as ``LORA``; None without an adapter."""
        kind = getattr(self.peft_config, "peft_type", None)
        return getattr(kind, "value", kind)

    def monitors(self) -> list[QAAMonitor]:
        """What watches QAA."""
        return [watcher for watcher in self.callbacks if isinstance(watcher, QAAMonitor)]

    def named_trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Names and Parameters that receive gradients."""
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def told(self) -> list[str]:
        """What the callbacks have to say once training is done: what fitting the basis of a core cost."""
        return [watcher.told for watcher in self.callbacks if isinstance(watcher, CoreCallback) and watcher.told]

    def trained_bytes(self) -> int:
        """Bytes of what is trained, as a file will hold it."""
        return sum(p.numel() * p.element_size() for _, p in self.named_trainable())

    def optimizer(self, train: Any) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        """Class and arguments for ``Trainer(optimizer_cls_and_kwargs=...)``."""
        options = {"eps": train.adam_eps} if train.optimizer == "adamw" else {}
        if self.qpa is not None:
            return QPAOptimizer, {
                "params": self.named_trainable(),
                "config": self.qpa,
                "lr": train.learning_rate,
                "inner": train.optimizer,
                "weight_decay": train.weight_decay,
                "inner_options": options,
                "execution": self.execution,
            }
        if self.kind == "SORA":
            # Decay would shrink the gates a second time beside their proximal step.
            options["params"] = parameter_groups(self.model, train.weight_decay)
        classes = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
        return classes[train.optimizer], {"lr": train.learning_rate, "weight_decay": train.weight_decay, **options}


def build_method(model: Any, method: MethodSpec, seed: int, execution: ExecutionSpec = EXACT) -> Built:
    """Attach a method to a base model; equal seeds give equal adapters before training.

    Args:
        model: A transformers causal model; it is changed in place, as peft does.
        method: The method and its options.
        seed: Seeds peft's initial values, the generator where its own seed is not set, and shots.
        execution: Where circuits run: QPA's, or the modules of QAA.

    Raises:
        ConfigError: The method, or one of its options, is unknown or out of range, or it cannot run there.
        ModelError: The model cannot carry this adapter.
    """
    check_method(method)
    opened = open_execution(method, execution, seed)
    torch.manual_seed(seed)
    built = METHODS[method.name](model, method, seed)
    built.execution = opened
    if built.kind == "QAA" and built.qpa is None and execution != EXACT:
        run_modules_on(built.model, opened.backend, opened.seed)
    return built


def open_execution(method: MethodSpec, execution: ExecutionSpec, seed: int) -> Execution:
    """The backend and the gradient of a method's circuits; opens nothing that costs money.

    Raises:
        ConfigError: A word is unknown, the method has no circuit, or cannot be trained in this way.
        MissingExtraError: The backend needs a library that is not installed.
    """
    opened = Execution.open(execution.backend, execution.gradient, seed)
    if execution == EXACT or method.name == "qpa":
        return opened
    if method.name != "qaa" and method.options.get("peft_type") != "QAA":
        raise ConfigError(f"execution is about circuits, and method {method.name!r} has none; leave it out there")
    if not opened.backend.input_gradient or opened.method != "autograd":
        raise ConfigError(
            f"QAA trains where autograd passes through the circuit to the hidden states (exact, noisy, pennylane); "
            f"backend {execution.backend!r} with gradient {execution.gradient!r} cannot; train on one of those and "
            f"measure the run here: qpeft eval RUN --backend {execution.backend}"
        )
    return opened


def check_method(method: MethodSpec) -> None:
    """Check name and options without a model.

    Raises:
        ConfigError: Says which key, what was given, and the nearest valid one.
    """
    if method.name not in METHODS:
        hint = nearest(method.name, METHODS)
        raise ConfigError(f"method.name must be one of {', '.join(METHODS)}; got {method.name!r}{hint}")
    if method.name == "qpa":
        if method.over is None or method.over.name not in (*ADAPTERS, "full"):
            raise ConfigError(
                f"method qpa works over another method; give `over: {{name: ...}}` with one of "
                f"{', '.join(ADAPTERS)}, or full (Quantum-Train)"
            )
        qpa_config(method.options)
        check_method(method.over)
        return
    if method.over is not None:
        raise ConfigError(f"method.over belongs to qpa only; got it with {method.name!r}")
    if method.name in ADAPTERS:
        peft_config(method)
    elif method.options:
        raise ConfigError(f"method {method.name!r} takes no options; got {', '.join(method.options)}")


def qpa_config(options: dict[str, Any]) -> QPAConfig:
    """The QPA config of a method's options.

    Raises:
        ConfigError: A field does not exist, or its value is out of range or of another kind.
    """
    try:
        return QPAConfig.from_dict(options)
    except TypeError as error:
        raise ConfigError(f"method qpa got a value of the wrong kind in {options}: {error}") from error


def peft_config(method: MethodSpec) -> Any:
    """The peft config of an adapter method.

    Raises:
        ConfigError: The type or a field does not exist in the installed peft, or peft refuses a value.
    """
    options = {"task_type": "CAUSAL_LM", **FIXED.get(method.name, {}), **method.options}
    if method.name == "prefix":
        check_start(options.pop("start", STARTS[0]), options)
    wanted = str(options.pop("peft_type", "LORA")).upper()
    known = {getattr(t, "value", str(t)): c for t, c in peft.PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if wanted not in known:
        raise ConfigError(
            f"method.peft_type must be a type of the installed peft; got {wanted!r}{nearest(wanted, known)}"
        )
    fields = [f.name for f in dataclasses.fields(known[wanted])]
    for key in options:
        if key not in fields:
            raise ConfigError(f"method.{key} is not a field of {known[wanted].__name__}{nearest(key, fields)}")
    for key, value in options.items():
        if key in PATTERNS and not (value is None or isinstance(value, (str, list, tuple, set))):
            raise ConfigError(f"method.{key} must be a list of names or one regular expression; got {value!r}")
        if isinstance(value, str) and key in PATTERNS:
            try:
                re.compile(value)
            except re.error as error:
                raise ConfigError(
                    f"method.{key} must be a list of names, or one regular expression; got {value!r}: {error}"
                ) from error
    try:
        return known[wanted](**options)
    except ConfigError:
        raise
    except Exception as error:  # peft checks by whatever it does first with a value
        raise ConfigError(f"peft refuses the options of {known[wanted].__name__}: {error}") from error


def check_start(start: Any, options: dict[str, Any]) -> None:
    """Check how a prefix begins, which is an option of ours beside peft's.

    Raises:
        ConfigError: The word is unknown, or a projection stands between the trained numbers and keys and values.
    """
    require_choice("method.start", str(start), STARTS)
    if start == "tokens" and options.get("prefix_projection"):
        raise ConfigError("method.start tokens needs prefix_projection false: the prefix must be the trained numbers")


def _base(model: Any, method: MethodSpec, seed: int) -> Built:
    """The base model as it is, for reference."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return Built(model, trained=False)


def _full(model: Any, method: MethodSpec, seed: int) -> Built:
    """Every number of the base model is trained."""
    return Built(model)


def _adapter(model: Any, method: MethodSpec, seed: int) -> Built:
    """Any method of the installed peft."""
    config = peft_config(method)
    notes = []
    if untie_for(model, config):
        notes.append("head and embedding shared their weights; they were untied, so that the adapter can be merged")
    try:
        wrapped = peft.get_peft_model(model, config)
    except QpeftError:
        raise
    except Exception as error:  # whatever a peft method trips over: a missing library, an unknown architecture
        kind = getattr(config.peft_type, "value", config.peft_type)
        raise ModelError(f"peft cannot put {kind} on {type(model).__name__}: {error}") from error
    built = Built(wrapped, peft_config=config, notes=notes)
    watchers: dict[str | None, type[TrainerCallback]] = {"CORE": CoreCallback, "QAA": QAAMonitor, "SORA": SoraCallback}
    for module in wrapped.modules():
        if isinstance(module, QAADelta):
            module.survey.told = True  # the monitor warns, at the rate of the run
    built.callbacks = [watchers[built.kind]()] if built.kind in watchers else []
    return built


def _released_lora(model: Any, method: MethodSpec, seed: int) -> Built:
    """LoRA as the QPA authors' code starts it: both factors random, so that the model changes before training."""
    built = _adapter(model, method, seed)
    for name, parameter in built.named_trainable():
        if "lora_A" in name or "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    built.notes.append("both LoRA factors start at 0.01 N(0, 1), as in the QPA authors' code; peft starts B at zero")
    return built


def whole_model(method: MethodSpec) -> bool:
    """Whether a method trains the base model itself, so that a model and no adapter is saved."""
    return method.name == "full" or (method.over is not None and whole_model(method.over))


def _qpa(model: Any, method: MethodSpec, seed: int) -> Built:
    """QPA over an adapter; over the whole model it is Quantum-Train."""
    assert method.over is not None
    built = METHODS[method.over.name](model, method.over, seed)
    built.qpa = qpa_config({"seed": seed, **method.options}).resolved()
    return built


Builder = Callable[[Any, MethodSpec, int], Built]
# Methods that peft carries, its own and ours; a name fixes some fields of the config. A spec without a preset of QAA
# means what it meant in the first records; recipes and the command line name today's (`recipes.recipe.dated`).
FIXED: dict[str, dict[str, Any]] = {
    "lora": {"peft_type": "LORA"},
    "lora_released": {"peft_type": "LORA", "lora_dropout": 0.0},
    "dora": {"peft_type": "LORA", "use_dora": True},
    "sora": {"peft_type": "SORA"},
    "core": {"peft_type": "CORE"},
    "prefix": {"peft_type": "PREFIX_TUNING"},
    "head_prefix": {"peft_type": "HEADPREFIX"},
    "ffa": {"peft_type": "FFA"},
    "qaa": {"peft_type": "QAA", "preset": "recommended"},
}
ADAPTERS = (*FIXED, "peft")
METHODS: dict[str, Builder] = {
    "base": _base,
    "full": _full,
    **dict.fromkeys(ADAPTERS, _adapter),
    "lora_released": _released_lora,
    "qpa": _qpa,
}
