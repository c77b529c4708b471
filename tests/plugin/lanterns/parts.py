"""All but the tuner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import plotly.graph_objects as go
import torch
from torch import Tensor

import qpeft
from qpeft.circuits import Circuit, Layers
from qpeft.metrics.own import OwnMetric
from qpeft.quantum import Entry, ExactBackend
from qpeft.records import RunRecord
from qpeft.report import OwnFigure


@dataclass(frozen=True)
class Lamp:
    """The exact backend under a name of its own."""

    name: ClassVar[str] = "lamp"
    differentiable: ClassVar[bool] = True
    input_gradient: ClassVar[bool] = True
    shots: ClassVar[None] = None
    noise: ClassVar[None] = None

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Those of the exact backend."""
        return ExactBackend().probabilities(circuit, angles, states)

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """Something for a record."""
        return {"lamp": "lit"}


def lamp(given: Mapping[str, Any]) -> Lamp:
    """The backend of the catalogue's options."""
    return Lamp()


def ends(n_qubits: int, layer: int) -> tuple[tuple[int, int], ...]:
    """The first and the last wire."""
    return ((0, n_qubits - 1),) if n_qubits > 1 else ()


def confidence(model: Any, tokenizer: Any, rows: Sequence[Any]) -> float:
    """Mean probability of the likeliest next token."""
    place = next(model.parameters()).device
    found = []
    with torch.no_grad():
        for row in rows:
            logits = model(input_ids=torch.tensor([row.ids], device=place)).logits
            found.append(logits.float().softmax(-1).max(-1).values.mean().item())
    return 100 * sum(found) / len(found)


def bars(records: Sequence[RunRecord]) -> go.Figure | None:
    """Steps of each run."""
    return go.Figure(go.Bar(x=[run.spec.label for run in records], y=[run.spec.train.steps for run in records]))


def register() -> None:
    """Everything by name."""
    qpeft.register_entangler("ends", ends, "the first and the last wire")
    qpeft.register_ansatz("lantern", Layers(("ry", "rz"), gate="crx", entangler="ends"), "a lantern")
    qpeft.register_backend("lamp", Entry("a lamp", {}, lamp, "autograd and all others", "yes, with gradient"))
    qpeft.register_metric(OwnMetric("confidence", confidence, "confidence|top-1", "Confidence", True, "%"))
    qpeft.register_report_figure(OwnFigure("lantern_steps", "Steps", "Steps of every run.", bars))
