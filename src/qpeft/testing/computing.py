"""Promises about what a tuner computes: identity, learning, checkpointing, generation, precision."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qpeft.testing.trial import STEPS, Trial, close, listed, same

NEW_TOKENS = 6
ROUNDING = 1e-5


def identity(trial: Trial) -> None:
    """Before training the model computes bit for bit what the base model does."""
    base = trial.logits(trial.make_model())
    assert torch.equal(base, trial.logits(trial.make_model())), "make_model must build the same model at each call"
    same(trial.logits(trial.begin()[0]), base, "the adapter changes the model before training")


def training(trial: Trial) -> None:
    """The loss falls, a gradient reaches every Parameter of the adapter, the base model stays as it is."""
    model, optimizer = trial.begin()
    before = trial.quality(model)
    reached = trial.steps(model, optimizer, STEPS)
    silent = [name for name, p in model.named_parameters() if p.requires_grad and name not in reached]
    assert not silent, f"no gradient reaches {listed(silent)}"
    now = {name.replace(".base_layer", ""): p for name, p in model.get_base_model().named_parameters()}
    base = trial.make_model().named_parameters()
    moved = [name for name, p in base if name in now and not torch.equal(now[name], p)]
    assert not moved, f"training changes the base model: {listed(moved)}"
    after = trial.quality(model)
    assert after < before, f"the loss does not fall: {before:.4f} before, {after:.4f} after {STEPS} steps"


def checkpointing(trial: Trial) -> None:
    """Gradient checkpointing of both kinds runs, computes things twice, and leaves every gradient as it is."""
    model = trial.trained()
    plain, calls = trial.gradients(model)
    for reentrant in (False, True):
        kind = f"gradient checkpointing with use_reentrant={reentrant}"
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        found, more = trial.gradients(model)
        assert more > calls, f"{kind} computes nothing twice"
        assert found.keys() == plain.keys(), f"{kind} loses gradients: {listed(sorted(plain.keys() - found.keys()))}"
        check_equal(found, plain, kind)


def check_equal(found: dict[str, Tensor], expected: dict[str, Tensor], kind: str) -> None:
    """Check gradients for equality bit for bit; the message tells rounding from errors."""
    wrong = [name for name in expected if not torch.equal(found[name], expected[name])]
    sizes = {name: (found[name] - expected[name]).abs().max() / expected[name].abs().max() for name in wrong}
    errors = [name for name, size in sizes.items() if not size <= ROUNDING]
    assert not errors, f"{kind} changes gradients: {listed(errors)}"
    assert not wrong, f"{kind} changes gradients by rounding (at most {ROUNDING:.0e} of the largest)"


def generation(trial: Trial) -> None:
    """``generate`` with the cache gives what forward passes over each whole row alone, without padding, give."""
    model = trial.trained()
    tokens, found = generated(trial, model, use_cache=True)
    ids = trial.batch["input_ids"]
    padding = (trial.batch.get("attention_mask", torch.ones_like(ids)) == 0).sum(1).tolist()
    for row, skipped in enumerate(padding):
        alone = dataclasses.replace(trial, batch={"input_ids": tokens[row : row + 1, skipped:]})
        expected = alone.logits(model)[0, -NEW_TOKENS - 1 : -1]
        close(found[row], expected, "generate with the cache gives other logits than the model on whole rows")


def generation_without_cache(trial: Trial) -> None:
    """``generate`` without the cache gives the same tokens and logits as with it."""
    model = trial.trained()
    tokens, expected = generated(trial, model, use_cache=True)
    again, found = generated(trial, model, use_cache=False)
    close(found, expected, "generate without the cache gives other logits than with it")
    assert torch.equal(again, tokens), "generate without the cache gives other tokens than with it"


def generated(trial: Trial, model: Any, *, use_cache: bool) -> tuple[Tensor, Tensor]:
    """Greedy tokens of the batch, shape (B, T + NEW_TOKENS), and the logits of the new ones, (B, NEW_TOKENS, V)."""
    model.eval()
    out = model.generate(
        **trial.batch,
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=0,
        use_cache=use_cache,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return out.sequences, torch.stack(out.logits, 1)


def bfloat16(trial: Trial) -> None:
    """On a bfloat16 base, and on a float32 base under autocast, the model starts as the base and learns."""

    def half() -> Any:
        return trial.make_model().to(torch.bfloat16)

    learns(trial, half, "a bfloat16 base")
    learns(dataclasses.replace(trial, autocast=True), trial.make_model, "bfloat16 autocast")


def learns(trial: Trial, make: Callable[[], Any], where: str) -> None:
    """Identity at the start, finite logits and a falling loss on a certain base."""
    model, optimizer = trial.begin(make())
    same(trial.logits(model), trial.logits(make()), f"with {where} the start is not bit for bit the base model")
    before = trial.quality(model)
    trial.steps(model, optimizer, STEPS)
    assert bool(trial.logits(model).isfinite().all()), f"with {where} logits are not finite after {STEPS} steps"
    assert trial.quality(model) < before, f"with {where} the loss does not fall"
