"""Perplexity against plain loops: masked, strided and padded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from qpeft.errors import ConfigError, DataError
from qpeft.metrics.perplexity import Perplexity, measure_perplexity, padded_from_masked
from qpeft.metrics.windows import cut_windows

END, PAD, WIDTH = 0, 1, 12


@dataclass(frozen=True)
class Row:
    ids: list[int]
    counts: list[bool]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    # A wide initialisation makes the model's guesses strong, so that a wrong position or mask shows.
    settings = LlamaConfig(vocab_size=50, max_position_embeddings=64, initializer_range=0.3, **shape)
    return LlamaForCausalLM(settings).eval()


def rows_of(lengths: Sequence[int], prompt: int = 0) -> list[Row]:
    random = np.random.default_rng(3)
    return [
        Row(
            [*random.integers(2, 50, n - 1).tolist(), END],
            [False] * min(prompt, n - 1) + [True] * (n - min(prompt, n - 1)),
        )
        for n in lengths
    ]


SHORT = rows_of([5, 9, 12, 3, 7, 12])
LONG = rows_of([30, 4, 13, 25, 12])


def measure(model: Any, rows: Sequence[Row], **options: Any) -> Perplexity:
    settings = {"pad_id": PAD, "eos_id": END, "max_length": WIDTH, **options}
    return measure_perplexity(model, rows, **settings)


def token_loss(model: Any, context: list[int], token: int) -> float:
    with torch.no_grad():
        scores = model(torch.tensor([context])).logits[0, -1]
    return -torch.log_softmax(scores, 0)[token].item()


@pytest.mark.parametrize("padded", [True, False])
def test_masked_equals_the_models_own_loss_row_by_row(model: Any, padded: bool) -> None:
    rows = rows_of([5, 9, 12, 3, 7], prompt=2)
    found = measure(model, rows, padded=padded)
    with torch.no_grad():
        for place, row in enumerate(rows):
            ids = torch.tensor([row.ids])
            labels = torch.tensor([[t if c else -100 for t, c in zip(row.ids, row.counts, strict=True)]])
            tokens = sum(row.counts[1:])
            assert found.row_tokens[place] == tokens
            assert found.row_nll[place] == pytest.approx(model(ids, labels=labels).loss.item() * tokens, abs=1e-4)
    assert found.tokens == found.row_tokens.sum()
    assert found.nll == pytest.approx(found.row_nll.sum())
    assert found.masked == pytest.approx(math.exp(found.nll / found.tokens))


@pytest.mark.parametrize(("stride", "padded"), [(None, True), (None, False), (1, False), (5, True), (11, False)])
def test_long_rows_equal_one_token_at_a_time(model: Any, stride: int | None, padded: bool) -> None:
    found = measure(model, LONG, stride=stride, padded=padded)
    step = stride or WIDTH // 2
    for place, row in enumerate(LONG):
        total = 0.0
        for at in range(1, len(row.ids)):
            # the end of the window in which this token is new
            end = WIDTH if at < WIDTH else min(len(row.ids), WIDTH + step * ((at - WIDTH) // step + 1))
            total += token_loss(model, row.ids[max(0, end - WIDTH) : at], row.ids[at])
        assert found.row_nll[place] == pytest.approx(total, abs=1e-3)
        assert found.row_tokens[place] == len(row.ids) - 1


@pytest.mark.parametrize("padded", [True, False])
def test_token_accuracy_counts_the_largest_logits(model: Any, padded: bool) -> None:
    rows = [*rows_of([5, 9, 12, 3, 7], prompt=4), *rows_of([30, 13], prompt=3)]
    # Rows that the model partly writes itself, so that there is something to guess right.
    with torch.no_grad():
        for row in rows:
            for at in range(2, min(len(row.ids), WIDTH), 2):
                row.ids[at] = int(model(torch.tensor([row.ids[:at]])).logits[0, -1].argmax())
    found = measure(model, rows, padded=padded, stride=6)
    right = 0
    for row in rows:
        for at in (at for at in range(1, len(row.ids)) if row.counts[at]):
            end = WIDTH if at < WIDTH else min(len(row.ids), WIDTH + 6 * ((at - WIDTH) // 6 + 1))
            with torch.no_grad():
                guess = model(torch.tensor([row.ids[max(0, end - WIDTH) : at]])).logits[0, -1].argmax()
            right += int(guess) == row.ids[at]
    assert found.accuracy == pytest.approx(100 * right / found.tokens)
    assert 20 < found.accuracy < 80
    assert (
        "labels:counted tokens|guess:largest logit|weight:token|scale:0-100|max_length:12" in found.signature_accuracy
    )


def lm_evals_sum(model: Any, tokens: list[int], longest: int) -> float:
    """The rolling log-likelihood of lm-eval: blocks of `longest` tokens after an end token, each token scored once.

    The first block is read from the end token on; a later one has the one token before it for context, the last
    one as many more as the window holds.
    """
    total = 0.0
    for at in range(0, len(tokens), longest):
        block = tokens[at : at + longest]
        before = [END, *tokens[:at]][-(longest + 1 - len(block)) :] if at else [END]
        with torch.no_grad():
            scores = model(torch.tensor([(before + block)[:-1]])).logits[0, len(before) - 1 :].log_softmax(-1)
        total += scores[torch.arange(len(block)), torch.tensor(block)].sum().item()
    return total


def test_perplexity_is_lm_evals(model: Any) -> None:
    """With windows of its length and one token of context; checked against lm-eval 0.4.13 itself, too."""
    texts = [row.ids[:-1] for row in rows_of([6, 12, 13, 24, 25, 40])]
    rows = [Row([END, *text], [True] * (len(text) + 1)) for text in texts]
    found = measure(model, rows, max_length=WIDTH + 1, stride=WIDTH, padded=False)
    sums = [lm_evals_sum(model, text, WIDTH) for text in texts]
    assert found.row_nll == pytest.approx([-total for total in sums], abs=1e-3)
    # word_perplexity is of the same sum, over words instead of tokens; so is byte_perplexity over bytes.
    words = 31
    assert found.masked ** (found.tokens / words) == pytest.approx(math.exp(-sum(sums) / words), rel=1e-4)


def released_loop(model: Any, rows: Sequence[Row]) -> float:
    """The QPA authors' evaluation, literally: cut, pad with the end token, batches of two, labels everywhere."""
    total, batches = 0.0, 0
    for at in range(0, len(rows), 2):
        cuts = [row.ids[:WIDTH] for row in rows[at : at + 2]]
        ids = torch.tensor([cut + [END] * (WIDTH - len(cut)) for cut in cuts])
        mask = torch.tensor([[1] * len(cut) + [0] * (WIDTH - len(cut)) for cut in cuts])
        with torch.no_grad():
            total += model(ids, attention_mask=mask, labels=ids.clone()).loss.item()
        batches += 1
    return math.exp(total / batches)


