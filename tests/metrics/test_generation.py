"""Answers against a loop that reads the whole text anew for every token, in batches of every size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import peft
import pytest
import torch
from transformers import GenerationConfig

import qpeft.tuners
from qpeft.data.examples import Example
from qpeft.data.rows import encode
from qpeft.errors import ConfigError, DataError
from qpeft.metrics.generation import Answers, generate_answers, prompts_and_answers, row_ends
from qpeft.records.spec import GenerationSpec
from tiny_families import tiny_family
from tiny_models import tiny_llama, tiny_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
# A wide initialisation makes the model's guesses strong, so that a wrong position or mask shows.
WIDE = {"vocab_size": 257, "initializer_range": 0.3}
TOKENIZER = tiny_tokenizer()
END = TOKENIZER.eos_token_id


@dataclass(frozen=True)
class Row:
    ids: list[int]
    counts: list[bool]


def row(prompt: int, seed: int = 0) -> Row:
    """A random row: a prompt of so many tokens, four of an answer, and the end token; all of them letters."""
    random = np.random.default_rng([prompt, seed])
    ids = TOKENIZER.encode("".join(chr(97 + letter) for letter in random.integers(0, 26, prompt + 4)))
    return Row([*ids, END], [False] * prompt + [True] * 5)


ROWS = [row(length) for length in (3, 17, 9, 1, 12, 5, 26)]


def answer(model: Any, rows: list[Row] = ROWS, tokenizer: Any = TOKENIZER, **settings: Any) -> Answers:
    return generate_answers(model, tokenizer, rows, GenerationSpec(**{"max_new_tokens": 8, **settings}))


def adapted(config: Any) -> Any:
    """A tiny Llama under an adapter whose numbers are large enough to change every answer."""
    model = peft.get_peft_model(tiny_llama(257, initializer_range=0.3), config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad or "prompt_encoder" in name:
                parameter += torch.randn(parameter.shape, generator=generator)
    return model


TASK = {"task_type": "CAUSAL_LM"}
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: tiny_llama(257, initializer_range=0.3),
    "gpt2": lambda: tiny_family("gpt2", **WIDE),
    "gpt_neo": lambda: tiny_family("gpt_neo", **WIDE),
    "opt": lambda: tiny_family("opt", vocab_size=257, init_std=0.3),
    "bloom": lambda: tiny_family("bloom", **WIDE),
    "gemma2": lambda: tiny_family("gemma2", **WIDE),
    "lora": lambda: adapted(peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], **TASK)),
    "qaa": lambda: adapted(qpeft.tuners.QAAConfig(target_modules=["q_proj"], **TASK)),
    "headprefix": lambda: adapted(qpeft.tuners.HeadPrefixConfig(num_positions=20, **TASK)),
    "prefix": lambda: adapted(peft.PrefixTuningConfig(num_virtual_tokens=3, **TASK)),
    "prompt": lambda: adapted(peft.PromptTuningConfig(num_virtual_tokens=3, **TASK)),
}


def by_hand(model: Any, prompt: list[int], limit: int) -> str:
    """The greedy answer, without cache, batch or padding."""
    ids = [*prompt]
    with torch.no_grad():
        while len(ids) < len(prompt) + limit:
            given = torch.tensor([ids])
            scores = model(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False).logits[0, -1]
            if scores.argmax().item() == END:
                break
            ids.append(int(scores.argmax()))
    return str(TOKENIZER.decode(ids[len(prompt) :])).strip()


@pytest.mark.parametrize("name", list(MODELS))
def test_every_batch_size_answers_as_a_plain_loop(name: str) -> None:
    model = MODELS[name]().eval()
    wanted = [by_hand(model, row.ids[: row.counts.index(True)], 6) for row in ROWS]
    assert len(set(wanted)) > 4, "the answers must differ to tell anything"
    for size in (3, 7):
        assert answer(model, batch_size=size, max_new_tokens=6).outputs == wanted


def test_answers_belong_to_their_rows_and_repeat() -> None:
    model = MODELS["llama"]().eval()
    found = answer(model)
    assert answer(model) == found
    turned = answer(model, ROWS[::-1])
    assert turned.outputs == found.outputs[::-1]
    assert turned.references == found.references[::-1]


def test_half_precision_repeats() -> None:
    # Another batch size may differ here: sums of bfloat16 in another order decide between near equal logits.
    model = MODELS["llama"]().bfloat16().eval()
    assert answer(model, batch_size=3) == answer(model, batch_size=3)
    assert "dtype:bfloat16" in answer(model, batch_size=3).signature


def test_only_the_first_rows_are_answered() -> None:
    model = MODELS["llama"]().eval()
    settings = GenerationSpec(max_new_tokens=8, rows=2)
    assert generate_answers(model, TOKENIZER, ROWS, settings).outputs == answer(model).outputs[:2]


def test_an_answer_stops_at_the_end_token_and_at_stop_tokens() -> None:
    model = MODELS["llama"]().eval()
    whole = [generated(model, row) for row in ROWS]
    assert not any(answer(model).ended)
    stop = next(token for ids in whole for token in ids[2:] if 34 <= token < 90)  # a printable sign
    places = [ids.index(stop) if stop in ids else None for ids in whole]
    wanted = [TOKENIZER.decode(ids[:place]).strip() for ids, place in zip(whole, places, strict=True)]
    ending = tiny_tokenizer()
    ending.eos_token = ending.convert_ids_to_tokens(stop)
    for found in (
        answer(model, tokenizer=ending),
        answer(model, stop=(ending.eos_token,)),
    ):
        assert found.outputs == wanted
        assert found.ended == [place is not None for place in places]
    assert f"end ids:{min(END, stop)},{max(END, stop)}|" in answer(model, stop=(ending.eos_token,)).signature


def generated(model: Any, row: Row) -> list[int]:
    prompt = torch.tensor([row.ids[: row.counts.index(True)]])
    config = GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=END, pad_token_id=END)
    ids: list[int] = model.generate(input_ids=prompt, generation_config=config)[0, prompt.shape[1] :].tolist()
    return ids


@pytest.mark.parametrize("name", ["llama", "lora", "prefix"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_models_own_settings_are_not_used_and_come_back(name: str, fails: bool) -> None:
    model = MODELS[name]().eval()
    plain = answer(model).outputs
    inner = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    own = GenerationConfig(
        do_sample=True, repetition_penalty=9.0, suppress_tokens=[70, 71], eos_token_id=80, min_length=9
    )
    inner.generation_config = own
    inner.config.use_cache = False
    model.train()
    inner.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    tokenizer = tiny_tokenizer()
    tokenizer.padding_side = "right"

    def stop(done: int, total: int) -> None:
        assert not model.training
        if fails:
            raise KeyboardInterrupt

    settings = GenerationSpec(max_new_tokens=8)
    if fails:
        with pytest.raises(KeyboardInterrupt):
            generate_answers(model, tokenizer, ROWS, settings, stop)
    else:
        assert generate_answers(model, tokenizer, ROWS, settings, stop).outputs == plain
    assert inner.generation_config is own
    assert [module.training for module in model.modules()] == modes
    assert tokenizer.padding_side == "right"


def test_progress_counts_prompts() -> None:
    seen: list[tuple[int, int]] = []
    generate_answers(
        MODELS["llama"]().eval(),
        TOKENIZER,
        ROWS,
        GenerationSpec(max_new_tokens=1, batch_size=3),
        lambda *at: seen.append(at),
    )
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_a_long_prompt_keeps_its_last_tokens() -> None:
    model = tiny_family("gpt2", **WIDE, n_positions=24).eval()
    found = answer(model)
    assert "cut prompts:2|" in found.signature
    for place in (1, 6):
        prompt = ROWS[place].ids[: ROWS[place].counts.index(True)][-16:]
        assert found.prompts[place] == TOKENIZER.decode(prompt)
        assert found.outputs[place] == by_hand(model, prompt, 8)
    # Virtual tokens take room, too.
    prefixed = peft.get_peft_model(model, peft.PrefixTuningConfig(num_virtual_tokens=6, **TASK)).eval()
    assert len(answer(prefixed).prompts[6]) == 10
    with pytest.raises(ConfigError, match="must leave room for a prompt in the model's context of 24 tokens; got 24"):
        answer(model, max_new_tokens=24)


def test_prompts_and_answers_of_real_examples() -> None:
    turns = (
        ("Ask: add one and one.\nSay: ", False),
        ("two.", True),
        ("\nAsk: and one?\nSay: ", False),
        ("three.", True),
    )
    rows = encode([Example(turns), Example(turns[:2])], TOKENIZER)
    texts = [tuple(TOKENIZER.decode(part) for part in pair) for pair in prompts_and_answers(rows)]
    # Of a conversation it is the first answer; only the last one is followed by the end token.
    assert texts == [(turns[0][0], "two."), (turns[0][0], "two.<|end|>")]
    found = answer(MODELS["llama"]().eval(), rows)
    assert found.references == ["two.", "two."]
    assert found.prompts == [turns[0][0].strip()] * 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "got no rows"),
        ([row(3), Row([5, 6, END], [True] * 3)], "row 2 of 2 has none. Use instruction data in the layout 'rows'"),
        ([Row([END], [True])], "row 1 of 1 has none"),
    ],
)
def test_rows_without_prompts_are_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(DataError, match=message):
        answer(None, rows)


def test_a_stop_text_must_be_one_token() -> None:
    with pytest.raises(ConfigError, match="must name single tokens of the tokenizer; 'ab' is 2 tokens"):
        answer(None, stop=("ab",))


def test_an_answer_ends_with_the_special_token_that_rows_end_with() -> None:
    """A chat template may close turns by another token than the tokenizer's end token."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<|turn|>"], special_tokens=True)
    turn = tokenizer.convert_tokens_to_ids("<|turn|>")
    rows = [Row([5, 6, turn], [False, True, True]), Row([5, 6], [False, True])]
    assert turn != END
    assert row_ends(tokenizer, rows) == {turn}
