"""Greedy answers to the prompts of rows, in left-padded batches, beside the answers the rows hold."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch

from qpeft.errors import ConfigError, DataError
from qpeft.metrics.perplexity import evaluating
from qpeft.metrics.windows import TokenRow
from qpeft.records.spec import GenerationSpec


@dataclass(frozen=True)
class Answers:
    """R prompts with the true and the written answers, as texts without special tokens, stripped of outer blanks.

    Attributes:
        prompts: what the model read.
        references: what the rows answer, decoded from their tokens.
        outputs: what the model answered.
        ended: whether it ended the answer itself, before max_new_tokens were up.
        signature: how the outputs were made, in words.
    """

    prompts: list[str]
    references: list[str]
    outputs: list[str]
    ended: list[bool]
    signature: str


def prompts_and_answers(rows: Sequence[TokenRow]) -> list[tuple[list[int], list[int]]]:
    """The tokens of each row's prompt, and of the answer to it.

    The prompt is the row's first tokens, which do not count in the loss; the answer is the counted tokens right
    after them, so of a conversation it is the first answer.

    Args:
        rows: R rows of token ids and counts.

    Returns:
        R pairs of token ids.

    Raises:
        DataError: there is no row, or one begins with a counted token, as plain text does.

    >>> from types import SimpleNamespace
    >>> prompts_and_answers([SimpleNamespace(ids=[5, 6, 7, 0], counts=[False, False, True, True])])
    [([5, 6], [7, 0])]
    """
    if not rows:
        raise DataError("an answer needs a prompt; got no rows. Check the data")
    pairs = []
    for number, row in enumerate(rows, start=1):
        flags = [bool(counts) for counts in row.counts]
        start = flags.index(True) if True in flags else len(flags)
        if start == 0:
            raise DataError(
                f"an answer needs a prompt, first tokens of a row that do not count in the loss; row {number} of "
                f"{len(rows)} has none. Use instruction data in the layout 'rows', or measure perplexity alone"
            )
        end = flags.index(False, start) if False in flags[start:] else len(flags)
        pairs.append((row.ids[:start], row.ids[start:end]))
    return pairs


def generate_answers(
    model: Any,
    tokenizer: Any,
    rows: Sequence[TokenRow],
    settings: GenerationSpec,
    progress: Callable[[int, int], None] | None = None,
) -> Answers:
    """Let a model answer the prompts of rows: the token with the largest logit, again and again.

    Prompts are padded on the left and the padding is masked, so an answer does not depend on the other prompts of
    its batch or on the batch size, up to the order in which floating-point sums are taken. In float32 that decides
    only between logits that are equal to six digits; in half precision two largest logits are often that close, and
    another batch size, or another device, can change some answers. The same call gives the same answers. The
    model's own generation settings (sampling, penalties, other end tokens) are not used. A prompt that leaves no
    room for max_new_tokens in the model's context loses its first tokens, and the signature counts these prompts.

    Args:
        model: a causal language model of transformers, peft-wrapped or not; its modes and settings come back.
        tokenizer: its tokenizer, with an end token; it is not changed.
        rows: R rows with prompts; the first settings.rows of them are answered.
        settings: lengths, batch size, stop tokens.
        progress: called after each batch with (prompts done, prompts in all).

    Returns:
        Answers in the order of the rows.

    Raises:
        ConfigError: a stop token is not one token of the tokenizer, or max_new_tokens fills the model's context.
        DataError: a row has no prompt.
    """
    pairs = prompts_and_answers(rows[: settings.rows])
    ends = end_tokens(tokenizer, settings.stop) | row_ends(tokenizer, rows)
    room = prompt_room(model, settings.max_new_tokens)
    prompts = [prompt if room is None else prompt[-room:] for prompt, _ in pairs]
    written: list[list[int]] = [[] for _ in prompts]
    # The longest first: where memory is short it shows at once.
    order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
    size = settings.batch_size if reads_positions(model) else 1
    with evaluating(model), _settings(model, tokenizer, ends, settings.max_new_tokens) as config:
        for at in range(0, len(order), size):
            batch = order[at : at + size]
            for place, tokens in zip(batch, _batch(model, [prompts[i] for i in batch], config), strict=True):
                written[place] = tokens
            if progress is not None:
                progress(min(at + size, len(order)), len(order))
    outputs = [[*takewhile(lambda token: token not in ends, tokens)] for tokens in written]
    cut = sum(len(prompt) < len(whole) for prompt, (whole, _) in zip(prompts, pairs, strict=True))
    return Answers(
        prompts=_texts(tokenizer, prompts),
        references=_texts(tokenizer, [answer for _, answer in pairs]),
        outputs=_texts(tokenizer, outputs),
        ended=[len(output) < len(tokens) for output, tokens in zip(outputs, written, strict=True)],
        signature=f"greedy|max_new_tokens:{settings.max_new_tokens}|end ids:{','.join(map(str, sorted(ends)))}"
        f"|padding:left|batch:{size}|dtype:{str(model.dtype).removeprefix('torch.')}|cut prompts:{cut}|v1",
    )


def end_tokens(tokenizer: Any, stop: Sequence[str]) -> set[int]:
    """The ids of the end token and of the stop tokens.

    Raises:
        ConfigError: a stop text is not exactly one token.
    """
    ends = {int(tokenizer.eos_token_id)}
    for text in stop:
        ids = tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1:
            raise ConfigError(
                f"eval.generation.stop must name single tokens of the tokenizer; {text!r} is {len(ids)} tokens: "
                f"{tokenizer.convert_ids_to_tokens(ids)}"
            )
        ends.add(int(ids[0]))
    return ends


def row_ends(tokenizer: Any, rows: Sequence[TokenRow]) -> set[int]:
    """The special tokens that rows end with: a chat template can close an answer by another one than the end token."""
    special = {place for place, token in tokenizer.added_tokens_decoder.items() if token.special}
    return {int(row.ids[-1]) for row in rows} & special


def prompt_room(model: Any, max_new_tokens: int) -> int | None:
    """How many tokens of a prompt fit before max_new_tokens; None where the model's context has no end.

    Raises:
        ConfigError: not one.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is None:
        return None
    prompt_learning = _prompt_learning(model)
    room = int(context) - (prompt_learning.num_virtual_tokens if prompt_learning else 0) - max_new_tokens
    if room < 1:
        raise ConfigError(
            f"eval.generation.max_new_tokens must leave room for a prompt in the model's context of {context} "
            f"tokens; got {max_new_tokens}"
        )
    return room


