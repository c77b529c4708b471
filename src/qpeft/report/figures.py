"""The figures of the report, as plotly figures; colours keep 3:1 contrast on light and on dark paper."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import plotly.graph_objects as go

from qpeft.records import RunRecord
from qpeft.report.drawing import (
    INK,
    SCALE,
    Look,
    blank,
    error_bars,
    lined,
    look_of,
    marked,
    plain,
    tinted,
    with_legend,
    wrapped,
)
from qpeft.report.groups import Groups, final_groups, finite_metric, measured, tune_groups
from qpeft.report.ranks import Ranks
from qpeft.report.summary import ANSWERS, Row, measured_answers
from qpeft.report.verdict import Difference

# Ratio of largest to smallest value above which an axis is logarithmic.
LOG_RATIO = 8.0
MOST_TICKS = 8


def loss_curves(records: Iterable[RunRecord], style: Mapping[str, Look]) -> go.Figure | None:
    """Training loss over steps: the mean over seeds, and a band from the lowest to the highest seed."""
    figure = blank("optimizer step", "training loss, nats per token")
    for label, runs in final_groups(records).items():
        curves = [{p.step: p.loss for p in run.curve} for run in measured(runs) if run.curve]
        steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
        if not steps:
            continue
        values = [[curve[step] for curve in curves] for step in steps]
        look = style[label]
        if len(curves) > 1:
            figure.add_scatter(
                x=[*steps, *reversed(steps)],
                y=[*(max(v) for v in values), *(min(v) for v in reversed(values))],
                fill="toself",
                fillcolor=tinted(look.colour),
                line={"width": 0},
                name=f"{plain(label)}, lowest to highest seed",
                hoverinfo="skip",
                legendgroup=label,
                showlegend=False,
            )
        line = {"color": look.colour, "dash": look.dash, "width": 2}
        figure.add_scatter(
            x=steps, y=[fmean(v) for v in values], mode="lines", name=plain(label), line=line, legendgroup=label
        )
    return with_legend(figure) if figure.data else None


def perplexity_bars(rows: Sequence[Row], style: Mapping[str, Look]) -> go.Figure | None:
    """Test perplexity with its interval; the small open marks are the single seeds."""
    shown = [row for row in reversed(rows) if row.perplexity is not None]
    figure = lined("test perplexity", len(shown))
    for row in shown:
        bars = error_bars(row.perplexity, row.low, row.high, style[row.label])
        marked(figure, row.label, row.perplexity, row.seed_perplexities, style[row.label])
        figure.data[-1].update(error_x=bars)
    return figure if shown else None


def perplexity_against_size(rows: Sequence[Row], style: Mapping[str, Look]) -> go.Figure | None:
    """Test perplexity against trainable numbers; the stepped line joins methods that none beats in both."""
    return _against({row.label: row.trainable for row in rows}, rows, style, "trainable numbers")


def perplexity_against_time(rows: Sequence[Row], style: Mapping[str, Look]) -> go.Figure | None:
    """Test perplexity against seconds of training; what trains nothing takes none."""
    took = {row.label: row.train_seconds if row.trainable and row.train_seconds else 0.0 for row in rows}
    return _against(took, rows, style, "seconds of training")


def _against(cost: Mapping[str, float], rows: Sequence[Row], style: Mapping[str, Look], x: str) -> go.Figure | None:
    """Test perplexity against a cost: a mark each, a line across for what costs nothing, and the Pareto front."""
    shown = [row for row in rows if row.perplexity is not None]
    costs = [cost[row.label] for row in shown if cost[row.label] > 0]
    wide = bool(costs) and max(costs) > LOG_RATIO * min(costs)
    figure = blank(x + SCALE * wide, "test perplexity")
    if wide:
        figure.update_xaxes(**_logarithmic(costs))
    front = _front([row for row in shown if cost[row.label] > 0], cost)
    if len(front) > 1:
        line = {"shape": "hv", "color": INK, "width": 1}
        places = [cost[row.label] for row in front]
        figure.add_scatter(x=places, y=[row.perplexity for row in front], mode="lines", line=line)
        figure.data[-1].update(name="not beaten in both", hoverinfo="skip")
    for row in shown:
        look = style[row.label]
        if cost[row.label] <= 0:
            figure.add_hline(y=row.perplexity, line={"color": look.colour, "dash": "dot"})
            figure.add_annotation(
                text=f"{plain(row.label)} (trains nothing)", x=0, xref="x domain", y=row.perplexity, showarrow=False
            )
            figure.layout.annotations[-1].update(xanchor="left", yanchor="bottom")
            continue
        marker = {"symbol": look.symbol, "size": 11, "color": look.colour}
        figure.add_scatter(x=[cost[row.label]], y=[row.perplexity], mode="markers", name=plain(row.label))
        figure.data[-1].update(marker=marker, error_y=error_bars(row.perplexity, row.low, row.high, look))
    return with_legend(figure) if len(shown) > 1 else None


def answer_scores(rows: Sequence[Row]) -> go.Figure | None:
    """Scores of written answers by method, one mark a metric, with intervals over seeds."""
    shown = [row for row in reversed(rows) if row.answers]
    figure = lined("score, 0 to 100", len(shown))
    # One look a metric, the same whichever of them were measured.
    places = {name: place for place, name in enumerate(ANSWERS)}
    for name in measured_answers(shown):
        look = look_of(places[name])
        means = {row.label: row.answers[name] for row in shown if name in row.answers}
        halves = [mean.half or 0.0 for mean in means.values()]
        figure.add_scatter(
            x=[mean.value for mean in means.values()],
            y=[wrapped(label) for label in means],
            mode="markers",
            name=ANSWERS[name],
            marker={"symbol": look.symbol, "size": 10, "color": look.colour},
            error_x={"type": "data", "array": halves, "color": look.colour, "thickness": 2, "width": 5},
        )
    return with_legend(figure) if shown else None


def mean_ranks(found: Ranks, style: Mapping[str, Look]) -> go.Figure:
    """Mean ranks over seeds; bars reach half of Nemenyi's distance, so that bars that do not touch differ."""
    means = found.means
    figure = lined("rank of the test perplexity, 1 is best", len(means))
    for label, mean in reversed(means.items()):
        marked(figure, label, mean, found.ranks[label], style[label])
        half = found.distance / 2
        figure.data[-1].update(error_x=error_bars(mean, mean - half, mean + half, style[label]))
    return figure