@pytest.mark.parametrize("rows", [SHORT, LONG, rows_of([5, 9, 12], prompt=2), rows_of([1, 6, 1])])
def test_padded_equals_the_authors_loop(model: Any, rows: list[Row]) -> None:
    found = measure(model, rows)
    assert found.padded == pytest.approx(released_loop(model, rows), rel=1e-5)


def test_an_odd_last_row_weighs_double(model: Any) -> None:
    means = [math.log(measure(model, [row]).padded or 0) for row in SHORT[:3]]
    assert math.log(measure(model, SHORT[:3]).padded or 0) == pytest.approx((sum(means[:2]) / 2 + means[2]) / 2)


def test_masked_and_padded_are_linked_exactly(model: Any) -> None:
    found = measure(model, SHORT)
    assert found.share_real == pytest.approx(sum(len(row.ids) - 1 for row in SHORT) / (6 * (WIDTH - 1)))
    assert found.share_real is not None
    assert found.nll_per_pad is not None
    linked = padded_from_masked(found.nll / found.tokens, found.share_real, found.nll_per_pad)
    assert found.padded == pytest.approx(linked, rel=1e-6)


def test_free_padding_hides_most_of_a_perplexity() -> None:
    # Both pairs are of the release's own shares: 12.59 % of its WikiText-2 test labels are real tokens.
    assert padded_from_masked(math.log(40.8), 0.1259, 0.0) == pytest.approx(1.595, abs=1e-3)
    assert padded_from_masked(math.log(21.8), 0.1259, 0.0) == pytest.approx(1.474, abs=1e-3)


@pytest.mark.parametrize("padded", [True, False])
def test_compute_batch_size_changes_nothing(model: Any, padded: bool) -> None:
    rows = SHORT + LONG
    one, many = (measure(model, rows, padded=padded, batch_size=size) for size in (1, 7))
    assert one.masked == pytest.approx(many.masked, rel=1e-5)
    assert one.row_nll == pytest.approx(many.row_nll, abs=1e-4)
    if padded:
        assert one.padded == pytest.approx(many.padded, rel=1e-5)
    assert one.signature_masked == many.signature_masked


