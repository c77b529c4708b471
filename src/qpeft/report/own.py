"""What plug-ins add to a report: columns for their metrics, and figures of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from qpeft.metrics.own import OWN_METRICS
from qpeft.records import RunRecord
from qpeft.registry import Registry
from qpeft.report.format import MISSING
from qpeft.report.groups import final_groups, finite_metric, measured
from qpeft.report.means import Mean, mean_over_seeds
from qpeft.report.tables import Table


@dataclass(frozen=True)
class OwnFigure:
    """A figure of a plug-in: a short name for files, a title, what it shows in words, and how it is drawn.

    ``draw`` gets the records of a comparison and returns a figure, or None where there is nothing to be shown.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Sequence[RunRecord]], go.Figure | None]


OWN_FIGURES: Registry[OwnFigure] = Registry("report figure")


def register_report_figure(figure: OwnFigure) -> None:
    """Add a figure to every report page and to ``qpeft report --figures``, after qpeft's own.

    Raises:
        ConfigError: The name is taken by another figure, or is no word.
    """
    OWN_FIGURES.register(figure.name, figure)


def own_table(records: Sequence[RunRecord]) -> Table | None:
    """Metrics of plug-ins on the test split, means over seeds; None where no run asked for any.

    A metric whose plug-in is not installed here is shown by its name alone.
    """
    groups = final_groups(records)
    names = list(dict.fromkeys(name for runs in groups.values() for run in runs for name in run.spec.eval.metrics))
    if not names:
        return None
    headings = [OWN_METRICS[name].heading if name in OWN_METRICS else name for name in names]
    rows = [[label, *(_mean(measured(runs), name) for name in names)] for label, runs in groups.items()]
    return Table(
        "Metrics of plug-ins on the test split; ± is the 95 % t interval over seeds alone", ("Method", *headings), rows
    )


def _mean(runs: Sequence[RunRecord], name: str) -> str:
    values = [value for run in runs if (value := finite_metric(run, name, "test")) is not None]
    found: Mean | None = mean_over_seeds(values)
    return MISSING if found is None else found.shown(4)
