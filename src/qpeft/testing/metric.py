"""The contract of a metric: what records, tables and comparisons rely on, one function a promise."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from qpeft.metrics.own import OwnMetric
from qpeft.testing.promises import check


@dataclass(frozen=True)
class Measured:
    """A metric with a model, its tokenizer and rows to try it on."""

    metric: OwnMetric
    model: Any
    tokenizer: Any
    rows: Sequence[Any]

    def once(self) -> float:
        """The number, once."""
        return self.metric.measure(self.model.eval(), self.tokenizer, self.rows)


def number(trial: Measured) -> None:
    """One finite number of Python."""
    found = trial.once()
    assert isinstance(found, float | int), f"measure must return a number; got {type(found).__name__}"
    assert math.isfinite(found), f"the number must be finite; got {found}"


def same(trial: Measured) -> None:
    """The same number at each call, whatever the state of random numbers is."""
    torch.manual_seed(0)
    first = trial.once()
    torch.manual_seed(1)
    assert trial.once() == first, "two calls give different numbers"


def untouched(trial: Measured) -> None:
    """Model, mode and random state are left as they were: training may go on, other metrics follow."""
    before = {name: tensor.clone() for name, tensor in trial.model.state_dict().items()}
    trial.model.eval()
    state = torch.get_rng_state()
    trial.once()
    assert torch.equal(torch.get_rng_state(), state), "torch's random state was moved on"
    assert not trial.model.training, "the model was left in training mode"
    for name, tensor in trial.model.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name} was changed"


def sees_the_model(trial: Measured) -> None:
    """Another model gives another number: what is measured is the model, not the rows alone."""
    first = trial.once()
    kept = [parameter.detach().clone() for parameter in trial.model.parameters()]
    with torch.no_grad():
        for seed, parameter in enumerate(trial.model.parameters()):
            source = torch.Generator().manual_seed(seed)
            parameter.add_(
                torch.randn(parameter.shape, generator=source).to(parameter) * parameter.std().nan_to_num(1)
            )
    try:
        assert trial.once() != first, "a model with other weights gives the same number"
    finally:
        with torch.no_grad():
            for parameter, old in zip(trial.model.parameters(), kept, strict=True):
                parameter.copy_(old)


def told(trial: Measured) -> None:
    """There are words for a record and for a table."""
    assert trial.metric.signature.strip(), "the signature is empty"
    assert trial.metric.column.strip(), "the column has no heading"


# Each works alone and raises where its promise is broken.
METRIC_PARTS: dict[str, Callable[[Measured], None]] = {
    "a number": number,
    "the same at each call": same,
    "nothing else changed": untouched,
    "of the model": sees_the_model,
    "words": told,
}


def check_metric(metric: OwnMetric, model: Any, tokenizer: Any, rows: Sequence[Any]) -> None:
    """Try every promise of ``METRIC_PARTS`` on a metric and tell all that are broken.

    Args:
        metric: The metric.
        model: A small causal language model of transformers.
        tokenizer: Its tokenizer, or None for a metric that needs none.
        rows: Some rows, as `qpeft.data.Row`.

    Raises:
        AssertionError: One line for each broken promise.
    """
    check(METRIC_PARTS, Measured(metric, model, tokenizer, rows))
