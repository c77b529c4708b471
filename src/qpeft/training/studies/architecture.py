"""A model from the fields of a transformers config: random weights, or none at all."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from qpeft.errors import ConfigError


def build_architecture(fields: Mapping[str, Any], place: torch.device) -> Any:
    """A causal language model of a config.

    >>> tiny = {"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "vocab_size": 11}
    >>> build_architecture(tiny, torch.device("meta")).lm_head.weight.shape
    torch.Size([11, 8])

    Args:
        fields: ``model_type`` and further fields of its config.
        place: Where its numbers lie; ``meta`` for shapes without numbers.

    Raises:
        ConfigError: transformers refuses the fields.
    """
    rest = dict(fields)
    kind = rest.pop("model_type", None)
    try:
        config = AutoConfig.for_model(str(kind), **rest)
        with place:
            return AutoModelForCausalLM.from_config(config)
    except Exception as error:  # each family checks its fields in its own way
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise ConfigError(
            f"settings.model must be fields of a causal language model's config, such as {{model_type: gpt2, "
            f"n_embd: 768}}; got {dict(fields)}: {reason}"
        ) from error
