"""Ranks of methods over seeds: Friedman's test, and how far apart Nemenyi's test wants two mean ranks to be."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from qpeft.records import RunRecord
from qpeft.report.groups import ENOUGH_SEEDS, Floats, final_groups, finite_metric, measured

LEAST_METHODS = 3
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Ranks:
    """Ranks by test perplexity within each seed, 1 for the lowest; ``ranks`` maps a label to one rank a seed.

    ``p_value`` is Friedman's, of the hypothesis that every order of the methods is as likely. Mean ranks that lie
    further apart than ``distance`` differ by Nemenyi's test at 5 % over all pairs.
    """

    seeds: tuple[int, ...]
    ranks: dict[str, tuple[float, ...]]
    p_value: float
    distance: float

    @property
    def means(self) -> dict[str, float]:
        """The mean rank of each label, best first."""
        means = {label: float(np.mean(values)) for label, values in self.ranks.items()}
        return dict(sorted(means.items(), key=lambda item: (item[1], item[0])))


def ranks(records: Iterable[RunRecord]) -> Ranks | None:
    """Rank every method that trains something within each seed that all of them have.

    The seed is the unit: the text is one and the same for all seeds, and blocks of it are no further trials of the
    training. Friedman 1937; Nemenyi's distance is q sqrt(k (k + 1) / (6 S)) for k methods, S seeds and q the
    quantile of Student's range over k, divided by sqrt(2) (Demsar 2006, section 3.2.2).

    Args:
        records: records of one comparison.

    Returns:
        The ranks; None with fewer than three methods or three common seeds.

    Raises:
        RecordError: there is no final record.
    """
    table = {
        label: {run.seed: finite_metric(run, "perplexity", "test") for run in measured(runs)}
        for label, runs in final_groups(records).items()
        if runs[0].train_info.num_trainable_params > 0
    }
    known = {label: found for label, found in table.items() if found}
    seeds = sorted(set.intersection(*(set(found) for found in known.values()))) if known else []
    if len(known) < LEAST_METHODS or len(seeds) < ENOUGH_SEEDS:
        return None
    values = np.asarray([[found[seed] for seed in seeds] for found in known.values()], dtype=np.float64)
    placed, p_value, distance = rank_test(values)
    by_label = {label: tuple(float(rank) for rank in row) for label, row in zip(known, placed, strict=True)}
    return Ranks(tuple(seeds), by_label, p_value, distance)


def rank_test(values: Floats) -> tuple[Floats, float, float]:
    """Ranks within each column, Friedman's p-value, and Nemenyi's distance of mean ranks at 5 %.

    Args:
        values: (k, S) results of k >= 3 methods on S seeds, lower is better.

    Returns:
        The ranks (k, S), from 1, ties shared; the p-value, 1 where all values are tied; the distance.
    """
    # Importing scipy.stats takes longer than reading the records.
    from scipy import stats

    methods, seeds = values.shape
    placed = stats.rankdata(values, axis=0)
    tied = bool((values == values[0]).all())
    p_value = 1.0 if tied else float(stats.friedmanchisquare(*values).pvalue)
    quantile = float(stats.studentized_range.ppf(LEVEL, methods, math.inf)) / math.sqrt(2)
    return placed, p_value, quantile * math.sqrt(methods * (methods + 1) / (6 * seeds))
