"""The numbers of a figure read back from its traces: points, error bars, plain texts, and all of it as CSV."""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from html import unescape
from io import StringIO
from typing import Any

import plotly.graph_objects as go

from qpeft.errors import ConfigError
from qpeft.report.drawing import SCALE

SCATTER = ("scatter", "scattergl")


def plain_text(text: object, newline: str = "\n") -> str:
    """The characters a reader sees of plotly's little HTML.

    >>> plain_text("a &lt; b<br><b>c</b>", " ")
    'a < b c'
    """
    broken = re.sub(r"<br\s*/?>", newline, "" if text is None else str(text))
    return unescape(re.sub(r"</?[a-zA-Z][^>]*>", "", broken))


def values(array: object) -> list[Any]:
    """The entries of a trace's array, one by one; numpy's numbers become Python's."""
    if array is None:
        return []
    if not isinstance(array, Iterable) or isinstance(array, str):
        return [array]
    return [item.item() if hasattr(item, "item") else item for item in array]


def error_lengths(bar: Any, points: int) -> tuple[list[float], list[float]]:
    """The lengths of error bars below and above, (points,) each; nothing where there are none.

    Raises:
        ConfigError: the bars are not given as numbers.
    """
    above = values(bar.array)
    if bar.visible is False or not above:
        return [], []
    if bar.type not in (None, "data"):
        raise ConfigError(f"error bars must be given as numbers, type 'data'; got type {bar.type!r}")
    below = above if bar.symmetric or bar.arrayminus is None else values(bar.arrayminus)
    return _filled(below, points), _filled(above, points)


def check_scatter(figure: go.Figure) -> None:
    """Refuse what is more than scatter traces on one pair of axes.

    Raises:
        ConfigError: a trace is of another type, or on other axes.
    """
    for trace in figure.data:
        if trace.type not in SCATTER:
            raise ConfigError(f"figures are written from scatter traces; got one of type {trace.type!r}")
        x, y = trace.xaxis or "x", trace.yaxis or "y"
        if (x, y) != ("x", "y"):
            raise ConfigError(f"figures are written from one pair of axes; trace {trace.name!r} lies on {x}, {y}")


def traces_csv(figure: go.Figure) -> str:
    """Every point of every trace as one line: name of the trace, x, y, lengths of the error bars.

    Columns of error bars are there only where a trace has them; the axes' titles name the columns of x and y.

    Raises:
        ConfigError: the figure has more than scatter traces on one pair of axes.
    """
    check_scatter(figure)
    x, y = _heading(figure.layout.xaxis, "x"), _heading(figure.layout.yaxis, "y")
    fields = ["trace", x, y, f"{x} minus", f"{x} plus", f"{y} minus", f"{y} plus"]
    rows = [row for trace in figure.data for row in _rows(trace)]
    kept = [place for place in range(len(fields)) if place < 3 or any(row[place] != "" for row in rows)]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([fields[place] for place in kept])
    writer.writerows([row[place] for place in kept] for row in rows)
    return text.getvalue()


def _rows(trace: Any) -> list[list[Any]]:
    xs, ys = values(trace.x), values(trace.y)
    points = min(len(xs), len(ys))
    bars = [*error_lengths(trace.error_x, points), *error_lengths(trace.error_y, points)]
    return [
        [plain_text(trace.name, " "), _cell(xs[i]), _cell(ys[i]), *(_cell(bar[i]) if bar else "" for bar in bars)]
        for i in range(points)
    ]


def _cell(value: object) -> object:
    return "" if value is None else plain_text(value, " ") if isinstance(value, str) else value


def _heading(axis: Any, otherwise: str) -> str:
    # What a title says about the scale is not true of the numbers.
    return plain_text(axis.title.text, " ").removesuffix(SCALE) or otherwise


def _filled(lengths: Sequence[Any], points: int) -> list[float]:
    known = [math.nan if length is None else float(length) for length in lengths[:points]]
    return known + [math.nan] * (points - len(known))
