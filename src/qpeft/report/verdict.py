"""Verdicts: paired differences between methods, and what a trained circuit is worth against its twins."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qpeft.errors import RecordError, nearest
from qpeft.metrics.intervals import difference_interval, holm, smallest_effect
from qpeft.records import MethodSpec, RunRecord
from qpeft.report.format import interval_digits
from qpeft.report.groups import ENOUGH_SEEDS, Floats, Groups, block_arrays, differing_keys, final_groups, measured

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no measurable difference"
NOT_COMPARABLE = "not comparable"
ERROR = 0.05
CIRCUIT = "circuit"
TWINS = {
    "frozen": "frozen circuit",
    "table": "free probability table",
    "none": "no circuit (mapping only)",
    "no_entangler": "circuit without entangling gates",
    "mlp": "classical network in the circuit's place",
    "hash": "random signed hash of as many numbers",
    "quadratic": "fixed random quadratic features",
    "linear": "trained linear bottleneck",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A method minus a baseline, in nats per token; negative means that the method is better.

    ``low`` and ``high`` are the 95 % interval of this one comparison and ``p_value`` its test; the verdict
    follows ``p_holm``, which counts the ``family`` comparisons told together. ``estimate``, the interval and the
    p-values are None, and ``reason`` says why, when ``verdict`` is ``not comparable``.
    """

    label: str
    baseline: str
    estimate: float | None
    low: float | None
    high: float | None
    seeds: int
    verdict: str
    reason: str = ""
    parts: tuple[tuple[float, float], ...] = ()
    p_value: float | None = None
    p_holm: float | None = None
    family: int = 1

    @property
    def text(self) -> str:
        """The difference and its interval, or a word where there is none."""
        if self.estimate is None or self.low is None or self.high is None:
            return NOT_COMPARABLE
        return self.shown(interval_digits(self.low, self.high, least=3))

    def shown(self, digits: int) -> str:
        """The same with that many decimals, so that a column of differences lines up."""
        if self.estimate is None:
            return NOT_COMPARABLE
        return f"{self.estimate:+.{digits}f} [{self.low:+.{digits}f}, {self.high:+.{digits}f}]"

    @property
    def p_text(self) -> str:
        """Holm's adjusted p-value in words, or an empty string where there is none.

        >>> Difference("a", "b", 0.1, 0.0, 0.2, 3, WORSE, p_holm=0.0314).p_text
        'p_Holm = 0.031'
        """
        if self.p_holm is None:
            return ""
        return "p_Holm < 0.001" if self.p_holm < 0.001 else f"p_Holm = {self.p_holm:.2g}"

    @property
    def smallest_effect(self) -> float:
        """The true difference in nats per token that 80 % of such comparisons would find.

        Found means in the first step of Holm's correction, at 5 % / family; the variance is this comparison's.
        """
        return math.inf if self.estimate is None else smallest_effect(self.parts, ERROR / self.family)

    @property
    def percent(self) -> float | None:
        """The same difference as a change of perplexity in percent."""
        return None if self.estimate is None else 100 * math.expm1(self.estimate)


@dataclass(frozen=True, slots=True)
class Twin:
    """One twin of a trained circuit: what stands in the circuit's place, the difference, and a sentence."""

    source: str
    difference: Difference
    sentence: str


def differences(records: Iterable[RunRecord], baseline_label: str) -> list[Difference]:
    """Every method against one baseline, paired by seed and text block; one family for Holm's correction.

    Args:
        records: records of one comparison.
        baseline_label: the label the others are compared with.

    Returns:
        One difference for each other label, in order of first appearance.

    Raises:
        RecordError: there is no final record, or none with that label.
    """
    groups = final_groups(records)
    _require(groups, baseline_label)
    return _family([_difference(groups, label, baseline_label) for label in groups if label != baseline_label])


