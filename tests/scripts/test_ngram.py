"""The card's n-gram baselines are probabilities, and know a predictable text."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BASE = 7


@pytest.fixture(scope="module")
def ngram() -> ModuleType:
    spec = spec_from_file_location("ngram", Path(__file__).parents[2] / "scripts" / "ngram.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def skewed(seed: int, size: int) -> np.ndarray:
    """Tokens 0 to 6, the small ones often, each likely to repeat the one before the last."""
    draws = np.random.default_rng(seed)
    tokens = np.minimum(draws.geometric(0.4, size), BASE) - 1
    for i in range(2, size):
        if draws.random() < 0.5:
            tokens[i] = tokens[i - 2]
    return tokens.astype(np.uint16)


@pytest.mark.parametrize("size", [3, 40, 2000])
@pytest.mark.parametrize("context", [[0, 0], [1, 2], [6, 6], [5, 0]])
def test_each_order_sums_to_one_over_the_next_token(ngram: ModuleType, size: int, context: list[int]) -> None:
    train = skewed(0, size)
    ends = [
        [nats[-1] for nats in ngram.ngram_nats(train, np.array([*context, token], dtype=np.uint16), 4, BASE)]
        for token in range(BASE)
    ]
    np.testing.assert_allclose(np.exp(-np.array(ends)).sum(0), 1.0, rtol=1e-12)


def test_longer_contexts_find_the_dependence(ngram: ModuleType) -> None:
    one, two, three = (float(nats.mean()) for nats in ngram.ngram_nats(skewed(0, 20000), skewed(1, 5000), 3, BASE))
    assert three < two - 0.2 < one


def test_a_trigram_is_the_hand_computed_one(ngram: ModuleType) -> None:
    # Stream 1 2 1 2 1 3: (1, 2) is followed by 1 twice; few counts, so 0.75 is taken everywhere.
    stream = np.array([1, 2, 1, 2, 1, 3], dtype=np.uint16)
    got = np.exp(-ngram.ngram_nats(stream, np.array([1, 2, 1], dtype=np.uint16), 3, 4)[2][-1])
    unigram = (2 + 1) / (4 + 4)  # 1 stands behind 0 and 2; four different pairs in all: 01 12 21 13
    bigram = (1 - 0.75 + 0.75 * unigram) / 1  # 2 1 stands behind 1 alone
    assert got == pytest.approx((2 - 0.75 + 0.75 * bigram) / 2)


def test_an_order_that_does_not_fit_says_so(ngram: ModuleType) -> None:
    with pytest.raises(ValueError, match="lower order"):
        ngram.grams(np.zeros(3, dtype=np.uint16), 6, 4096)