def reads_positions(model: Any) -> bool:
    """Whether padded prompts can be told their positions; peft's prompt tuning drops them, prefix tuning does not."""
    prompt_learning = _prompt_learning(model)
    return prompt_learning is None or prompt_learning.peft_type.value in ("PREFIX_TUNING", "CARTRIDGE")


def _prompt_learning(model: Any) -> Any:
    """The config of an adapter of virtual tokens, or None."""
    from peft import PeftModel

    config = model.active_peft_config if isinstance(model, PeftModel) else None
    return config if config is not None and config.is_prompt_learning else None


@contextmanager
def _settings(model: Any, tokenizer: Any, ends: set[int], max_new_tokens: int) -> Iterator[Any]:
    """Greedy settings in the place of the model's own, which `generate` would mix in wherever ours are None."""
    from peft import PeftModel
    from transformers import GenerationConfig

    end = int(tokenizer.eos_token_id)
    pad = end if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
    config = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=sorted(ends), pad_token_id=pad, use_cache=True
    )
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    before = inner.generation_config
    inner.generation_config = config
    try:
        yield config
    finally:
        inner.generation_config = before


def _batch(model: Any, prompts: Sequence[list[int]], config: Any) -> list[list[int]]:
    """The tokens written after each prompt, padding behind the shorter answers included."""
    widest = max(len(prompt) for prompt in prompts)
    device = next(model.parameters()).device
    ids = torch.tensor([[config.pad_token_id] * (widest - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (widest - len(p)) + [1] * len(p) for p in prompts], device=device)
    with warnings.catch_warnings():
        # Where this is true there is one prompt a batch, without padding, whose positions need no telling.
        warnings.filterwarnings("ignore", "Position ids are not supported", UserWarning)
        found = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    tokens: list[list[int]] = found[:, widest:].tolist()
    return tokens


def _texts(tokenizer: Any, rows: Sequence[list[int]]) -> list[str]:
    return [
        tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip() for row in rows
    ]