def find_twins(records: Iterable[RunRecord]) -> dict[str, list[str]]:
    """The twins of each trained circuit: same method and options but for the source, same preset.

    Returns:
        label of each method that trains a circuit -> labels of its twins; the list is empty where
        none was run.
    """
    groups = final_groups(records)
    heads = {label: runs[0] for label, runs in groups.items()}
    return {
        label: [other for other, run in heads.items() if other != label and _is_twin(head, run)]
        for label, head in heads.items()
        if head.quantum is not None and head.quantum.source == CIRCUIT
    }


def twin_verdict(records: Iterable[RunRecord], quantum_label: str, twin_labels: Sequence[str]) -> list[Twin]:
    """One sentence for each twin: did the trained circuit contribute anything?

    The twins are one family: p-values are Holm-adjusted for their number, and so are the verdicts. In 1500 simulated
    families of 5 twins on 3 seeds, variances of results/wikitext2, 3.7 % had a false verdict where all were equal,
    and twins better or worse by the true smallest effect were found in 85 % (tests/report/test_verdict.py).

    Args:
        records: records of one comparison.
        quantum_label: the method that trains a circuit.
        twin_labels: its twins, as ``find_twins`` gives them.

    Returns:
        The twins in the given order; their differences are the trained circuit minus the twin.

    Raises:
        RecordError: there is no final record, or none with one of the labels.
    """
    groups = final_groups(records)
    for label in (quantum_label, *twin_labels):
        _require(groups, label)
    found = _family([_difference(groups, quantum_label, label) for label in twin_labels])
    sources = [_source(groups[label][0]) or "" for label in twin_labels]
    return [Twin(source, item, _sentence(source, item)) for source, item in zip(sources, found, strict=True)]


def conclusion(label: str, twins: Sequence[Twin]) -> str:
    """One sentence over all twins of one trained circuit.

    >>> conclusion("qpa", [])
    'qpa: no twin was run, so nothing can be said about what the circuit contributed.'
    """
    if not twins:
        return f"{label}: no twin was run, so nothing can be said about what the circuit contributed."
    verdicts = [twin.difference.verdict for twin in twins]
    counts = {verdict: verdicts.count(verdict) for verdict in (BETTER, WORSE, NO_DIFFERENCE)}
    parts = [
        f"better than {counts[BETTER]} of {len(twins)} twins",
        f"worse than {counts[WORSE]}",
        f"no measurable difference from {counts[NO_DIFFERENCE]}",
    ]
    missing = len(twins) - sum(counts.values())
    if missing:
        parts.append(f"not comparable with {missing}")
    return f"{label}: {', '.join(parts)}."


def choose_baseline(records: Iterable[RunRecord], perplexities: Mapping[str, float]) -> tuple[str, str] | None:
    """The label others are compared with, and why it was chosen.

    Args:
        records: records of one comparison.
        perplexities: label -> test perplexity, for labels that have one.

    Returns:
        The method a circuit generates the numbers of, if it was run; else the classical method that
        trains something and has the lowest perplexity; else the first label; None without labels.
    """
    heads = {label: runs[0] for label, runs in final_groups(records).items() if label in perplexities}
    classical = {label: run for label, run in heads.items() if run.quantum is None}
    for run in heads.values():
        for label, other in classical.items():
            if run.quantum is not None and run.spec.method.over == other.spec.method:
                return label, "the method whose numbers the circuit generates"
    trained = [label for label, run in classical.items() if run.train_info.num_trainable_params > 0]
    if trained:
        best = min(trained, key=lambda label: perplexities[label])
        return best, "the classical method with the lowest test perplexity"
    return (next(iter(heads)), "the first method") if heads else None


def _difference(groups: Groups, label: str, baseline: str) -> Difference:
    left, right = _paired(measured(groups[label]), measured(groups[baseline]))
    a, b = block_arrays(left), block_arrays(right)
    reason = _obstacle(left, right, a, b)
    if reason or a is None or b is None:
        return Difference(label, baseline, None, None, None, len(left), NOT_COMPARABLE, reason)
    found = difference_interval(*a, *b)
    values, spread = (found.nats, found.low, found.high), (found.parts, found.p_value)
    return Difference(label, baseline, *values, len(left), NO_DIFFERENCE, "", *spread)


