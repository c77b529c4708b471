"""Perplexity in two definitions from one pass, masked (ours) and padded (the QPA authors'), with token accuracy."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from qpeft.errors import DataError
from qpeft.metrics.windows import TokenRow, Window, cut_windows

# Positions whose float32 logits exist at one time.
_CHUNK = 1024
_PAIR = 2


@dataclass(frozen=True, eq=False)
class Perplexity:
    """What one pass over the rows of a split measured; logarithms are natural, losses in nats.

    Attributes:
        masked: exp(nll / tokens) over all counted tokens, each weighing the same; >= 1.
        tokens: counted tokens.
        nll: their summed negative log-likelihood.
        row_nll: (R,) the same sum for each row.
        row_tokens: (R,) counted tokens of each row.
        signature_masked: the definition of `masked` in words.
        accuracy: the share of the counted tokens to which the model gives the largest logit, in per cent.
        signature_accuracy: the definition of `accuracy` in words.
        ends: end tokens in rows of plain text, where everything but the end token counts; they may count or not.
        nll_ends: their summed negative log-likelihood.
        ends_count: whether they are among the counted tokens.
        padded: the QPA authors' perplexity, or None where it was not asked for.
        share_real: the share of the padded measure's labels that are not padding, in [0, 1], or None.
        nll_per_pad: the mean loss of a padding label, or None.
        signature_padded: the definition of `padded` in words, or None.
    """

    masked: float
    tokens: int
    nll: float
    row_nll: NDArray[np.float64]
    row_tokens: NDArray[np.int64]
    signature_masked: str
    accuracy: float
    signature_accuracy: str
    ends: int = 0
    nll_ends: float = 0.0
    ends_count: bool = True
    padded: float | None = None
    share_real: float | None = None
    nll_per_pad: float | None = None
    signature_padded: str | None = None

    @property
    def other(self) -> tuple[float, str] | None:
        """The masked perplexity without the end tokens where they count, with them where not, and its definition.

        None where there are no end tokens of plain text, or no other tokens.
        """
        sign, word = (-1, "ignored") if self.ends_count else (1, "counted")
        tokens = self.tokens + sign * self.ends
        if not self.ends or not tokens:
            return None
        return _exp((self.nll + sign * self.nll_ends) / tokens), end_words(self.signature_masked, word)


def end_words(signature: str, word: str) -> str:
    """A signature with another word for what becomes of end tokens.

    >>> end_words("ppl|end token:counted|v1", "ignored")
    'ppl|end token:ignored|v1'
    """
    return "|".join(f"end token:{word}" if part.startswith("end token:") else part for part in signature.split("|"))


def padded_from_masked(masked_nll_per_token: float, share_real: float, nll_per_pad: float) -> float:
    """The padded perplexity that a masked loss turns into: ln ppl_padded = s * nll_real + (1 - s) * nll_pad.

    Exact where every real label counts, no row is longer than max_length and the number of rows is even
    (otherwise the authors' last batch of one row weighs double). With s = 0.126 and free padding a real
    perplexity of 40 becomes 1.59.

    Args:
        masked_nll_per_token: mean loss of a real label, nats.
        share_real: share of labels that are not padding, in [0, 1].
        nll_per_pad: mean loss of a padding label, nats.

    Returns:
        The padded perplexity, >= 1.

    >>> round(padded_from_masked(3.708, 0.1259, 0.0), 3)
    1.595
    """
    return _exp(share_real * masked_nll_per_token + (1 - share_real) * nll_per_pad)


def measure_perplexity(  # noqa: PLR0913 - the measurement's whole definition, by keyword
    model: torch.nn.Module,
    rows: Sequence[TokenRow],
    *,
    pad_id: int,
    eos_id: int,
    max_length: int,
    batch_size: int = 16,
    stride: int | None = None,
    padded: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Perplexity:
    """Masked perplexity of every counted token and, from the same forward passes, the padded perplexity.

    Masked: rows longer than max_length are read through overlapping windows (`cut_windows`), so every token
    but the first of each row is scored once. Padded (QPA release, its evaluation): each row is cut to
    max_length and padded to it with the end token; the padding is masked in attention but carries loss; the
    mean is taken over each pair of consecutive rows, and the exponential of the mean of these means is the
    result. One thing differs from the release: our rows carry their own end token, which is attended to,
    where the release's first end token is padding; an empty line is one such token.

    Token accuracy is of the masked measure's tokens, each predicted from the true tokens before it (teacher
    forcing); an answer that the model writes alone is another thing (`qpeft.metrics.generation`). Of equal largest
    logits, which half precision makes common, torch's argmax decides.

    Args:
        model: a causal language model of transformers, peft-wrapped or not.
        rows: R rows of token ids and counts, uncut.
        pad_id: the token id written into padding where only the masked measure is asked for; has no effect on it.
        eos_id: the end token's id: the padding of the padded measure.
        max_length: tokens a window.
        batch_size: windows a forward pass; does not change the result.
        stride: new tokens a window for long rows; None: max_length // 2.
        padded: measure the padded perplexity too. Without it windows are sorted by length, which is faster.
        progress: called after each forward pass with (windows done, windows in all).

    Returns:
        A Perplexity, rows in the order given.

    Raises:
        ConfigError: for a stride that leaves no context.
        DataError: where no token counts.
    """
    step = max(1, max_length // 2) if stride is None else stride
    windows = cut_windows(rows, max_length, step)
    sums = _Sums(rows, max_length if padded else None, eos_id)
    if not all(row.ids for row in rows):
        raise DataError("every row needs a token, an empty line its end token; got a row without any. Check the data")
    if not sum(sum(row.counts[1:]) for row in rows):
        raise DataError(
            f"a measurement needs a token that counts; none of the {len(rows)} rows has one. Check the data"
        )
    single = [Window(place, 0, 1, 1) for place, row in enumerate(rows) if len(row.ids) == 1]
    order = windows + single if padded else sorted(windows, key=lambda w: w.start - w.end)
    fill = eos_id if padded else pad_id
    with evaluating(model):
        for at in range(0, len(order), batch_size):
            batch = order[at : at + batch_size]
            sums.add(batch, *_scores(model, rows, batch, fill, max_length if padded else None))
            if progress is not None:
                progress(min(at + batch_size, len(order)), len(order))
    return sums.result(f"max_length:{max_length}|stride:{step}")


class _Sums:
    """Per-row sums of the losses of the windows, and how many counted tokens were guessed."""

    def __init__(self, rows: Sequence[TokenRow], width: int | None, eos_id: int) -> None:
        self._counts = [np.asarray(row.counts, dtype=bool) for row in rows]
        self._width = width
        self._nll = np.zeros(len(rows))
        self._tokens = np.zeros(len(rows), dtype=np.int64)
        self._real, self._pad = np.zeros(len(rows)), np.zeros(len(rows))
        self._real_labels = np.zeros(len(rows), dtype=np.int64)
        self._hits = 0
        self._ends = [_plain_ends(row, eos_id) for row in rows]
        self._nll_ends, self._n_ends = 0.0, 0

    def add(self, batch: Sequence[Window], losses: NDArray[np.float64], hits: NDArray[np.bool_]) -> None:
        """Add the losses and hits (B, T - 1) of a batch; column t is that of the window's token t + 1."""
        for window, loss, hit in zip(batch, losses, hits, strict=True):
            scored = slice(window.scored - window.start - 1, window.end - window.start - 1)
            counts = self._counts[window.row][window.scored : window.end]
            self._nll[window.row] += loss[scored][counts].sum()
            self._tokens[window.row] += int(counts.sum())
            self._hits += int(hit[scored][counts].sum())
            ends = self._ends[window.row][window.scored : window.end]
            self._nll_ends += float(loss[scored][ends].sum())
            self._n_ends += int(ends.sum())
            if window.start == 0:
                real = window.end - 1
                self._real_labels[window.row] = real
                self._real[window.row], self._pad[window.row] = loss[:real].sum(), loss[real:].sum()

    def result(self, lengths: str) -> Perplexity:
        """The measurement; lengths is the part of the signature that names window lengths."""
        tokens, nll = int(self._tokens.sum()), float(self._nll.sum())
        rows = len(self._nll)
        end = next((bool(c[e].all()) for c, e in zip(self._counts, self._ends, strict=True) if e.any()), True)
        masked = f"ppl|labels:counted tokens|weight:token|end token:counted|{lengths}|logits:float32|rows:{rows}|v1"
        masked = masked if end else end_words(masked, "ignored")
        guess = "accuracy|labels:counted tokens|guess:largest logit|weight:token|scale:0-100"
        right = 100 * self._hits / tokens
        values = (
            _exp(nll / tokens),
            tokens,
            nll,
            self._nll,
            self._tokens,
            masked,
            right,
            f"{guess}|{lengths}|rows:{rows}|v1",
            self._n_ends,
            self._nll_ends,
            end,
        )
        if self._width is None:
            return Perplexity(*values)
        labels = rows * (self._width - 1)
        real, pads = int(self._real_labels.sum()), labels - int(self._real_labels.sum())
        words = (
            f"ppl|labels:every position|padding:end token to {self._width}|weight:mean of batch means|batch:{_PAIR}"
        )
        return Perplexity(
            *values,
            padded=_exp(_mean_of_pairs((self._real + self._pad) / (self._width - 1))),
            share_real=real / labels,
            nll_per_pad=float(self._pad.sum()) / pads if pads else 0.0,
            signature_padded=f"{words}|cut:{self._width}|logits:float32|rows:{rows}|v1",
        )


