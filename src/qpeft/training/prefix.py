"""Prefix tuning from keys and values of real tokens: those the model itself computes at the beginning of its rows."""

from collections.abc import Sequence

import peft
import torch

from qpeft.data import Row
from qpeft.errors import DataError, ModelError
from qpeft.records import MethodSpec
from qpeft.training.methods import STARTS, Built


def start_prefix(built: Built, method: MethodSpec, rows: Sequence[Row]) -> None:
    """Where a method asks for it, let the prefix begin as what the model remembers of the first training tokens.

    Args:
        built: Its model is changed in place, and a note is added.
        method: ``prefix`` with ``start: tokens``, by itself or under QPA; others are left alone.
        rows: Of training; their first tokens, row after row, are the prefix.

    Raises:
        DataError: The rows have fewer tokens than the prefix.
        ModelError: What the model keeps of tokens is no list of keys and values.
    """
    method = method.over or method
    if method.name != "prefix" or method.options.get("start", STARTS[0]) != "tokens":
        return
    wanted = int(built.peft_config.num_virtual_tokens)
    ids = [token for row in rows[:wanted] for token in row.ids][:wanted]
    if len(ids) < wanted:
        raise DataError(f"a prefix of {wanted} tokens of the training rows needs as many; the rows have {len(ids)}")
    base, training = built.model.get_base_model(), built.model.training
    tokens = torch.tensor([ids], device=next(base.parameters()).device)
    base.eval()
    try:
        with torch.no_grad():
            kept = base(input_ids=tokens, use_cache=True).past_key_values
        peft.initialize_kv_prefix_from_past_key_values(built.model, past_key_values=kept)
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"the prefix cannot start from what {type(base).__name__} keeps of tokens ({error}); set start: random"
        ) from error
    finally:
        built.model.train(training)
    built.notes.append(f"the prefix starts from keys and values of the first {wanted} tokens of the training rows")
