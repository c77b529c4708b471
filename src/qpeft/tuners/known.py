"""How a method becomes known to peft and to qpeft in one call, and what is true of types that nobody described."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

from qpeft.method import METHODS, Method
from qpeft.tuners._peft import register
from qpeft.tuners._residual import ResidualModel

# Types of peft's own that it cannot merge, or merges into something else (X-LoRA); a test asks peft about each.
PROMPTS = (
    "ADAPTION_PROMPT",
    "CARTRIDGE",
    "CPT",
    "MULTITASK_PROMPT_TUNING",
    "PREFIX_TUNING",
    "PROMPT_TUNING",
    "P_TUNING",
)
UNMERGEABLE = {
    **dict.fromkeys(PROMPTS, "it adds to what the model reads, and is no change of a weight"),
    **dict.fromkeys(("LILY", "POLY", "SHADOW"), "peft does not merge it"),
    "XLORA": "it mixes adapters by what it reads",
}
KEYS_AND_VALUES = ("PREFIX_TUNING", "CARTRIDGE")


@runtime_checkable
class Watcher(Protocol):
    """A callback that has something to say of a run, such as QAA's monitor."""

    tell: Callable[[str], None] | None
    warnings: list[str]

    def summary(self) -> str:
        """What was seen last, in one line."""


def register_method(method: Method, config: type | None = None, model: type | None = None) -> None:
    """Make a method known by its name, and its adapters to peft.

    ::

        register_method(Method("mine", "MINE", "a tuner of mine"), MyConfig, MyModel)

    The package that a tuner's config lives in goes into the model card as what must be imported. A tuner on
    `qpeft.tuners.ResidualModel` whose model does not say how it is merged is one that cannot be.

    Args:
        method: Its facts; ``kind`` is the upper case of the config's ``METHOD``.
        config: A PeftConfig; None where peft knows the type already.
        model: A BaseTuner.

    Raises:
        ConfigError: The name is taken by another method, or is no word.
    """
    if config is not None and model is not None:
        register(method.kind.lower(), config, model)
    METHODS.register(method.name, described(method))


def described(method: Method) -> Method:
    """The facts, with package and mergeability from the classes where the method does not say."""
    kind = derived(method.kind)
    return replace(
        method,
        provider=method.provider or kind.provider,
        unmergeable=method.unmergeable or kind.unmergeable,
        lengthens=method.lengthens and kind.lengthens,
        fixed={"peft_type": method.kind, **method.fixed},
    )


def derived(kind: str) -> Method:
    """What is true of a type that no method has a row for."""
    classes = {_word(key): (key, config) for key, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if kind not in classes:
        return Method(kind.lower(), kind, unmergeable="the package it comes from is not loaded here")
    key, config = classes[kind]
    package = config.__module__.split(".")[0]
    why = UNMERGEABLE.get(kind, "") if package == "peft" else refusal(PEFT_TYPE_TO_TUNER_MAPPING.get(key))
    provider = "" if package == "peft" else package
    return Method(kind.lower(), kind, provider=provider, unmergeable=why, lengthens=kind not in KEYS_AND_VALUES)


def refusal(model: Any) -> str:
    """Why the adapters of a tuner cannot be merged; empty where it says how they are."""
    if isinstance(model, type) and issubclass(model, ResidualModel):
        own = model._check_merge_allowed is not ResidualModel._check_merge_allowed
        return "" if own else "it computes with the hidden states themselves and is no change of a weight"
    return ""


def _word(kind: Any) -> str:
    return str(getattr(kind, "value", kind))