def _plain_ends(row: TokenRow, eos_id: int) -> NDArray[np.bool_]:
    """Where a row of plain text has end tokens; nowhere in a row of which other tokens are left out, too."""
    ends = np.asarray(row.ids) == eos_id
    return ends if np.asarray(row.counts, dtype=bool)[~ends].all() else np.zeros_like(ends)


def _mean_of_pairs(row_means: NDArray[np.float64]) -> float:
    # Every row has the same number of labels, so a batch's mean is the mean of its rows' means.
    return float(np.mean([row_means[at : at + _PAIR].mean() for at in range(0, len(row_means), _PAIR)]))


def _scores(
    model: torch.nn.Module, rows: Sequence[TokenRow], batch: Sequence[Window], fill: int, width: int | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """For every token but the first of each window, padding included: its loss, nats, and whether it was guessed.

    Both are of shape (B, T - 1).
    """
    cuts = [rows[window.row].ids[window.start : window.end] for window in batch]
    widest = width or max(len(cut) for cut in cuts)
    device = next(model.parameters()).device
    ids = torch.tensor([cut + [fill] * (widest - len(cut)) for cut in cuts], device=device)
    lengths = torch.tensor([len(cut) for cut in cuts], device=device)
    mask = (torch.arange(widest, device=device) < lengths[:, None]).long()
    logits: Any = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    labels = ids[:, 1:]
    losses = torch.stack([_row_losses(row, label) for row, label in zip(logits[:, :-1], labels, strict=True)])
    return losses.double().cpu().numpy(), (logits[:, :-1].argmax(-1) == labels).cpu().numpy()


def _row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Losses (T,) of logits (T, V); only a part of them is ever copied to float32."""
    parts = zip(torch.split(logits, _CHUNK), torch.split(labels, _CHUNK), strict=True)
    return torch.cat([cross_entropy(part.float(), label, reduction="none") for part, label in parts])


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's own mode comes back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _exp(value: float) -> float:
    # A diverged run has an infinite perplexity, not an OverflowError.
    with np.errstate(over="ignore"):
        return float(np.exp(value))
