"""Was it the circuit: a comparison of a finished quantum run with every twin of its circuit, on equal terms."""

from collections.abc import Sequence
from typing import Any

from qpeft.errors import ConfigError
from qpeft.qpa.config import SOURCES as QPA_SOURCES
from qpeft.records import Comparison, MethodSpec, RunRecord, RunSpec
from qpeft.tuners.core.twins import twins
from qpeft.tuners.qaa.config import SOURCES as QAA_SOURCES

SOURCES = {"qpa": QPA_SOURCES, "qaa": QAA_SOURCES}
TRAINED = "circuit"
# Tried around the rate of the run, which was tuned for the circuit and not for its twins.
FACTORS = (0.1, 0.3, 1.0, 3.0)


def ablation(record: RunRecord, seeds: Sequence[int], learning_rates: Sequence[float] | None = None) -> Comparison:
    """The comparison that tells what a run's circuit contributed.

    The circuit is trained again beside its twins: equal data, steps, grid of learning rates and seeds.

    Args:
        record: Of a finished run of QPA or QAA with a trained circuit, or of a core with quantum structure.
        seeds: Of the final runs, two or more; five say more than three.
        learning_rates: Tried for every row on validation; None tries the run's own and 0.1, 0.3 and 3 times that.

    Returns:
        One row for the circuit, the first and the baseline, and one for each twin.

    Raises:
        ConfigError: The run has no trained circuit, or fewer than two seeds were given.
    """
    spec = record.spec
    sources = SOURCES.get(spec.method.name, ())
    of_core = twins(spec.method.options) if spec.method.name == "core" else {}
    if not of_core and (not sources or spec.method.options.get("source", TRAINED) != TRAINED):
        what = (
            f"{spec.method.name} with source {spec.method.options.get('source', TRAINED)!r}" if sources else "no twins"
        )
        raise ConfigError(
            f"ablate needs a run of qpa or qaa with a trained circuit, or of a core of gates, rotations or a circuit; "
            f"{spec.label} is {spec.method.name!r}: {what}"
        )
    if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds must be two or more different numbers; got {list(seeds)}")
    rates = learning_rates or [float(f"{spec.train.learning_rate * factor:.2g}") for factor in FACTORS]
    if len(set(rates)) < len(rates) or not all(rate > 0 for rate in rates):
        raise ConfigError(f"learning rates must be different numbers above 0; got {list(rates)}")
    rows = [_row(spec, source) for source in sources or (TRAINED,)]
    rows += [_with(spec, name, options) for name, options in of_core.items()]
    return Comparison(
        name=f"ablate-{spec.label}",
        title=f"What the circuit of {spec.label} contributes",
        baseline=spec.label,
        runs=tuple(rows),
        seeds=tuple(seeds),
        learning_rates=tuple(rates),
    )


def _row(spec: RunSpec, source: str) -> RunSpec:
    """The run with another source in the circuit's place."""
    if source == TRAINED:
        return spec.model_copy(update={"purpose": "final"})
    return _with(spec, source, {**spec.method.options, "source": source})


def _with(spec: RunSpec, twin: str, options: dict[str, Any]) -> RunSpec:
    """The run with other options, under a twin's name."""
    method = MethodSpec(name=spec.method.name, options=options, over=spec.method.over)
    return spec.model_copy(update={"method": method, "label": f"{spec.label}-{twin}", "purpose": "final"})
