"""The parts of a figure drawn by matplotlib: lines, marks, bands, error bars, shapes, annotations, legend entries."""

import math
import re
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from qpeft.errors import ConfigError, require_choice
from qpeft.report.drawing import PALETTE
from qpeft.report.traces import error_lengths, plain_text, values

INK, GRID = "#1c2026", "#d5d9de"
# Plotly's pixels to points, at 100 pixels an inch.
POINTS = 0.72
MARKS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "triangle-left": "<",
    "triangle-right": ">",
    "x": "X",
    "cross": "P",
    "star": "*",
    "hexagon": "h",
    "pentagon": "p",
    "x-thin": "x",
    "cross-thin": "+",
    "line-ns": "|",
    "line-ew": "_",
}
DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (6, 3)),
    "dot": (0, (1.5, 2)),
    "dashdot": (0, (6, 2, 1.5, 2)),
    "longdash": (0, (10, 3)),
    "longdashdot": (0, (10, 2, 1.5, 2)),
}
STEPS = {"linear": "default", "spline": "default", "hv": "steps-post", "vh": "steps-pre", "hvh": "steps-mid"}
# Plotly draws marks beside lines where a trace of fewer points names no mode.
FEW_POINTS = 20


@dataclass(frozen=True)
class Scales:
    """The categories of both axes; an axis without any is one of numbers."""

    x: tuple[str, ...]
    y: tuple[str, ...]

    @classmethod
    def of(cls, figure: go.Figure) -> "Scales":
        """Words in the order they first appear, on an axis that holds words or is said to."""
        found = []
        for name in ("x", "y"):
            held = [value for trace in figure.data for value in values(trace[name]) if value is not None]
            words = figure.layout[f"{name}axis"].type == "category" or any(isinstance(value, str) for value in held)
            found.append(tuple(dict.fromkeys(str(value) for value in held)) if words else ())
        return cls(*found)

    def categories(self, name: str) -> tuple[str, ...]:
        """The words of one axis."""
        return self.x if name == "x" else self.y

    def places(self, name: str, array: object) -> list[float]:
        """Where the entries of an array lie on an axis; what is missing is not a number."""
        words = {word: float(place) for place, word in enumerate(self.categories(name))}
        known = values(array)
        if words:
            return [math.nan if value is None else words[str(value)] for value in known]
        return [math.nan if value is None else float(value) for value in known]


def draw_trace(axes: Any, traces: Any, place: int, scales: Scales) -> None:
    """Draw one scatter trace.

    Raises:
        ConfigError: it asks for a mark, dash, fill or colour that is not known here.
    """
    trace = traces[place]
    xs, ys = scales.places("x", trace.x), scales.places("y", trace.y)
    points = min(len(xs), len(ys))
    xs, ys = xs[:points], ys[:points]
    if trace.visible is False or trace.visible == "legendonly" or not points:
        return
    faint = {"alpha": trace.opacity} if trace.opacity is not None else {}
    _fill(axes, traces, place, (xs, ys), scales)
    if "lines" in _mode(trace):
        style = {"drawstyle": STEPS.get(trace.line.shape or "linear", "default"), **_line(trace.line), **faint}
        axes.plot(xs, ys, **{"color": _own(trace, place), **style}, zorder=2)
    if "markers" in _mode(trace):
        axes.scatter(xs, ys, **_mark(trace, place), **faint, zorder=3)
    if "text" in _mode(trace):
        _texts(axes, trace, xs, ys)
    for name, bar in (("xerr", trace.error_x), ("yerr", trace.error_y)):
        below, above = error_lengths(bar, points)
        if above:
            lengths = {name: [_known(below), _known(above)], "ecolor": _colour(bar.color or _own(trace, place))}
            wide = {"elinewidth": POINTS * (bar.thickness or 2), "capsize": POINTS * (bar.width or 4)}
            axes.errorbar(xs, ys, fmt="none", **lengths, **wide, **faint, zorder=2)


