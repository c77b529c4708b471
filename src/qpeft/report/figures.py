"""The figures of the report, as plotly figures; colours keep 3:1 contrast on light and on dark paper."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean
from textwrap import wrap

import plotly.graph_objects as go

from qpeft.records import RunRecord
from qpeft.report.groups import Groups, final_groups, finite_metric, measured, tune_groups
from qpeft.report.summary import Row
from qpeft.report.verdict import Difference

# Okabe and Ito's colour-blind-safe hues, the light ones darkened until they also read on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#c06a99", "#7f7f7f", "#a07a00", "#8464c8", "#3a92c5")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
INK, LINE = "#7a7f87", "rgba(128,132,140,0.35)"
# Ratio of largest to smallest value above which an axis is logarithmic.
LOG_RATIO = 8.0
MOST_TICKS = 8
# A label beside an axis is broken into lines of so many characters, or a phone has no room for the plot.
LABEL_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Look:
    """How one method is drawn in every figure: never told apart by colour alone."""

    colour: str
    symbol: str
    dash: str


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """One look a label; the first 56 labels get different pairs of colour and symbol.

    >>> looks(["lora", "qpa"])["qpa"]
    Look(colour='#d55e00', symbol='square', dash='dash')
    """
    return {
        label: Look(PALETTE[i % len(PALETTE)], SYMBOLS[i % len(SYMBOLS)], DASHES[i % len(DASHES)])
        for i, label in enumerate(sorted(set(labels)))
    }


def loss_curves(records: Iterable[RunRecord], style: Mapping[str, Look]) -> go.Figure | None:
    """Training loss over steps: the mean over seeds, and a band from the lowest to the highest seed."""
    figure = _figure("optimizer step", "training loss, nats per token")
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
                fillcolor=_tinted(look.colour),
                line={"width": 0},
                hoverinfo="skip",
                legendgroup=label,
                showlegend=False,
            )
        line = {"color": look.colour, "dash": look.dash, "width": 2}
        figure.add_scatter(
            x=steps, y=[fmean(v) for v in values], mode="lines", name=_plain(label), line=line, legendgroup=label
        )
    return _with_legend(figure) if figure.data else None


def perplexity_bars(rows: Sequence[Row], style: Mapping[str, Look]) -> go.Figure | None:
    """Test perplexity with its interval; the small open marks are the single seeds."""
    shown = [row for row in reversed(rows) if row.perplexity is not None]
    figure = _bar_figure("test perplexity", len(shown))
    for row in shown:
        look, name = style[row.label], _wrapped(row.label)
        seeds = {"symbol": f"{look.symbol}-open", "size": 7, "color": look.colour}
        figure.add_scatter(
            x=row.seed_perplexities, y=[name] * len(row.seed_perplexities), mode="markers", marker=seeds, hoverinfo="x"
        )
        marker = {"symbol": look.symbol, "size": 11, "color": look.colour}
        figure.add_scatter(x=[row.perplexity], y=[name], mode="markers", marker=marker, error_x=_bars(row, look))
    return figure if shown else None


def perplexity_against_size(rows: Sequence[Row], style: Mapping[str, Look]) -> go.Figure | None:
    """Test perplexity against trainable numbers; the stepped line joins methods that none beats in both."""
    shown = [row for row in rows if row.perplexity is not None]
    figure = _figure("trainable numbers (logarithmic)", "test perplexity")
    figure.update_xaxes(type="log", dtick=1, tickformat=",")
    front = _front([row for row in shown if row.trainable > 0])
    if len(front) > 1:
        line = {"shape": "hv", "color": INK, "width": 1}
        figure.add_scatter(x=[r.trainable for r in front], y=[r.perplexity for r in front], mode="lines", line=line)
        figure.data[-1].update(name="not beaten in both", hoverinfo="skip")
    for row in shown:
        look = style[row.label]
        if row.trainable <= 0:
            figure.add_hline(y=row.perplexity, line={"color": look.colour, "dash": "dot"})
            figure.add_annotation(
                text=f"{_plain(row.label)} (trains nothing)", x=0, xref="x domain", y=row.perplexity, showarrow=False
            )
            figure.layout.annotations[-1].update(xanchor="left", yanchor="bottom")
            continue
        marker = {"symbol": look.symbol, "size": 11, "color": look.colour}
        figure.add_scatter(
            x=[row.trainable], y=[row.perplexity], mode="markers", name=_plain(row.label), marker=marker
        )
        figure.data[-1].update(error_y=_bars(row, look))
    return _with_legend(figure) if len(shown) > 1 else None


def tuning(records: Iterable[RunRecord], style: Mapping[str, Look]) -> go.Figure | None:
    """Learning rate against validation perplexity: every tuning run that has one; rings mark the choice."""
    kept = list(records)
    groups: Groups = tune_groups(kept)
    chosen = {label: runs[0].spec.train.learning_rate for label, runs in final_groups(kept).items()}
    figure = _figure("learning rate (logarithmic)", "validation perplexity")
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
            x=[rate for rate, _ in points], y=[value for _, value in points], mode="lines+markers", name=_plain(label)
        )
        figure.data[-1].update(marker=marker, line={"color": look.colour, "dash": look.dash, "width": 1.5})
        rings = [value for rate, value in points if rate == chosen.get(label)]
        ring = {"symbol": "circle-open", "size": 19, "color": look.colour, "line": {"width": 2}}
        figure.add_scatter(x=[chosen.get(label)] * len(rings), y=rings, mode="markers", marker=ring, hoverinfo="skip")
        figure.data[-1].update(showlegend=False)
    if seen and max(seen) > LOG_RATIO * min(seen):
        figure.update_yaxes(type="log")
    return _with_legend(figure) if seen else None


def difference_bars(items: Sequence[tuple[str, Difference]], style: Mapping[str, Look]) -> go.Figure | None:
    """Differences in nats per token with their intervals, around a line at zero."""
    shown = [(name, d) for name, d in reversed(items) if d.estimate is not None]
    figure = _bar_figure("difference, nats per token", len(shown))
    for name, d in shown:
        look = style[d.baseline]
        marker = {"symbol": look.symbol, "size": 11, "color": look.colour}
        bars = _error(d.estimate, d.low, d.high, look)
        figure.add_scatter(x=[d.estimate], y=[_wrapped(name)], mode="markers", marker=marker, error_x=bars)
    figure.add_vline(x=0, line={"color": INK, "width": 1.5})
    return figure if shown else None


def _figure(x: str, y: str, height: int = 380) -> go.Figure:
    clear = "rgba(0,0,0,0)"
    figure = go.Figure()
    figure.update_layout(
        template="none",
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        margin={"l": 60, "r": 16, "t": 16, "b": 48},
        height=height,
        dragmode=False,  # so that a finger on a chart scrolls the page
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "bgcolor": clear},
        hoverlabel={"namelength": -1},
    )
    axis = {"gridcolor": LINE, "linecolor": LINE, "zeroline": False, "automargin": True}
    figure.update_xaxes(title={"text": x, "standoff": 12, "font": {"size": 13}}, **axis)
    figure.update_yaxes(title={"text": y, "standoff": 8, "font": {"size": 13}}, **axis)
    return figure


def _bar_figure(x: str, bars: int) -> go.Figure:
    """A figure with one named line for each method, tall enough for all of them."""
    figure = _figure(x, "", height=110 + 42 * bars)
    figure.update_layout(showlegend=False)
    figure.update_yaxes(ticklabelstandoff=8)
    return figure


def _with_legend(figure: go.Figure) -> go.Figure:
    """The same figure, taller by its legend: on a phone each entry has a line of its own."""
    entries = sum(trace.showlegend is not False for trace in figure.data)
    return figure.update_layout(height=figure.layout.height + 22 * entries, showlegend=True)


def _wrapped(label: str) -> str:
    return "<br>".join(_plain(line) for line in wrap(label, LABEL_WIDTH))


def _plain(label: str) -> str:
    """Plotly reads a little HTML in its texts; a label is never meant as HTML."""
    return escape(label, quote=False)


def _tinted(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def _bars(row: Row, look: Look) -> dict[str, object]:
    return _error(row.perplexity, row.low, row.high, look)


def _error(value: float | None, low: float | None, high: float | None, look: Look) -> dict[str, object]:
    """Error bars; an interval need not hold its estimate, and a bar has no negative length."""
    if value is None or low is None or high is None:
        return {"visible": False}
    lengths = {"array": [max(0.0, high - value)], "arrayminus": [max(0.0, value - low)]}
    return {"type": "data", **lengths, "color": look.colour, "thickness": 2, "width": 6}


def _front(rows: Iterable[Row]) -> list[Row]:
    """Rows with a lower perplexity than every row of at most as many trainable numbers."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.trainable, row.perplexity or 0.0)):
        if row.perplexity is not None and (not front or row.perplexity < (front[-1].perplexity or 0.0)):
            front.append(row)
    return front