def _family(items: Sequence[Difference]) -> list[Difference]:
    """The same differences with Holm-adjusted p-values, and the verdicts that follow from those."""
    tested = {place: item.p_value for place, item in enumerate(items) if item.p_value is not None}
    out = list(items)
    for place, p_holm in zip(tested, holm(list(tested.values())), strict=True):
        sign = BETTER if (items[place].estimate or 0) < 0 else WORSE
        verdict = sign if p_holm < ERROR else NO_DIFFERENCE
        out[place] = replace(items[place], verdict=verdict, p_holm=p_holm, family=len(tested))
    return out


def _paired(left: list[RunRecord], right: list[RunRecord]) -> tuple[list[RunRecord], list[RunRecord]]:
    """Runs of equal seeds side by side; a method that trains nothing is the same for every seed."""
    a, b = ({run.seed: run for run in runs} for runs in (left, right))
    if a and not _trains(left[0]):
        a |= {seed: left[0] for seed in b if seed not in a}
    if b and not _trains(right[0]):
        b |= {seed: right[0] for seed in a if seed not in b}
    seeds = sorted(a.keys() & b.keys())
    return [a[seed] for seed in seeds], [b[seed] for seed in seeds]


def _trains(run: RunRecord) -> bool:
    return run.train_info.num_trainable_params > 0


def _obstacle(
    left: Sequence[RunRecord],
    right: Sequence[RunRecord],
    a: tuple[Floats, Floats] | None,
    b: tuple[Floats, Floats] | None,
) -> str:
    """Why two methods cannot be compared, or an empty string."""
    if not left:
        return "no seed was measured with both"
    if a is None or b is None:
        return "block sums of the test split are missing"
    if a[1].shape != b[1].shape or not np.array_equal(a[1], b[1]):
        return "the counted test tokens differ"
    if a[1].size < 2:
        return "one seed and one block have no spread"
    # Other fields may differ on purpose (a method's loss or dtype); the page notes them.
    differing = differing_keys([left[0].spec, right[0].spec])
    keys = [key for key in ("model.name", "model.revision", "data.name") if key in differing]
    return f"{', '.join(keys)} differ" if keys else ""


def _is_twin(head: RunRecord, run: RunRecord) -> bool:
    if run.quantum is not None and head.quantum is not None and run.quantum.preset != head.quantum.preset:
        return False
    same = _without_source(head.spec.method) == _without_source(run.spec.method)
    return same and _source(run) not in (None, CIRCUIT)


def _without_source(method: MethodSpec) -> tuple[str, dict[str, Any], MethodSpec | None]:
    return method.name, {key: value for key, value in method.options.items() if key != "source"}, method.over


def _source(run: RunRecord) -> str | None:
    source = run.quantum.source if run.quantum else run.spec.method.options.get("source")
    return None if source is None else str(source)


def _sentence(source: str, difference: Difference) -> str:
    words = {
        BETTER: "the trained circuit contributes",
        WORSE: "the trained circuit hurts",
        NO_DIFFERENCE: "no measurable contribution at this power",
    }
    seeds = f"{difference.seeds} seed{'s' * (difference.seeds != 1)}"
    head = f"trained circuit vs {TWINS.get(source, difference.baseline)}"
    if difference.p_holm is None:
        return f"{head}: {NOT_COMPARABLE}: {difference.reason} ({seeds})"
    if difference.seeds < ENOUGH_SEEDS:
        seeds += ", the text alone" * (difference.seeds == 1) + ", too few to tell"
    value = f"difference {difference.text.replace(' [', ' nat per token [')}, {difference.p_text}"
    least = f"an effect of {difference.smallest_effect:.2g} would probably have been seen"
    return f"{head}: {value}: {words[difference.verdict]} ({seeds}; {least})"


def _require(groups: Groups, label: str) -> None:
    if label not in groups:
        known = ", ".join(groups)
        raise RecordError(f"no final runs are labelled {label!r}; the labels are {known}{nearest(label, groups)}")
