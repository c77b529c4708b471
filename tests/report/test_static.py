"""Figures as files: what matplotlib draws is what plotly holds, bytes are equal each time, faults are told."""

import csv
import math
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import plotly.graph_objects as go
import pytest

from qpeft.errors import ConfigError
from qpeft.records import RunRecord
from qpeft.report import circuit_verdicts, save_figure, static, summarise, write_figures
from qpeft.report.gallery import gallery
from qpeft.report.traces import traces_csv

Make = Callable[..., RunRecord]
pytest.importorskip("matplotlib", reason="needs qpeft[figures]")
MAGIC = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


@pytest.fixture
def figure() -> go.Figure:
    """Lines, a band, marks with error bars, a line across and a note, on a logarithmic axis."""
    out = go.Figure()
    out.add_scatter(x=[1, 10, 100, 100, 10, 1], y=[3, 4, 5, 4, 3, 2], fill="toself", fillcolor="rgba(0,114,178,0.2)")
    out.data[-1].update(line={"width": 0}, showlegend=False, mode="lines", name="band")
    line = {"color": "#0072b2", "dash": "dot", "shape": "hv"}
    out.add_scatter(x=[1, 10, 100], y=[2.5, 3.5, 4.5], mode="lines", name="cost in $ &lt; 5$", line=line)
    bars = {"type": "data", "array": [0.5, 1.0], "arrayminus": [0.25, 0.0]}
    out.add_scatter(x=[10, 100], y=[1.0, 2.0], mode="markers", name="marks", error_y=bars)
    out.data[-1].update(marker={"symbol": "diamond-open", "color": "#d55e00", "size": 10})
    out.add_hline(y=4.2, line={"color": "#7f7f7f", "dash": "dash"})
    out.add_vrect(x0=2, x1=5, fillcolor="#009e73", opacity=0.1, line_width=0)
    out.add_annotation(text="note", x=1, y=4.2, showarrow=False)
    out.update_xaxes(type="log", title_text="size (logarithmic)").update_yaxes(title_text="loss<br>nats")
    return out


@pytest.fixture
def drawn(figure: go.Figure) -> Any:
    return static._page(figure).axes[0]


def test_lines_marks_bands_and_shapes_lie_where_the_figure_has_them(drawn: Any) -> None:
    line = next(item for item in drawn.lines if len(item.get_xdata()) == 3)
    assert list(line.get_xdata()) == [1, 10, 100]
    assert list(line.get_ydata()) == [2.5, 3.5, 4.5]
    assert line.get_drawstyle() == "steps-post"
    assert line.get_color() == "#0072b2"
    marks = next(item for item in drawn.collections if len(item.get_offsets()) == 2)
    assert marks.get_offsets().tolist() == [[10, 1], [100, 2]]
    assert marks.get_sizes().tolist() == pytest.approx([7.2**2])
    band, area = drawn.patches
    assert band.get_xy()[:6].tolist() == [[1, 3], [10, 4], [100, 5], [100, 4], [10, 3], [1, 2]]
    assert band.get_facecolor() == pytest.approx((0, 114 / 255, 178 / 255, 0.2))
    assert (area.get_x(), area.get_width()) == (2, 3)
    across = next(item for item in drawn.lines if list(item.get_ydata()) == [4.2, 4.2])
    assert list(across.get_xdata()) == [0, 1]
    assert drawn.get_xscale() == "log"


def test_error_bars_have_their_two_lengths(drawn: Any) -> None:
    segments = next(item.get_segments() for item in drawn.collections if hasattr(item, "get_segments"))
    assert [sorted(end[1] for end in segment) for segment in segments] == [[0.75, 1.5], [2.0, 3.0]]


def test_notes_on_a_logarithmic_axis_are_powers_of_ten(drawn: Any) -> None:
    note = next(item for item in drawn.texts if item.get_text() == "note")
    assert note.xy == (10.0, 4.2)


def test_legend_has_the_shown_names_and_no_formulas(figure: go.Figure) -> None:
    (legend,) = static._page(figure).legends
    assert [text.get_text() for text in legend.get_texts()] == [r"cost in \$ < 5\$", "marks"]
    assert static._page(figure).axes[0].get_ylabel() == "loss\nnats"


