"""Planted faults in a metric: the contract names the promise that is broken."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from qpeft.data import Row
from qpeft.metrics.own import OwnMetric
from qpeft.testing import METRIC_PARTS, Measured, broken, check_metric
from tiny_models import tiny_llama

ROWS = [Row(ids=[3, 4, 5], counts=[True] * 3), Row(ids=[6, 7], counts=[True] * 2)]


def top(model: Any, tokenizer: Any, rows: Sequence[Any]) -> float:
    with torch.no_grad():
        return sum(model(input_ids=torch.tensor([row.ids])).logits.max().item() for row in rows)


def trains_on(model: Any, tokenizer: Any, rows: Sequence[Any]) -> float:
    model.train()
    return top(model, tokenizer, rows)


def changes(model: Any, tokenizer: Any, rows: Sequence[Any]) -> float:
    with torch.no_grad():
        next(model.parameters()).mul_(1.001)
    return top(model, tokenizer, rows)


GOOD = OwnMetric("top", top, "top|logit", "Top", True)
FAULTS: list[tuple[str, Callable[..., Any]]] = [
    ("a number", lambda model, tokenizer, rows: torch.tensor(1.0)),
    ("a number", lambda model, tokenizer, rows: float("nan")),
    ("the same at each call", lambda model, tokenizer, rows: torch.rand(()).item()),
    ("nothing else changed", trains_on),
    ("nothing else changed", changes),
    ("nothing else changed", lambda model, tokenizer, rows: top(model, tokenizer, rows) + 0 * torch.rand(()).item()),
    ("of the model", lambda model, tokenizer, rows: float(len(rows))),
]


@pytest.mark.parametrize(("part", "measure"), FAULTS)
def test_a_planted_fault_is_caught(part: str, measure: Callable[..., Any]) -> None:
    metric = replace(GOOD, measure=measure)
    assert broken(METRIC_PARTS[part], Measured(metric, tiny_llama(), None, ROWS)) is not None


def test_a_good_metric_passes_and_words_are_needed() -> None:
    check_metric(GOOD, tiny_llama(), None, ROWS)
    with pytest.raises(AssertionError, match="words: the signature is empty"):
        check_metric(replace(GOOD, signature=" "), tiny_llama(), None, ROWS)