def test_both_ways_agree_on_the_masked_measure(model: Any) -> None:
    with_padded, without = measure(model, SHORT + LONG), measure(model, SHORT + LONG, padded=False)
    assert with_padded.masked == pytest.approx(without.masked, rel=1e-5)
    assert without.row_nll == pytest.approx(with_padded.row_nll, abs=1e-4)
    assert (without.padded, without.share_real, without.signature_padded) == (None, None, None)
    other_pad = measure(model, SHORT, padded=False, pad_id=7)
    assert other_pad.masked == pytest.approx(measure(model, SHORT, padded=False).masked, rel=1e-6)


@pytest.mark.parametrize("fails", [False, True])
def test_modes_come_back_as_they_were(model: Any, fails: bool) -> None:
    model.train()
    model.model.layers[0].eval()
    before = [module.training for module in model.modules()]

    def stop(done: int, total: int) -> None:
        assert not model.training
        if fails:
            raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            measure(model, SHORT, progress=stop)
    else:
        measure(model, SHORT, progress=stop)
    assert [module.training for module in model.modules()] == before
    model.eval()


def test_progress_counts_windows(model: Any) -> None:
    seen: list[tuple[int, int]] = []
    measure(model, SHORT, batch_size=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 6), (6, 6)]


def test_signatures_name_the_definition(model: Any) -> None:
    found = measure(model, SHORT, stride=3)
    assert "counted tokens|weight:token" in found.signature_masked
    assert "max_length:12|stride:3" in found.signature_masked
    assert "every position|padding:end token to 12|weight:mean of batch means|batch:2" in str(found.signature_padded)


class Rounded(torch.nn.Module):
    """A model whose logits are rounded to bfloat16, and kept in it or not."""

    def __init__(self, model: Any, kept: bool) -> None:
        super().__init__()
        self.inner, self.kept = model, kept

    def forward(self, **inputs: Any) -> Any:
        out = self.inner(**inputs)
        out.logits = out.logits.bfloat16() if self.kept else out.logits.bfloat16().float()
        return out


def test_half_precision_logits_are_reduced_in_float32(model: Any) -> None:
    half, rounded = measure(Rounded(model, kept=True), SHORT), measure(Rounded(model, kept=False), SHORT)
    assert half.row_nll == pytest.approx(rounded.row_nll, rel=1e-6)
    assert half.nll != measure(model, SHORT).nll


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(2, 16), st.integers(1, 15))
def test_windows_score_each_token_once_with_context(lengths: list[int], max_length: int, stride: int) -> None:
    stride = min(stride, max_length - 1)
    windows = cut_windows(rows_of(lengths), max_length, stride)
    scored = [(w.row, token) for w in windows for token in range(w.scored, w.end)]
    assert scored == [(row, token) for row, length in enumerate(lengths) for token in range(1, length)]
    for window in windows:
        assert 2 <= window.end - window.start <= max_length
        assert window.scored - window.start >= (1 if window.start == 0 else max_length - stride)


def test_faults(model: Any) -> None:
    with pytest.raises(ConfigError, match="stride must be 1 to max_length - 1 = 11 so that there is context; got 12"):
        measure(model, SHORT, stride=12)
    with pytest.raises(DataError, match="none of the 1 rows has one"):
        measure(model, [Row([END], [True])])
    with pytest.raises(DataError, match="got a row without any"):
        measure(model, [*SHORT, Row([], [])])


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("rows", [SHORT, LONG], ids=["short", "long"])
def test_end_tokens_of_plain_text_are_told_both_ways(model: Any, rows: list[Row], padded: bool) -> None:
    """What is left out where they count is what rows without that count measure, and the other way about."""
    without = [Row(row.ids, [*row.counts[:-1], False]) for row in rows]
    counted, ignored = measure(model, rows, padded=padded), measure(model, without, padded=padded)
    assert counted.ends == ignored.ends == len(rows)
    assert counted.masked != pytest.approx(ignored.masked, rel=1e-3)
    for one, two, word in ((counted, ignored, "counted"), (ignored, counted, "ignored")):
        assert f"|end token:{word}|" in one.signature_masked
        assert one.other is not None
        assert one.other[0] == pytest.approx(two.masked, rel=1e-6)
        assert one.other[1] == two.signature_masked


def test_end_tokens_of_answers_are_not_told_apart(model: Any) -> None:
    found = measure(model, rows_of([5, 9, 12], prompt=2))
    assert (found.ends, found.other) == (0, None)
    assert measure(model, [Row([END, END, END], [True] * 3)]).other is None
