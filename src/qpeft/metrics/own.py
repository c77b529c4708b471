"""Metrics of one's own: measured on a trained model beside perplexity where a run asks for them; needs no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qpeft.registry import Registry


@dataclass(frozen=True)
class OwnMetric:
    """One metric: how it is measured, and how it is told.

    Attributes:
        name: What records and ``eval.metrics`` call it.
        measure: From a model in evaluation mode, its tokenizer and rows (each with ``ids``, and ``counts``: whether
            the loss counts a token) to one finite number, the same at each call.
        signature: What exactly was measured, for records: the number means nothing without it.
        column: Heading in tables.
        higher_is_better: Its direction.
        unit: Such as ``nats``; empty for a plain number.
    """

    name: str
    measure: Callable[[Any, Any, Sequence[Any]], float]
    signature: str
    column: str
    higher_is_better: bool
    unit: str = ""

    @property
    def heading(self) -> str:
        """The heading with unit and direction."""
        unit = f", {self.unit}" if self.unit else ""
        return f"{self.column}{unit} ({'higher' if self.higher_is_better else 'lower'} is better)"


OWN_METRICS: Registry[OwnMetric] = Registry("metric")


def register_metric(metric: OwnMetric) -> None:
    """Make a metric known by its name, for ``eval: {metrics: [name]}`` of recipes.

    `qpeft.testing.check_metric` says whether it keeps what is promised of every metric.

    Raises:
        ConfigError: The name is taken by another metric, or is no word.
    """
    OWN_METRICS.register(metric.name, metric)
