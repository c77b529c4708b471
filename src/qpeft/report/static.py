"""Figures as files: CSV from a plotly figure's traces; SVG, PNG and PDF drawn by matplotlib, equal bytes each time."""

import os
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from qpeft.errors import import_extra, require_choice
from qpeft.records import write_atomically
from qpeft.records.drafts import draft_prefix, sweep
from qpeft.report.staticmarks import GRID, INK, Scales, draw_annotation, draw_shape, draw_trace, handle, position
from qpeft.report.traces import check_scatter, plain_text, traces_csv, values

FORMATS = ("svg", "png", "pdf", "csv")
WIDTH, HEIGHT = 720, 420
PER_INCH, DOTS_PER_INCH = 100, 200
POINTS = 72 / PER_INCH
LEGEND_LINE = 20
LONG_LABEL = 24
# No date and no version of a program: the same figure gives the same bytes.
METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def save_figure(figure: go.Figure, path: Path) -> Path:
    """Write a plotly figure as one file; the name's ending chooses the format.

    Drawn are scatter traces on one pair of axes: lines, marks, texts, error bars, filled bands, straight lines and
    rectangles across, annotations, linear, logarithmic and category axes, a legend below. One pixel of the layout
    is 1/100 inch.

    Args:
        figure: the figure; ``layout.width`` and ``layout.height`` give its size.
        path: a name that ends in .svg, .png, .pdf or .csv; the file is replaced atomically.

    Returns:
        The path.

    Raises:
        ConfigError: another ending, or a figure with more than the above.
        MissingExtraError: matplotlib is not installed; CSV needs none.
    """
    ending = path.suffix.removeprefix(".").lower()
    require_choice("format of a figure", ending, FORMATS)
    check_scatter(figure)
    if ending == "csv":
        write_atomically(path, traces_csv(figure))
        return path
    drawn = _render(figure, ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, [path.name])
    number, name = tempfile.mkstemp(dir=path.parent, prefix=draft_prefix(path))
    with os.fdopen(number, "wb") as file:
        file.write(drawn)
    Path(name).chmod(0o644)
    Path(name).replace(path)
    return path


def _render(figure: go.Figure, ending: str) -> bytes:
    how = "Install it: pip install 'qpeft[figures]', or write CSV"
    style = import_extra("matplotlib.style", "SVG, PNG and PDF files of figures need matplotlib", how)
    settings = {
        "font.size": POINTS * (figure.layout.font.size or 13),
        "svg.hashsalt": "qpeft",
        "svg.fonttype": "path",
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": GRID,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": GRID,
    }
    # Started from matplotlib's own defaults, whatever a user's settings are.
    with style.context(settings, after_reset=True):
        buffer = BytesIO()
        page = _page(figure)
        page.savefig(buffer, format=ending, dpi=DOTS_PER_INCH, metadata=METADATA[ending])
    return buffer.getvalue()


def _page(figure: go.Figure) -> Any:
    # The class, not pyplot: no window, no global state, a canvas for each format.
    from matplotlib.figure import Figure

    layout, scales = figure.layout, Scales.of(figure)
    handles = _handles(figure)
    columns = 2 if any(len(item.get_label()) > LONG_LABEL for item in handles) else 3
    lines = -(-len(handles) // columns)
    height = (layout.height or HEIGHT) - _phone_legend(figure) + LEGEND_LINE * lines * bool(_phone_legend(figure))
    page = Figure(figsize=((layout.width or WIDTH) / PER_INCH, height / PER_INCH), layout="constrained")
    axes = page.add_subplot()
    for name in ("x", "y"):
        _axis(axes, name, layout[f"{name}axis"], scales)
    for place in range(len(figure.data)):
        draw_trace(axes, figure.data, place, scales)
    for shape in layout.shapes:
        draw_shape(axes, shape)
    for annotation in layout.annotations:
        draw_annotation(axes, annotation, scales)
    _limits(axes, layout, scales)
    if layout.title.text:
        axes.set_title(plain_text(layout.title.text), parse_math=False)
    if handles:
        page.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    return page


def _phone_legend(figure: go.Figure) -> int:
    """Pixels of the layout's height that are there for a legend of one entry a line."""
    meta = figure.layout.meta
    return int(meta.get("legend_height", 0)) if isinstance(meta, dict) else 0


def _handles(figure: go.Figure) -> list[Any]:
    """What the legend shows: by plotly's rule none for a single trace, unless it is asked for."""
    shown = [place for place, trace in enumerate(figure.data) if trace.showlegend is not False and trace.name]
    asked = figure.layout.showlegend or any(trace.showlegend for trace in figure.data)
    if figure.layout.showlegend is False or not (asked or len(figure.data) > 1):
        return []
    return [handle(figure.data, place) for place in shown]


def _axis(axes: Any, name: str, given: Any, scales: Scales) -> None:
    """Scale, title, ticks and grid of one axis."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axes.set_axisbelow(True)
    axis.grid(given.showgrid is not False, linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axis.set_label_text(plain_text(given.title.text), parse_math=False)
    categories = scales.categories(name)
    if categories:
        axis.set_ticks(range(len(categories)), [_shown(text) for text in categories])
        return
    if given.type == "log":
        _logarithmic(axes, axis, name, given)
    elif given.tickformat:
        axis.set_major_formatter(_formatter(given.tickformat))
    if given.tickvals is not None:
        places = values(given.tickvals)
        texts = values(given.ticktext) or [f"{value:g}" for value in places]
        axis.set_ticks(places, [_shown(text) for text in texts])


def _logarithmic(axes: Any, axis: Any, name: str, given: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    between = (1.0, 2.0, 5.0) if given.dtick in ("D2", "D1") else (1.0,)
    axis.set_major_locator(LogLocator(subs=between, numticks=20))
    axis.set_major_formatter(_formatter(given.tickformat))
    axis.set_minor_formatter(NullFormatter())


def _formatter(asked: str | None) -> Any:
    """Numbers as plotly would write them: Python's format words are d3's for ',', '.2f' and '.0%'."""
    from matplotlib.ticker import FuncFormatter

    words = asked if asked and asked != "," else ",.12g"
    return FuncFormatter(lambda value, _: format(value, words))


def _limits(axes: Any, layout: Any, scales: Scales) -> None:
    for name, change in (("x", axes.set_xlim), ("y", axes.set_ylim)):
        given, categories = layout[f"{name}axis"], scales.categories(name)
        if given.range is not None:
            change(*(position(value, given) for value in given.range))
        elif categories:
            change(-0.5, len(categories) - 0.5)
        if given.autorange == "reversed":
            change(*reversed(axes.get_xlim() if name == "x" else axes.get_ylim()))


def _shown(text: object) -> str:
    """Text for matplotlib, to which a dollar would begin a formula."""
    return plain_text(text).replace("$", r"\$")
