"""The methods that need no folder: the base model, all of it, and those of peft that recipes have a name for."""

from collections.abc import Mapping, Sequence
from typing import Any

import peft
import torch

from qpeft.errors import ConfigError, DataError, ModelError, require_choice
from qpeft.method import Method
from qpeft.tuners.known import KEYS_AND_VALUES, UNMERGEABLE

# How a prefix begins: peft draws it from N(0, 1), a size no keys and values have; or it is taken from real tokens.
STARTS = ("random", "tokens")


def start_as_released(model: Any) -> list[str]:
    """LoRA as the QPA authors' code starts it: both factors random, so that the model changes before training."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ("lora_A" in name or "lora_B" in name):
            torch.nn.init.normal_(parameter, std=0.01)
    return ["both LoRA factors start at 0.01 N(0, 1), as in the QPA authors' code; peft starts B at zero"]


def take_start(options: dict[str, Any]) -> None:
    """Check how a prefix begins, which is an option of ours beside peft's, and take it out.

    Raises:
        ConfigError: The word is unknown, or a projection stands between the trained numbers and keys and values.
    """
    start = options.pop("start", STARTS[0])
    require_choice("method.start", str(start), STARTS)
    if start == "tokens" and options.get("prefix_projection"):
        raise ConfigError("method.start tokens needs prefix_projection false: the prefix must be the trained numbers")


def start_prefix(model: Any, options: Mapping[str, Any], rows: Sequence[Any]) -> list[str]:
    """With ``start: tokens`` let a prefix begin as what the model remembers of the first training tokens.

    Args:
        model: With the prefix; changed in place.
        options: Of the method.
        rows: Of training, each with ``ids``; their first tokens, row after row, are the prefix.

    Returns:
        A note, where something was done.

    Raises:
        DataError: The rows have fewer tokens than the prefix.
        ModelError: What the model keeps of tokens is no list of keys and values.
    """
    if options.get("start", STARTS[0]) != "tokens":
        return []
    wanted = int(model.active_peft_config.num_virtual_tokens)
    ids = [token for row in rows[:wanted] for token in row.ids][:wanted]
    if len(ids) < wanted:
        raise DataError(f"a prefix of {wanted} tokens of the training rows needs as many; the rows have {len(ids)}")
    base, training = model.get_base_model(), model.training
    tokens = torch.tensor([ids], device=next(base.parameters()).device)
    base.eval()
    try:
        with torch.no_grad():
            kept = base(input_ids=tokens, use_cache=True).past_key_values
        peft.initialize_kv_prefix_from_past_key_values(model, past_key_values=kept)
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"the prefix cannot start from what {type(base).__name__} keeps of tokens ({error}); set start: random"
        ) from error
    finally:
        model.train(training)
    return [f"the prefix starts from keys and values of the first {wanted} tokens of the training rows"]


PREFIX = KEYS_AND_VALUES[0]
LORA = {"peft_type": "LORA"}
STOCK = (
    Method("base", help="the base model as it is, for reference", trains="nothing"),
    Method("full", help="every number of the base model", trains="model"),
    Method("lora", "LORA", "LoRA", fixed=LORA),
    Method(
        "lora_released",
        "LORA",
        "LoRA as the authors of QPA start it",
        fixed={**LORA, "lora_dropout": 0.0},
        attached=start_as_released,
    ),
    Method("dora", "LORA", "LoRA with trained lengths", fixed={**LORA, "use_dora": True}),
    Method(
        "prefix",
        PREFIX,
        "prefix tuning: trained keys and values",
        fixed={"peft_type": PREFIX},
        unmergeable=UNMERGEABLE[PREFIX],
        lengthens=False,
        own_options=take_start,
        begin=start_prefix,
    ),
)
# Last in lists.
ANY = Method("peft", help="any type of the installed peft, by peft_type")
