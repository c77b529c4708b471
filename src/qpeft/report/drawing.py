"""How figures look: one look a method, axes, legends and error bars, as plotly parts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

import plotly.graph_objects as go

# Okabe and Ito's colour-blind-safe hues, the light ones darkened until they also read on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#c06a99", "#7f7f7f", "#a07a00", "#8464c8", "#3a92c5")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
INK, LINE = "#7a7f87", "rgba(128,132,140,0.35)"
# What the title of a logarithmic axis ends in.
SCALE = " (logarithmic)"
# A label beside an axis is broken into lines of so many characters, or a phone has no room for the plot.
LABEL_WIDTH = 20
LEGEND_ENTRY = 22


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
    return {label: look_of(place) for place, label in enumerate(sorted(set(labels)))}


def look_of(place: int) -> Look:
    """The look with a number, from 0."""
    return Look(PALETTE[place % len(PALETTE)], SYMBOLS[place % len(SYMBOLS)], DASHES[place % len(DASHES)])


def blank(x: str, y: str, height: int = 380) -> go.Figure:
    """An empty figure with two named axes, on clear paper."""
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


def lined(x: str, bars: int) -> go.Figure:
    """A figure with one named line for each method, tall enough for all of them."""
    figure = blank(x, "", height=110 + 42 * bars)
    figure.update_layout(showlegend=False)
    # A method may be called 8.
    figure.update_yaxes(ticklabelstandoff=8, type="category")
    return figure


def marked(figure: go.Figure, label: str, value: float | None, seeds: Sequence[float], look: Look) -> None:
    """Add one line's marks: small open ones for the single seeds, and last a full one for the value."""
    name = wrapped(label)
    small = {"symbol": f"{look.symbol}-open", "size": 7, "color": look.colour}
    figure.add_scatter(x=list(seeds), y=[name] * len(seeds), mode="markers", marker=small, hoverinfo="x")
    figure.data[-1].update(name=f"{plain(label)}, single seeds")
    full = {"symbol": look.symbol, "size": 11, "color": look.colour}
    figure.add_scatter(x=[value], y=[name], mode="markers", marker=full, name=plain(label))


def with_legend(figure: go.Figure) -> go.Figure:
    """The same figure, taller by its legend: on a phone each entry has a line of its own."""
    entries = sum(trace.showlegend is not False for trace in figure.data)
    # The file of a figure has its legend in columns, and takes this height off again.
    taller = LEGEND_ENTRY * entries
    return figure.update_layout(height=figure.layout.height + taller, showlegend=True, meta={"legend_height": taller})


def wrapped(label: str) -> str:
    """A label in lines short enough to stand beside an axis on a phone."""
    return "<br>".join(plain(line) for line in wrap(label, LABEL_WIDTH))


def plain(label: str) -> str:
    """Plotly reads a little HTML in its texts; a label is never meant as HTML."""
    return escape(label, quote=False)


def tinted(colour: str) -> str:
    """A colour thin enough to lie over others.

    >>> tinted("#0072b2")
    'rgba(0,114,178,0.16)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def error_bars(value: float | None, low: float | None, high: float | None, look: Look) -> dict[str, object]:
    """Error bars; an interval need not hold its estimate, and a bar has no negative length."""
    if value is None or low is None or high is None:
        return {"visible": False}
    lengths = {"array": [max(0.0, high - value)], "arrayminus": [max(0.0, value - low)]}
    return {"type": "data", **lengths, "color": look.colour, "thickness": 2, "width": 6}