def draw_shape(axes: Any, shape: Any) -> None:
    """Draw a straight line or a rectangle; each coordinate is one of the data or a share of the plot.

    Raises:
        ConfigError: the shape is another.
    """
    from matplotlib.patches import Rectangle

    line = {"color": INK, **_line(shape.line)}
    under = {"zorder": 1 if shape.layer == "below" else 2.5, "transform": _transform(axes, shape.xref, shape.yref)}
    if shape.type == "line":
        axes.plot([shape.x0, shape.x1], [shape.y0, shape.y1], **line, **under)
    elif shape.type == "rect":
        face = _colour(shape.fillcolor or "rgba(0,0,0,0)")
        faint = {"alpha": shape.opacity} if shape.opacity is not None else {}
        sides = {"edgecolor": line["color"], "linewidth": line.get("linewidth", 0.0)}
        width, height = shape.x1 - shape.x0, shape.y1 - shape.y0
        axes.add_patch(Rectangle((shape.x0, shape.y0), width, height, facecolor=face, **sides, **faint, **under))
    else:
        raise ConfigError(f"shapes of a figure file must be lines or rectangles; got {shape.type!r}")


def draw_annotation(axes: Any, note: Any, scales: Scales) -> None:
    """Draw a text, with an arrow where the annotation has one."""
    place = []
    for name, ref, value in (("x", note.xref, note.x), ("y", note.yref, note.y)):
        whole = _whole(ref)
        given = value
        if not whole and scales.categories(name):
            given = scales.places(name, [value])[0]
        elif not whole and (axes.get_xscale() if name == "x" else axes.get_yscale()) == "log":
            # Plotly counts annotations on logarithmic axes in powers of ten.
            given = 10.0**value
        place.append(given)
    arrow = note.showarrow is not False
    shift = (note.xshift or 0) + arrow * (-10 if note.ax is None else note.ax)
    rise = (note.yshift or 0) - arrow * (-30 if note.ay is None else note.ay)
    axes.annotate(
        plain_text(note.text),
        tuple(place),
        xycoords=_transform(axes, note.xref, note.yref),
        xytext=(POINTS * shift, POINTS * rise),
        textcoords="offset points",
        ha=_anchor(note.xanchor, "center"),
        va=_anchor(note.yanchor, "middle").replace("middle", "center"),
        color=_colour(note.font.color or INK),
        fontsize=POINTS * (note.font.size or 12),
        arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.8} if arrow else None,
        parse_math=False,
    )


def handle(traces: Any, place: int) -> Any:
    """The legend's entry of one trace."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    trace = traces[place]
    label = plain_text(trace.name, " ").replace("$", r"\$")
    mode = _mode(trace)
    if trace.fill not in (None, "none") and "markers" not in mode and not trace.line.width:
        return Patch(facecolor=_fill_colour(trace, place), label=label)
    style = {"color": _own(trace, place), **(_line(trace.line) if "lines" in mode else {"linestyle": "none"})}
    if "markers" in mode:
        mark = _mark(trace, place)
        face = mark["facecolors"] if isinstance(mark["facecolors"], str) else _first(mark["facecolors"])
        style |= {"marker": mark["marker"], "markersize": 6.0, "markerfacecolor": face}
        style |= {"markeredgecolor": _first(mark.get("edgecolors", mark["facecolors"]))}
    return Line2D([], [], label=label, **style)


def position(value: Any, axis: Any) -> float:
    """A bound of plotly's axis range; on a logarithmic axis it is a power of ten."""
    return float(10.0 ** float(value)) if axis.type == "log" else float(value)


def _mode(trace: Any) -> str:
    return trace.mode or ("lines+markers" if len(values(trace.x)) < FEW_POINTS else "lines")


def _own(trace: Any, place: int) -> Any:
    """The colour of a trace's line; a mark's where it has none, else one by its place."""
    return _colour(trace.line.color or (_first(trace.marker.color) or PALETTE[place % len(PALETTE)]))


def _line(line: Any) -> dict[str, Any]:
    require_choice("line.dash", line.dash or "solid", DASHES)
    out: dict[str, Any] = {"linestyle": DASHES[line.dash or "solid"]}
    out["linewidth"] = POINTS * (2 if line.width is None else line.width)
    return out | ({"color": _colour(line.color)} if line.color else {})


