"""What a reader has to know before believing the numbers: each note is one sentence, shown on the page."""

from collections.abc import Callable, Iterable, Sequence

from qpeft.records import RunRecord
from qpeft.records.signatures import KINDS, failure_signatures, kind_of
from qpeft.report.groups import Groups, differing_keys, final_groups, finite_metric, tune_groups
from qpeft.report.summary import ENOUGH_SEEDS, Row
from qpeft.report.untrained import untrained_note

# These may differ between methods without making the comparison unequal.
PER_METHOD = ("label", "seed", "method.", "train.learning_rate")


def caveats(records: Iterable[RunRecord], rows: Sequence[Row]) -> list[str]:
    """The notes of one comparison, most important first; an empty list when there is nothing to say.

    Args:
        records: records of one comparison.
        rows: the rows of ``summarise`` of the same records.

    Returns:
        Sentences in plain text.

    Raises:
        RecordError: there is no final record.
    """
    kept = list(records)
    groups, tuned = final_groups(kept), tune_groups(kept)
    found = [_few_seeds(rows), _failed(rows), untrained_note(kept), _no_interval(rows), _still_improving(rows)]
    found += [*_failures(groups), *_worse_than_base(rows, groups), *_seeds_disagree(groups)]
    found += [*_unequal(groups), *_origins(groups), _signatures(groups)]
    return [note for note in (*found, _tuning_budget(rows), *_edges(groups, tuned)) if note]


def _few_seeds(rows: Sequence[Row]) -> str:
    few = [row.label for row in rows if row.perplexity is not None and len(row.seeds) < ENOUGH_SEEDS and row.trainable]
    return (
        f"Fewer than {ENOUGH_SEEDS} seeds: {', '.join(few)}. An interval from one seed describes "
        "the text alone, one from two seeds is very wide."
        if few
        else ""
    )


def _failed(rows: Sequence[Row]) -> str:
    failed = [f"{row.label} ({row.failed})" for row in rows if row.failed]
    return f"Runs that failed or have no finite test perplexity, left out of all means: {', '.join(failed)}." * bool(
        failed
    )


def _no_interval(rows: Sequence[Row]) -> str:
    bare = [row.label for row in rows if row.perplexity is not None and row.low is None]
    return f"No interval, because the records hold too few block sums: {', '.join(bare)}." * bool(bare)


def _still_improving(rows: Sequence[Row]) -> str:
    falling = [(row.label, row.ending.change) for row in rows if row.ending is not None and row.ending.improving]
    listed = ", ".join(f"{label} ({100 * change:+.1f} %)" for label, change in falling)
    return (
        "Still improving at the end of training (training loss of the last fifth against the fifth before): "
        f"{listed}. More steps could change their place."
    ) * bool(falling)


def _failures(groups: Groups) -> list[str]:
    """The failure signatures in the notes of the runs, counted for each method."""
    out = []
    for label, runs in groups.items():
        kinds = [{kind for note in run.notes if (kind := kind_of(note))} for run in runs]
        listed = [f"{kind} in {n} of {len(runs)}" for kind in KINDS if (n := sum(kind in found for found in kinds))]
        # One of them in its own words: what it means and what to try.
        first = next((note for run in runs for note in run.notes if kind_of(note)), "")
        out += [f"Failure signatures of {label}: {', '.join(listed)}. For example {first}."] * bool(listed)
    return out


def _worse_than_base(rows: Sequence[Row], groups: Groups) -> list[str]:
    """Methods whose test perplexity lies above that of the model before training, where that was measured."""
    base = [label for label, runs in groups.items() if runs[0].spec.method.name == "base"]
    before = [row.perplexity for row in rows if row.label in base and row.perplexity is not None]
    if not before:
        return []
    worse = [row for row in rows if row.trainable and row.perplexity is not None and row.perplexity > min(before)]
    listed = ", ".join(f"{row.label} ({row.perplexity:.4g})" for row in worse)
    return [f"Worse than the base model ({min(before):.4g}) after training: {listed}."] * bool(worse)


def _seeds_disagree(groups: Groups) -> list[str]:
    """Methods whose answers differ so much between seeds that they cannot be ranked."""
    out = []
    for label, runs in groups.items():
        values = [value for run in runs if (value := run.metric("rougeL")) is not None]
        out += [f"{label}: {sentence}." for sentence in failure_signatures(rouge_by_seed=values)]
    return out


def _unequal(groups: Groups) -> list[str]:
    differing = differing_keys([runs[0].spec for runs in groups.values()])
    return [
        f"Not equal for all methods: {key} ({', '.join(str(value) for value in values)})."
        for key, values in differing.items()
        if not key.startswith(PER_METHOD)
    ]


def _origins(groups: Groups) -> list[str]:
    """Runs on files that had the same name and were not the same."""
    parts: list[tuple[str, str, Callable[[RunRecord], str]]] = [
        ("data", "dataset_info", lambda run: run.spec.data.model_dump_json()),
        ("base model", "model_info", lambda run: run.spec.model.model_dump_json()),
    ]
    notes = []
    for what, info, spec_of in parts:
        found: dict[str, dict[str, list[str]]] = {}
        for run in (run for runs in groups.values() for run in runs):
            digest = getattr(run.meta_info, info).get("sha256")
            if isinstance(digest, str):
                name = f"{run.spec.label} (seed {run.seed})"
                found.setdefault(spec_of(run), {}).setdefault(digest, []).append(name)
        for digests in (digests for digests in found.values() if len(digests) > 1):
            fewest = min(digests.values(), key=len)
            notes.append(
                f"The files of the {what} changed between runs: other than most for {', '.join(fewest)}; "
                "numbers from before and after cannot be compared."
            )
    return notes


def _signatures(groups: Groups) -> str:
    signatures = {
        metric.signature
        for runs in groups.values()
        for run in runs
        for metric in run.metrics
        if metric.name == "perplexity" and metric.split == "test"
    }
    return (
        f"Test perplexity was measured by {len(signatures)} different definitions (see Metrics); "
        "numbers of different definitions cannot be compared."
        if len(signatures) > 1
        else ""
    )


def _tuning_budget(rows: Sequence[Row]) -> str:
    budgets = {row.tuning_runs for row in rows if row.trainable}
    listed = ", ".join(f"{row.label} {row.tuning_runs}" for row in rows if row.trainable)
    return f"The number of tuning runs is not equal for all methods: {listed}." * (len(budgets) > 1)


def _edges(groups: Groups, tuned: Groups) -> list[str]:
    """Methods whose chosen learning rate is the smallest or largest that was tried."""
    out = []
    for label, runs in tuned.items():
        rates = sorted({run.spec.train.learning_rate for run in runs if finite_metric(run, "perplexity", "valid")})
        if label not in groups or len(rates) < 2:
            continue
        chosen = groups[label][0].spec.train.learning_rate
        if chosen in (rates[0], rates[-1]):
            edge = "smallest" if chosen == rates[0] else "largest"
            out.append(
                f"{label}: the chosen learning rate {chosen:g} is the {edge} that was tried; others may be better."
            )
    return out