def tuning(records: Iterable[RunRecord], style: Mapping[str, Look]) -> go.Figure | None:
    """Learning rate against validation perplexity: every tuning run that has one; rings mark the choice."""
    kept = list(records)
    groups: Groups = tune_groups(kept)
    chosen = {label: runs[0].spec.train.learning_rate for label, runs in final_groups(kept).items()}
    figure = blank("learning rate" + SCALE, "validation perplexity")
    rates = sorted({run.spec.train.learning_rate for runs in groups.values() for run in runs})
    ticks = {"tickvals": rates, "ticktext": [f"{rate:g}" for rate in rates]} if len(rates) <= MOST_TICKS else {}
    figure.update_xaxes(type="log", **ticks)
    seen: list[float] = []
    for label, runs in groups.items():
        points = [(r.spec.train.learning_rate, v) for r in runs if (v := finite_metric(r, "perplexity", "valid"))]
        if not points:
            continue
        seen += [value for _, value in points]
        look = style[label]
        marker = {"symbol": look.symbol, "size": 9, "color": look.colour}
        figure.add_scatter(
            x=[rate for rate, _ in points], y=[value for _, value in points], mode="lines+markers", name=plain(label)
        )
        figure.data[-1].update(marker=marker, line={"color": look.colour, "dash": look.dash, "width": 1.5})
        rings = [value for rate, value in points if rate == chosen.get(label)]
        ring = {"symbol": "circle-open", "size": 19, "color": look.colour, "line": {"width": 2}}
        figure.add_scatter(x=[chosen.get(label)] * len(rings), y=rings, mode="markers", marker=ring, hoverinfo="skip")
        figure.data[-1].update(showlegend=False, name=f"{plain(label)}, chosen")
    if seen and max(seen) > LOG_RATIO * min(seen):
        figure.update_yaxes(**_logarithmic(seen))
    return with_legend(figure) if seen else None


def difference_bars(items: Sequence[tuple[str, Difference]], style: Mapping[str, Look]) -> go.Figure | None:
    """Differences in nats per token with their intervals, around a line at zero."""
    shown = [(name, d) for name, d in reversed(items) if d.estimate is not None]
    figure = lined("difference, nats per token", len(shown))
    for name, d in shown:
        look = style[d.baseline]
        marker = {"symbol": look.symbol, "size": 11, "color": look.colour}
        bars = error_bars(d.estimate, d.low, d.high, look)
        figure.add_scatter(x=[d.estimate], y=[wrapped(name)], mode="markers", marker=marker, error_x=bars)
        figure.data[-1].update(name=plain(name))
    figure.add_vline(x=0, line={"color": INK, "width": 1.5})
    return figure if shown else None


def _logarithmic(values: Sequence[float]) -> dict[str, object]:
    """A logarithmic axis with ticks at powers of ten, and at 2 and 5 between few of them."""
    return {"type": "log", "dtick": 1 if max(values) > 30 * min(values) else "D2", "tickformat": ","}


def _front(rows: Iterable[Row], cost: Mapping[str, float]) -> list[Row]:
    """Rows with a lower perplexity than every row of at most the same cost."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (cost[row.label], row.perplexity or 0.0)):
        if row.perplexity is not None and (not front or row.perplexity < (front[-1].perplexity or 0.0)):
            front.append(row)
    return front
