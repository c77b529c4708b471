"""Whether data and tokenizer fit a base model, from its config alone: found before any weights are read."""

from typing import Any

from qpeft.errors import ConfigError, ModelError
from qpeft.records import MethodSpec, RunSpec
from qpeft.training.models import load_config, load_tokenizer


def check_fit(spec: RunSpec) -> None:
    """Refuse rows longer than the model's positions, and a tokenizer with more tokens than the model embeds.

    Args:
        spec: Of a run; model, data.max_length and the method's virtual tokens are looked at.

    Raises:
        ConfigError: data.max_length is above what the model has positions for.
        ModelError: The tokenizer writes ids that have no row in the embedding, or config or tokenizer is unreadable.
    """
    config = load_config(spec.model).get_text_config()
    options = {"revision": spec.model.revision} if spec.model.revision else {}
    check_length(config, spec.data.max_length, virtual_tokens(spec.method))
    check_vocabulary(config, load_tokenizer(spec.model.name, **options), spec.model.name)


def check_length(config: Any, max_length: int, virtual: int = 0) -> None:
    """Refuse a row length, with the virtual tokens before it, above ``max_position_embeddings``.

    Models without that number, such as those with ALiBi or a state, have no bound.

    Raises:
        ConfigError: It is above.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and max_length + virtual > positions:
        taken = f", {virtual} of them taken by the method's virtual tokens" if virtual else ""
        raise ConfigError(
            f"data.max_length must be at most {positions - virtual} for this model, which has {positions} "
            f"positions{taken}; got {max_length}. Give --max-length {positions - virtual} or less"
        )


def check_vocabulary(config: Any, tokenizer: Any, name: str) -> None:
    """Refuse a tokenizer whose largest id has no row in the embedding.

    Raises:
        ModelError: There is such an id.
    """
    largest, rows = max(tokenizer.get_vocab().values(), default=0), getattr(config, "vocab_size", None)
    if isinstance(rows, int) and largest >= rows:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise ModelError(
            f"the tokenizer of {name} must have ids below {rows}, the rows of the model's embedding; {token!r} has "
            f"{largest}. Call model.resize_token_embeddings({largest + 1}) and save the model, or remove the tokens"
        )


def virtual_tokens(method: MethodSpec | None) -> int:
    """How many virtual tokens a method, or the one it works over, puts before each row."""
    if method is None:
        return 0
    own = method.options.get("num_virtual_tokens", 0)
    return (own if isinstance(own, int) else 0) + virtual_tokens(method.over)