def test_categories_keep_their_order_even_where_they_are_numbers() -> None:
    figure = go.Figure().add_scatter(x=[1.0, 2.0], y=["8", "16"], mode="markers").update_yaxes(type="category")
    axes = static._page(figure).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["8", "16"]
    assert axes.get_ylim() == (-0.5, 1.5)


def test_own_figures_of_methods_called_by_numbers_have_categories(make: Make) -> None:
    rows = [make(label, level=level) for label, level in (("8", 2.5), ("16", 2.6))]
    for drawing in gallery(rows, summarise(rows), []):
        if drawing.name == "perplexity":
            assert drawing.figure.layout.yaxis.type == "category"


@pytest.mark.parametrize("ending", ["svg", "png", "pdf", "csv"])
def test_the_same_figure_gives_the_same_bytes(figure: go.Figure, tmp_path: Path, ending: str) -> None:
    first = save_figure(figure, tmp_path / f"a.{ending}").read_bytes()
    assert first == save_figure(go.Figure(figure), tmp_path / "b" / f"b.{ending}").read_bytes()
    assert first.startswith(MAGIC.get(ending, b"trace,"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{ending}", "b"]


def test_svg_is_well_formed_and_of_the_asked_size(figure: go.Figure, tmp_path: Path) -> None:
    figure.update_layout(width=500, height=300)
    root = ElementTree.parse(save_figure(figure, tmp_path / "a.svg")).getroot()
    assert (root.get("width"), root.get("height")) == ("360pt", "216pt")


def test_csv_holds_every_point_and_its_bars(figure: go.Figure) -> None:
    rows = list(csv.DictReader(StringIO(traces_csv(figure))))
    assert list(rows[0]) == ["trace", "size", "loss nats", "loss nats minus", "loss nats plus"]
    assert len(rows) == 6 + 3 + 2
    assert rows[6]["trace"] == "cost in $ < 5$"
    assert list(rows[-2].values()) == ["marks", "10", "1.0", "0.25", "0.5"]


def test_gaps_and_filled_ground_are_drawn(tmp_path: Path) -> None:
    figure = go.Figure().add_scatter(x=[0, 1, 2], y=[1.0, None, 2.0], mode="lines+text", text=["a", "b", "$c"])
    figure.add_scatter(x=[0, 1, 2], y=[2, 3, 4], fill="tonexty").add_scatter(x=[0, 2], y=[1, 1], fill="tozeroy")
    axes = static._page(figure).axes[0]
    assert math.isnan(axes.lines[0].get_ydata()[1])
    assert [len(patch.get_xy()) for patch in axes.patches] == [7, 5]
    assert traces_csv(figure).splitlines()[2] == ",1,"
    assert save_figure(figure, tmp_path / "a.png").stat().st_size > 1000


def test_faults_say_what_is_possible(figure: go.Figure, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"format of a figure must be one of svg, png, pdf, csv; got 'svgz'"):
        save_figure(figure, tmp_path / "a.svgz")
    with pytest.raises(ConfigError, match="from scatter traces; got one of type 'heatmap'"):
        save_figure(go.Figure(go.Heatmap(z=[[1]])), tmp_path / "a.csv")
    with pytest.raises(ConfigError, match="one pair of axes; trace 'b' lies on x2, y"):
        save_figure(go.Figure(go.Scatter(x=[1], y=[1], xaxis="x2", name="b")), tmp_path / "a.svg")
    with pytest.raises(ConfigError, match=r"marker\.symbol must be one of circle"):
        save_figure(go.Figure(go.Scatter(x=[1], y=[1], mode="markers", marker_symbol="bowtie")), tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())


def test_every_figure_of_a_comparison_becomes_a_file(comparison: list[RunRecord], tmp_path: Path) -> None:
    files = write_figures(comparison, tmp_path, ("svg", "csv"))
    names = [drawing.name for drawing in gallery(comparison, summarise(comparison), circuit_verdicts(comparison))]
    assert [path.name for path in files] == [f"{name}.{ending}" for name in names for ending in ("svg", "csv")]
    assert all(path.stat().st_size > 50 for path in files)
    rows = list(csv.DictReader(StringIO((tmp_path / "perplexity.csv").read_text("utf-8"))))
    expected = {row.label: row.perplexity for row in summarise(comparison)}
    assert {row["trace"]: float(row["test perplexity"]) for row in rows if "seeds" not in row["trace"]} == expected