def _mark(trace: Any, place: int) -> dict[str, Any]:
    marker = trace.marker
    symbol = str(_first(marker.symbol) or "circle")
    kind = symbol.removesuffix("-open")
    require_choice("marker.symbol", kind, MARKS)
    colours = [_colour(item) for item in values(marker.color)] or [_own(trace, place)]
    hollow = symbol.endswith("-open") or MARKS[kind] in "x+|_"
    sizes = [(POINTS * size) ** 2 for size in values(marker.size)] or [(POINTS * 6) ** 2]
    width = POINTS * (marker.line.width if isinstance(marker.line.width, int | float) else 1.5)
    edges = colours if hollow or not marker.line.color else [_colour(_first(marker.line.color))]
    thin = {"linewidths": width if hollow or marker.line.color else 0.0}
    faces = colours if MARKS[kind] in "x+|_" or not hollow else "none"
    # Marks that are strokes alone have no edge, and matplotlib warns of one.
    ends = {} if MARKS[kind] in "x+|_" else {"edgecolors": edges}
    return {"marker": MARKS[kind], "s": sizes, "facecolors": faces, **ends, **thin}


def _fill(axes: Any, traces: Any, place: int, own: tuple[list[float], list[float]], scales: Scales) -> None:
    """The band of a trace: its own outline, or the ground between it and zero or the trace before."""
    trace, (xs, ys) = traces[place], own
    if trace.fill in (None, "none"):
        return
    require_choice("fill", trace.fill, ("toself", "tozeroy", "tonexty"))
    back: tuple[list[float], list[float]] = ([], [])
    if trace.fill == "tozeroy" or (trace.fill == "tonexty" and place == 0):
        back = (xs[::-1], [0.0] * len(xs))
    elif trace.fill == "tonexty":
        before = traces[place - 1]
        back = (scales.places("x", before.x)[::-1], scales.places("y", before.y)[::-1])
    axes.fill([*xs, *back[0]], [*ys, *back[1]], facecolor=_fill_colour(trace, place), linewidth=0, zorder=1.5)


def _fill_colour(trace: Any, place: int) -> Any:
    if trace.fillcolor:
        return _colour(trace.fillcolor)
    from matplotlib.colors import to_rgba

    return to_rgba(_own(trace, place), 0.5)


def _texts(axes: Any, trace: Any, xs: list[float], ys: list[float]) -> None:
    words = values(trace.text)
    texts = words * len(xs) if len(words) == 1 else words
    where = str(_first(trace.textposition) or "middle center")
    rise, shift = {"top": 1, "bottom": -1}.get(where.split()[0], 0), {"left": -1, "right": 1}.get(where.split()[-1], 0)
    sides = {"ha": {-1: "right", 0: "center", 1: "left"}[shift], "va": {-1: "top", 0: "center", 1: "bottom"}[rise]}
    offset = (4 * shift, 4 * rise)
    for text, x, y in zip(texts, xs, ys, strict=False):
        axes.annotate(plain_text(text), (x, y), offset, textcoords="offset points", parse_math=False, **sides)


def _transform(axes: Any, x: str | None, y: str | None) -> Any:
    from matplotlib.transforms import blended_transform_factory

    parts = [axes.transAxes if _whole(ref) else axes.transData for ref in (x, y)]
    return blended_transform_factory(*parts)


def _whole(ref: str | None) -> bool:
    """Whether a coordinate is a share of the plot."""
    return ref == "paper" or str(ref).endswith("domain")


def _colour(given: object) -> Any:
    """A colour for matplotlib from CSS: a name, #rrggbb, rgb(...) or rgba(...)."""
    if not isinstance(given, str):
        raise ConfigError(f"colours of a figure file must be words of CSS, one a point at most; got {given!r}")
    found = re.fullmatch(r"rgba?\(([^)]*)\)", given.replace(" ", ""))
    if not found:
        return given
    parts = [float(part) for part in found[1].split(",")]
    return (*(part / 255 for part in parts[:3]), *parts[3:])


def _first(given: Any) -> Any:
    """The value itself, or the first of several."""
    return given if isinstance(given, str) else next(iter(values(given)), None)


def _known(lengths: list[float]) -> list[float]:
    return [0.0 if math.isnan(length) else length for length in lengths]


def _anchor(asked: str | None, otherwise: str) -> str:
    return otherwise if asked in (None, "auto") else str(asked)
