"""Whether a method was still improving when its training ended, decided from the logged training losses alone."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from qpeft.metrics.intervals import smallest_effect
from qpeft.records import RunRecord
from qpeft.report.groups import Floats, final_groups, measured

# Two windows of this share of the curve are compared: the last one with the one before it.
SHARE = 5
# A smaller fall of the loss, as a share of it, is not called an improvement however sure it is.
LEAST_CHANGE = 0.005
ERROR, POWER = 0.05, 0.8


@dataclass(frozen=True, slots=True)
class Ending:
    """How the training loss moved between the fifth before last and the last fifth of a method's curves.

    ``change`` is relative to the earlier fifth, below zero where the loss fell; ``p_value`` is of the one-sided test
    of no fall; a true fall of the share ``found`` would have been called one in 80 % of such runs.
    """

    change: float
    p_value: float
    found: float

    @property
    def improving(self) -> bool:
        """Whether the loss fell by at least 0.5 % and the test calls it a fall at 5 %."""
        return self.p_value < ERROR and self.change <= -LEAST_CHANGE

    @property
    def text(self) -> str:
        """In words, for a cell of a table.

        >>> Ending(-0.021, 0.003, 0.017).text, Ending(0.001, 0.6, 0.02).text
        ('still improving (-2.1 %)', 'no clear change (+0.1 %)')
        """
        words = "still improving" if self.improving else "no clear change"
        return f"{words} ({100 * self.change:+.1f} %)"


def ending(curves: Sequence[Sequence[float]]) -> Ending | None:
    """Compare the last fifth of the curves with the fifth before it.

    Of each run the mean logged loss of the last fifth is taken from that of the fifth before; the falls are averaged
    over the runs. Their standard error comes from the scatter of the logged losses about the means of their own
    fifths, pooled over fifths and runs: a t test with 2 S (n - 1) degrees of freedom for S runs of n points a fifth.
    Logged losses are means over separate steps, so that their noise is taken as independent. A trend inside a
    fifth adds to the scatter, which makes the test say less, not more.

    Of methods with level curves at most 5 % are called improving; tests/report/test_convergence.py simulates it.

    Args:
        curves: the logged losses of each run in order of steps, nats per token.

    Returns:
        The ending; None where there are no curves, fewer than ten points in one, a loss that is not finite or not
        above zero, or no scatter at all.

    >>> ending([[3.0, 2.9] * 5]).improving
    False
    """
    windows = [_windows(curve) for curve in curves]
    known = [pair for pair in windows if pair is not None]
    if not known or len(known) < len(curves):
        return None
    before, last = _mean_of([pair[0] for pair in known]), _mean_of([pair[1] for pair in known])
    squares = sum(float(((part - part.mean()) ** 2).sum()) for pair in known for part in pair)
    freedom = sum(2 * (len(pair[0]) - 1) for pair in known)
    parts = sum(2 / len(pair[0]) for pair in known) / len(known) ** 2
    variance = squares / freedom * parts
    if variance <= 0 or before <= 0:
        return None
    p_value = float(special.stdtr(freedom, -(before - last) / math.sqrt(variance)))
    # One-sided at 5 % is two-sided at 10 %. The estimate has to pass the test's bound and the least change.
    tested = smallest_effect([(variance, freedom)], 2 * ERROR) / before
    found = max(tested, LEAST_CHANGE + float(special.stdtrit(freedom, POWER)) * math.sqrt(variance) / before)
    return Ending(last / before - 1, p_value, found)


def ending_of(runs: Iterable[RunRecord]) -> Ending | None:
    """The ending of one method's runs."""
    return ending([[point.loss for point in run.curve] for run in runs])


def last_rates(records: Iterable[RunRecord]) -> tuple[float, float] | None:
    """The smallest and largest share of its peak that the learning rate had at a run's last logged step."""
    runs = [run for runs in final_groups(records).values() for run in measured(runs) if run.curve]
    peaks = [(run.curve[-1].learning_rate, max(point.learning_rate for point in run.curve)) for run in runs]
    shares = [last / peak for last, peak in peaks if peak > 0]
    return (min(shares), max(shares)) if shares else None


def _windows(curve: Sequence[float]) -> tuple[Floats, Floats] | None:
    losses = np.asarray(curve, dtype=np.float64)
    size = len(losses) // SHARE
    if size < 2 or not np.isfinite(losses[-2 * size :]).all():
        return None
    return losses[-2 * size : -size], losses[-size:]


def _mean_of(windows: Sequence[Floats]) -> float:
    return float(np.mean([window.mean() for window in windows]))
