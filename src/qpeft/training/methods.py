"""From a MethodSpec to a model that is ready to train; what methods differ in, their rows say (`qpeft.method`)."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import peft
import torch
from transformers import TrainerCallback

import qpeft.tuners  # noqa: F401  (makes our methods known to peft)
from qpeft.errors import ConfigError, ModelError, QpeftError, nearest
from qpeft.method import METHODS as METHODS
from qpeft.method import Method, of_kind
from qpeft.qpa import QPAConfig, QPAOptimizer
from qpeft.quantum import Execution
from qpeft.records import ExecutionSpec, MethodSpec
from qpeft.registry import plugins
from qpeft.training.models import untie_for
from qpeft.tuners.known import Watcher

EXACT = ExecutionSpec()
# Options that peft reads as a regular expression where they are one text.
PATTERNS = ("target_modules", "exclude_modules", "layers_pattern")


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

    @property
    def facts(self) -> Method:
        """What the method says of itself; of QPA, what the method it works over says."""
        return of_kind(self.kind)

    def monitors(self) -> list[Watcher]:
        """Callbacks that have something to say."""
        return [watcher for watcher in self.callbacks if isinstance(watcher, Watcher)]

    def begin(self, method: MethodSpec, rows: Sequence[Any]) -> None:
        """Let the adapter begin from training rows, where its method does so; a note says it."""
        method = method.over or method
        begin = METHODS[method.name].begin
        if begin is not None:
            self.notes += begin(self.model, method.options, rows)

    def named_trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Names and Parameters that receive gradients."""
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def told(self) -> list[str]:
        """What the callbacks have to say once training is done, as ``told``: what fitting a core's basis cost, say."""
        return [str(watcher.told) for watcher in self.callbacks if getattr(watcher, "told", "")]

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
        groups = self.facts.parameter_groups
        if groups is not None:
            options["params"] = groups(self.model, train.weight_decay)
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
    built = attached(model, method, seed)
    built.execution = opened
    move = built.facts.move
    if move is not None and built.qpa is None and execution != EXACT:
        move(built.model, opened.backend, opened.seed)
    return built


def attached(model: Any, method: MethodSpec, seed: int) -> Built:
    """The method on a model, circuits on the exact backend."""
    return WAYS[METHODS[method.name].trains](model, method, seed)


def facts_of(method: MethodSpec) -> Method:
    """The facts of a method by its name; where that is any type of peft, those of the type."""
    row, kind = METHODS[method.name], method.options.get("peft_type")
    if row.kind or row.trains != "adapter" or kind is None:
        return row
    return of_kind(str(kind).upper())


def open_execution(method: MethodSpec, execution: ExecutionSpec, seed: int) -> Execution:
    """The backend and the gradient of a method's circuits; opens nothing that costs money.

    Raises:
        ConfigError: A word is unknown, the method has no circuit, or cannot be trained in this way.
        MissingExtraError: The backend needs a library that is not installed.
    """
    opened = Execution.open(execution.backend, execution.gradient, seed)
    place = facts_of(method).circuits_in
    if execution == EXACT or place == "generator":
        return opened
    if not place:
        raise ConfigError(f"execution is about circuits, and method {method.name!r} has none; leave it out there")
    if not opened.backend.input_gradient or opened.method != "autograd":
        raise ConfigError(
            f"{facts_of(method).kind} trains where autograd passes through the circuit to the hidden states "
            f"(exact, noisy, pennylane); "
            f"backend {execution.backend!r} with gradient {execution.gradient!r} cannot; train on one of those and "
            f"measure the run here: qpeft eval RUN --backend {execution.backend}"
        )
    return opened


def check_method(method: MethodSpec) -> None:
    """Check name and options without a model.

    Raises:
        ConfigError: Says which key, what was given, and the nearest valid one.
    """
    row = METHODS.need("method.name", method.name)
    if row.trains == "over":
        adapters = [name for name in METHODS if METHODS[name].trains == "adapter"]
        if method.over is None or METHODS.get(method.over.name, row).trains not in ("adapter", "model"):
            raise ConfigError(
                f"method {method.name} works over another method; give `over: {{name: ...}}` with one of "
                f"{', '.join(adapters)}, or full (Quantum-Train)"
            )
        qpa_config(method.options)
        check_method(method.over)
        return
    if method.over is not None:
        raise ConfigError(f"method.over belongs to qpa only; got it with {method.name!r}")
    if row.trains == "adapter":
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
    row = METHODS[method.name]
    options = {"task_type": "CAUSAL_LM", **row.fixed, **method.options}
    row.own_options(options)
    wanted = str(options.pop("peft_type", "LORA")).upper()
    if wanted not in known_types():
        plugins()
    known = known_types()
    if wanted not in known:
        raise ConfigError(
            f"method.peft_type must be a type of the installed peft; got {wanted!r}{nearest(wanted, known)}"
        )
    check_options(options, known[wanted])
    try:
        return known[wanted](**options)
    except ConfigError:
        raise
    except Exception as error:  # peft checks by whatever it does first with a value
        raise ConfigError(f"peft refuses the options of {known[wanted].__name__}: {error}") from error


def known_types() -> dict[str, Any]:
    """The config class of every type that peft knows at present."""
    return {getattr(t, "value", str(t)): c for t, c in peft.PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def check_options(options: Mapping[str, Any], config: Any) -> None:
    """Check that options are fields of a config, and names and patterns what peft reads as such.

    Raises:
        ConfigError: Names the option.
    """
    fields = [f.name for f in dataclasses.fields(config)]
    for key in options:
        if key not in fields:
            raise ConfigError(f"method.{key} is not a field of {config.__name__}{nearest(key, fields)}")
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
    row = METHODS[method.name] if METHODS[method.name].kind else built.facts
    built.notes += row.attached(wrapped)
    built.callbacks = row.callbacks()
    return built


def whole_model(method: MethodSpec) -> bool:
    """Whether a method trains the base model itself, so that a model and no adapter is saved."""
    return METHODS[method.name].trains == "model" or (method.over is not None and whole_model(method.over))


def _qpa(model: Any, method: MethodSpec, seed: int) -> Built:
    """QPA over an adapter; over the whole model it is Quantum-Train."""
    assert method.over is not None
    built = attached(model, method.over, seed)
    built.qpa = qpa_config({"seed": seed, **method.options}).resolved()
    return built


Builder = Callable[[Any, MethodSpec, int], Built]
WAYS: dict[str, Builder] = {"nothing": _base, "model": _full, "adapter": _adapter, "over": _qpa}
