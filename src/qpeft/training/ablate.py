"""Was it the circuit: a comparison of a finished quantum run with every twin of its circuit, on equal terms."""

from collections.abc import Sequence
from typing import Any

from qpeft.errors import ConfigError
from qpeft.method import METHODS
from qpeft.records import Comparison, MethodSpec, RunRecord, RunSpec

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
    row = METHODS.need("method.name", spec.method.name)
    twins = row.twins_of(spec.method.options)
    if not twins:
        able = [name for name, other in METHODS.items() if other.sources or other.twins is not None]
        source = spec.method.options.get("source")
        what = "no twins" if source is None else f"{spec.method.name} with source {source!r}"
        raise ConfigError(
            f"ablate needs a run of {', '.join(able)} with a trained circuit or a quantum structure; {spec.label} is "
            f"{spec.method.name!r}: {what}"
        )
    if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds must be two or more different numbers; got {list(seeds)}")
    rates = learning_rates or [float(f"{spec.train.learning_rate * factor:.2g}") for factor in FACTORS]
    if len(set(rates)) < len(rates) or not all(rate > 0 for rate in rates):
        raise ConfigError(f"learning rates must be different numbers above 0; got {list(rates)}")
    rows = [spec.model_copy(update={"purpose": "final"})]
    rows += [_with(spec, name, options) for name, options in twins.items()]
    return Comparison(
        name=f"ablate-{spec.label}",
        title=f"What the circuit of {spec.label} contributes",
        baseline=spec.label,
        runs=tuple(rows),
        seeds=tuple(seeds),
        learning_rates=tuple(rates),
    )


def _with(spec: RunSpec, twin: str, options: dict[str, Any]) -> RunSpec:
    """The run with other options, under a twin's name."""
    method = MethodSpec(name=spec.method.name, options=options, over=spec.method.over)
    return spec.model_copy(update={"method": method, "label": f"{spec.label}-{twin}", "purpose": "final"})
