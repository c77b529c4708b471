"""The figures of studies: scatter traces with the axes of the papers' figures."""

from collections.abc import Callable, Iterable

import plotly.graph_objects as go

from qpeft.records import StudyRecord, StudyRow
from qpeft.report.drawing import INK, SCALE, Look, blank, error_bars, look_of, plain, with_legend

Figures = dict[str, go.Figure]


def lines_of(rows: Iterable[StudyRow], key: str) -> dict[object, list[StudyRow]]:
    """Rows by the value of one column, in order of appearance."""
    found: dict[object, list[StudyRow]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


def add_line(figure: go.Figure, name: str, rows: list[StudyRow], columns: tuple[str, ...], look: Look) -> None:
    """One line with marks.

    Args:
        figure: Where it goes.
        name: Of the line.
        rows: Its points, put in order of x.
        columns: Of x, y and, where there is an interval, its low and high end.
        look: Colour, symbol, dash.
    """
    x, y, *ends = columns
    kept = sorted((row for row in rows if row[y] is not None), key=lambda row: float(row[x] or 0))
    if not kept:
        return
    figure.add_scatter(x=[row[x] for row in kept], y=[row[y] for row in kept], mode="lines+markers", name=plain(name))
    marker = {"symbol": look.symbol, "size": 8, "color": look.colour}
    figure.data[-1].update(marker=marker, line={"color": look.colour, "dash": look.dash, "width": 1.5})
    if ends:
        middle = [float(row[y] or 0) for row in kept]
        above = [max(0.0, float(row[ends[1]] or 0) - value) for row, value in zip(kept, middle, strict=True)]
        below = [max(0.0, value - float(row[ends[0]] or 0)) for row, value in zip(kept, middle, strict=True)]
        bars = error_bars(0.0, 0.0, 0.0, look) | {"array": above, "arrayminus": below, "thickness": 1, "width": 3}
        figure.data[-1].update(error_y=bars)


def logarithmic(figure: go.Figure, axes: str) -> go.Figure:
    """The same figure with logarithmic axes, told in their titles; axes is ``x``, ``y`` or ``xy``."""
    for name, update in (("x", figure.update_xaxes), ("y", figure.update_yaxes)):
        if name in axes:
            title = figure.layout[f"{name}axis"].title.text
            update(type="log", title_text=title + SCALE, exponentformat="power")
    return figure


def variance_figures(record: StudyRecord) -> Figures:
    """Fig. 10 of arXiv:2410.09846: Var of the gradient against N, one line an L, and against L, one line an N."""
    found: Figures = {}
    rows = [row for row in record.rows if row["layers"] == "all"]
    for loss, group in lines_of(rows, "loss").items():
        for preset, part in lines_of(group, "preset").items():
            name = str(preset or loss)
            ticks = sorted({int(row["depth"] or 0) for row in part})
            against_n, against_l = (
                logarithmic(blank(title, "Var of the angles' gradient", 420), axes)
                for title, axes in (("qubits N", "y"), ("depth L", "xy"))
            )
            against_n.update_xaxes(dtick=1)
            against_l.update_xaxes(tickvals=ticks, ticktext=[str(tick) for tick in ticks])
            columns = ("variance", "variance_low", "variance_high")
            for place, (depth, line) in enumerate(lines_of(part, "depth").items()):
                add_line(against_n, f"L {depth}", line, ("n_qubits", *columns), look_of(place))
            for place, (n_qubits, line) in enumerate(lines_of(part, "n_qubits").items()):
                add_line(against_l, f"N {n_qubits}", line, ("depth", *columns), look_of(place))
            found[f"variance-against-n-{name}"] = with_legend(against_n)
            found[f"variance-against-l-{name}"] = with_legend(against_l)
    return found


def count_figures(record: StudyRecord) -> Figures:
    """Fig. 4a of arXiv:2410.09846: qubits against trainable numbers, one line a family."""
    figure = logarithmic(blank("trainable numbers", "qubits N"), "x")
    figure.update_yaxes(dtick=1)
    generated = [row for row in record.rows if row["n_mlp"] is not None]
    for place, (family, line) in enumerate(lines_of(generated, "family").items()):
        add_line(figure, str(family), line, ("trainable", "n_qubits"), look_of(place))
    return {"qubits-against-numbers": with_legend(figure)}


def step_figures(record: StudyRecord) -> Figures:
    """Time of a step, and its ratio to LoRA's, against n_mlp."""
    time = logarithmic(blank("n_mlp", "milliseconds a step"), "x")
    ratio = logarithmic(blank("n_mlp", "step over LoRA's"), "x")
    generated = [row for row in record.rows if row["n_mlp"] is not None]
    sizes = sorted({int(row["n_mlp"] or 0) for row in generated})
    for figure in (time, ratio):
        figure.update_xaxes(tickvals=sizes, ticktext=[str(size) for size in sizes])
    for row in record.rows:
        if row["n_mlp"] is None and sizes:
            ends: list[StudyRow] = [{**row, "n_mlp": size} for size in sizes]
            add_line(time, "LoRA", ends, ("n_mlp", "step_ms"), Look(INK, "line-ew", "dot"))
    for place, (preset, line) in enumerate(lines_of(generated, "preset").items()):
        look = look_of(place)
        add_line(time, f"QPA, {preset}", line, ("n_mlp", "step_ms", "step_ms_q25", "step_ms_q75"), look)
        add_line(ratio, f"QPA, {preset}", line, ("n_mlp", "ratio", "ratio_q25", "ratio_q75"), look)
    add_line(ratio, "published", generated, ("n_mlp", "published_ratio"), Look(INK, "x", "dash"))
    return {"step-time": with_legend(time), "step-ratio": with_legend(ratio)}


def complexity_figures(record: StudyRecord) -> Figures:
    """Time of a layer against d, forward alone and with backward."""
    found: Figures = {}
    for phase, title in (("forward", "forward"), ("both", "forward and backward")):
        figure = logarithmic(blank("hidden size d", f"{title}, milliseconds"), "xy")
        sizes = sorted({int(row["d"] or 0) for row in record.rows})
        figure.update_xaxes(tickvals=sizes, ticktext=[str(size) for size in sizes])
        for place, (name, line) in enumerate(lines_of(record.rows, "layer").items()):
            columns = ("d", f"{phase}_ms", f"{phase}_ms_q25", f"{phase}_ms_q75")
            add_line(figure, str(name), line, columns, look_of(place))
        found[f"time-against-d-{phase}"] = with_legend(figure)
    return found


def check_figures(record: StudyRecord) -> Figures:
    """Largest difference of each circuit against its angles; exact agreement cannot be drawn and is left out."""
    figure = logarithmic(blank("angles of the circuit", "largest difference to autograd"), "y")
    place = 0
    for reading, rows in lines_of(record.rows, "reading").items():
        for key, name in (("shift_max", "shift"), ("finite_max", "differences"), ("input_finite_max", "by the input")):
            kept = [row for row in rows if row.get(key)]
            if kept:
                look = look_of(place)
                marker = {"symbol": look.symbol, "size": 7, "color": look.colour}
                figure.add_scatter(x=[row["n_angles"] for row in kept], y=[row[key] for row in kept], mode="markers")
                figure.data[-1].update(name=plain(f"{reading}: {name}"), marker=marker)
                place += 1
    return {"gradient-differences": with_legend(figure)}


FIGURES: dict[str, Callable[[StudyRecord], Figures]] = {
    "gradient-check": check_figures,
    "gradient-variance": variance_figures,
    "counts": count_figures,
    "step-time": step_figures,
    "qaa-complexity": complexity_figures,
}
