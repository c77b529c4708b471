"""What went wrong in a run, in words: the failure signatures of its curve, gradients and answers, beside its base."""

from collections.abc import Sequence
from typing import Any

from peft import PeftModel

from qpeft.data import Row
from qpeft.records import Metric, RunSpec
from qpeft.records.signatures import failure_signatures, kind_of
from qpeft.training.account import Trained
from qpeft.training.measure import perplexity_of
from qpeft.training.methods import Built
from qpeft.training.models import Base

# Validation rows the trained and the base model are compared on: two short passes.
ROWS = 32


def failure_notes(
    spec: RunSpec, built: Built, base: Base, rows: Sequence[Row], trained: Trained | None, metrics: Sequence[Metric]
) -> list[str]:
    """What a method's own monitor saw last, and every failure signature that the run shows.

    Args:
        spec: The run.
        built: The trained model and what watched it.
        base: Its tokenizer.
        rows: Of validation.
        trained: What training left; None where nothing was trained.
        metrics: What was measured.
    """
    if trained is None:
        return []
    history = trained.trainer.state.log_history
    scores = {metric.name: metric.value for metric in metrics if metric.split == "test"}
    encoder = spec.eval.generation.bertscore if spec.eval.generation is not None else None
    found = failure_signatures(
        [row["loss"] for row in history if "loss" in row],
        bleu=scores.get("bleu"),
        # Rescaled values are on another scale than the threshold.
        bertscore=None if encoder is None or encoder.rescale else scores.get("bertscore_f1"),
        gradient_norms=[row["grad_norm"] for row in history if row.get("grad_norm") is not None],
        against_base=against_base(spec, built.model, base, rows),
    )
    # A monitor's losses are those of the last session, these are of the whole run.
    seen = [
        text
        for m in built.monitors()
        for text in (m.summary(), *m.warnings)
        if text and kind_of(text) in (None, "drowning")
    ]
    return [*seen, *found]


def against_base(spec: RunSpec, model: Any, base: Base, rows: Sequence[Row]) -> tuple[float, float] | None:
    """Masked perplexity on a few validation rows with the adapter and without it.

    None for tuning runs, which are chosen by validation perplexity anyway, and where there is no adapter to take away.
    """
    if spec.purpose != "final" or not isinstance(model, PeftModel) or not rows:
        return None
    few = rows[:ROWS]
    with_adapter = perplexity_of(spec, model, base, few, padded=False).masked
    with model.disable_adapter():
        return with_adapter, perplexity_of(spec, model, base, few, padded=False).masked
