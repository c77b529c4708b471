"""Baselines of the model card: interpolated modified Kneser-Ney n-gram models in numpy.

Chen and Goodman (1998): the highest order discounts how often an n-gram occurs, every lower order
discounts how many different tokens it was seen behind. An n-gram is one int64 (its tokens are the
digits), a table is a sorted array of them, so one order of 34 M tokens fits in about 2 GB.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def grams(tokens: NDArray[np.uint16], order: int, base: int) -> Ints:
    """The n-gram that ends at each token, as a number; the end token 0 stands before the beginning.

    Args:
        tokens: ids (N,) below ``base``.
        order: tokens per n-gram; ``base ** order`` must fit in 63 bits.
        base: size of the vocabulary.

    Returns:
        Numbers (N,) in [0, base ** order).

    >>> grams(np.array([1, 2, 3], dtype=np.uint16), 2, 10).tolist()
    [1, 12, 23]
    """
    if base**order > 2**63:
        raise ValueError(f"{order}-grams of {base} tokens need {base}**{order} <= 2**63; take a lower order")
    padded = np.concatenate([np.zeros(order - 1, dtype=np.uint16), tokens])
    keys = np.zeros(len(tokens), dtype=np.int64)
    for i in range(order):
        keys *= base
        keys += padded[i : i + len(tokens)]
    return keys


def discounts(counts: Ints) -> Floats:
    """What to take from n-grams counted 0, 1, 2, and 3 or more times; 0.75 where the estimate has no basis."""
    seen = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].astype(np.float64)
    if not seen.all():
        return np.array([0.0, 0.75, 0.75, 0.75])
    share = seen[0] / (seen[0] + 2 * seen[1])
    steps = np.arange(1, 4)
    return np.concatenate([[0.0], np.clip(steps - (steps + 1) * share * seen[1:] / seen[:3], 0, steps)])


def interpolate(table: tuple[Ints, Ints], queries: Ints, lower: Floats, base: int) -> Floats:
    """Discounted share of each queried n-gram in its context, plus what was taken times the lower order.

    Args:
        table: sorted n-grams (K,) and how often each was counted (K,).
        queries: n-grams (Q,) to give a probability.
        lower: probability (Q,) of their last tokens in the context shorter by one.
        base: size of the vocabulary.

    Returns:
        Probabilities (Q,) in (0, 1]; those of all last tokens in one context sum to 1.
    """
    keys, counts = table
    taken = discounts(counts)[np.minimum(counts, 3)]
    begin = queries // base * base
    first, last = np.searchsorted(keys, begin), np.searchsorted(keys, begin + base)
    total = np.concatenate([[0], np.cumsum(counts)])
    occurrences = total[last] - total[first]
    del total
    mass = np.concatenate([[0.0], np.cumsum(taken)])
    free = mass[last] - mass[first]
    at = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    kept = np.where(keys[at] == queries, counts[at] - taken[at], 0.0)
    mixed: Floats = (kept + free * lower) / np.maximum(occurrences, 1)
    return np.where(occurrences > 0, mixed, lower)


def unigram(table: tuple[Ints, Ints], queries: Ints, base: int) -> Floats:
    """Add-one estimate of each queried token."""
    counts = np.ones(base, dtype=np.int64)
    counts[table[0]] += table[1]
    probability: Floats = counts[queries] / counts.sum()
    return probability


def ngram_nats(train: NDArray[np.uint16], held: NDArray[np.uint16], orders: int, base: int) -> list[Floats]:
    """Loss of every held-out token under the n-gram models of order 1 to ``orders``.

    Args:
        train: token ids (N,) to count.
        held: token ids (M,) to predict, each from the tokens before it.
        orders: the highest order.
        base: size of the vocabulary.

    Returns:
        One array (M,) of nats per order; order 1 is the add-one unigram.

    >>> stream = np.array([1, 2, 3] * 100, dtype=np.uint16)
    >>> [round(float(nats.mean()), 2) for nats in ngram_nats(stream, stream, 2, 4)]
    [1.1, 0.01]
    """
    losses: list[Floats] = []
    lower = np.zeros(0)
    for order in range(1, orders + 1):
        keys, counts = np.unique(grams(train, order, base), return_counts=True)
        if order == 1:
            losses.append(-np.log(unigram((keys, counts), grams(held, 1, base), base)))
            continue
        # Kneser-Ney: the order below counts the different tokens that stand before it.
        below = np.unique(keys % base ** (order - 1), return_counts=True)
        shorter = grams(held, order - 1, base)
        lower = unigram(below, shorter, base) if order == 2 else interpolate(below, shorter, lower, base)
        losses.append(-np.log(interpolate((keys, counts), grams(held, order, base), lower, base)))
    return losses
