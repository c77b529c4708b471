"""Records put in order: final runs by label, tuning runs by label, and the block sums as arrays."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpeft.errors import RecordError
from qpeft.records import RunRecord, RunSpec

Floats = NDArray[np.float64]
Groups = dict[str, list[RunRecord]]

# Below this many seeds a difference between two methods is called too uncertain to tell.
ENOUGH_SEEDS = 3


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of dotted keys.

    >>> flat({"train": {"steps": 200}, "seed": 0})
    {'train.steps': 200, 'seed': 0}
    """
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def differing_keys(specs: Sequence[RunSpec]) -> dict[str, list[Any]]:
    """The dotted keys that are not equal in all specs, each with its distinct values in order."""
    dumps = [flat(spec.model_dump(mode="json")) for spec in specs]
    out: dict[str, list[Any]] = {}
    for key in dict.fromkeys(key for dump in dumps for key in dump):
        values: list[Any] = []
        for value in (dump.get(key) for dump in dumps):
            if value not in values:
                values.append(value)
        if len(values) > 1:
            out[key] = values
    return out


def final_groups(records: Iterable[RunRecord]) -> Groups:
    """The final runs of each label in order of seed; the same run read twice counts once.

    Args:
        records: any records; tuning runs are left out.

    Returns:
        label -> its runs, labels in the order they first appear; failed runs are kept.

    Raises:
        RecordError: no final runs, or one label holds runs that differ in more than the seed.
    """
    groups = _by_label(records, "final")
    if not groups:
        raise RecordError("a report needs records with purpose 'final', got none; finish the comparison first")
    for label, runs in groups.items():
        differing = differing_keys([run.spec.model_copy(update={"seed": 0}) for run in runs])
        if differing:
            key, values = next(iter(differing.items()))
            shown = ", ".join(str(value) for value in values)
            raise RecordError(
                f"runs of one label must differ only in the seed, but label {label!r} has {key}: {shown}; "
                "give one of them another label, or report from a folder that holds only one of them"
            )
        runs.sort(key=lambda run: run.seed)
    return groups


def tune_groups(records: Iterable[RunRecord]) -> Groups:
    """The tuning runs of each label in order of learning rate and seed; may be empty."""
    groups = _by_label(records, "tune")
    for runs in groups.values():
        runs.sort(key=lambda run: (run.spec.train.learning_rate, run.seed))
    return groups


def _by_label(records: Iterable[RunRecord], purpose: str) -> Groups:
    unique = {record.identity: record for record in records if record.spec.purpose == purpose}
    groups: Groups = {}
    for record in unique.values():
        groups.setdefault(record.spec.label, []).append(record)
    return groups


def measured(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """The runs that came to an end without an error and have a finite test perplexity."""
    return [
        run
        for run in runs
        if run.train_info.status == "success" and finite_metric(run, "perplexity", "test") is not None
    ]


def finite_metric(run: RunRecord, name: str, split: str) -> float | None:
    """One metric of a run, or None where it is missing, infinite or not a number."""
    value = run.metric(name, split)
    return value if value is not None and math.isfinite(value) else None


def block_arrays(runs: Sequence[RunRecord], split: str = "test") -> tuple[Floats, Floats] | None:
    """Negative log-likelihood sums and token counts of all seeds and blocks.

    Args:
        runs: runs of one label, one a seed.
        split: which split.

    Returns:
        Two arrays of shape (seeds, blocks), in nats and tokens; None where a run has no blocks, a
        number is not finite, or the runs disagree in how many blocks there are.
    """
    blocks = [block for run in runs if (block := run.block(split)) is not None and block.nll]
    if not blocks or len(blocks) < len(runs) or len({(len(b.nll), len(b.tokens)) for b in blocks}) > 1:
        return None
    nll = np.asarray([block.nll for block in blocks], dtype=np.float64)
    tokens = np.asarray([block.tokens for block in blocks], dtype=np.float64)
    usable = nll.shape == tokens.shape and bool(np.isfinite(nll).all()) and bool((tokens.sum(axis=1) > 0).all())
    return (nll, tokens) if usable else None
