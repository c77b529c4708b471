"""Scores of answers: means over seeds, Student's interval as scipy has it, tables only where there are scores."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats

from qpeft.records import Metric, RunRecord
from qpeft.report import markdown_table, print_table, summarise, write_page
from qpeft.report.figures import answer_scores
from qpeft.report.means import mean_over_seeds
from qpeft.report.tables import answers

Make = Callable[..., RunRecord]
SCORES = {"bleu": (10.0, 12.0, 17.0), "rougeL": (30.5, 31.0, 30.0)}


@pytest.fixture
def scored(make: Make) -> list[RunRecord]:
    """Three seeds with BLEU and ROUGE-L, one method with BLEU from one seed, one without any."""
    runs = []
    for seed in range(3):
        run = make("a", seed=seed)
        found = [Metric(name=name, split="test", value=SCORES[name][seed], signature=name) for name in SCORES]
        runs.append(run.model_copy(update={"metrics": [*run.metrics, *found]}))
    one = make("b", level=2.6)
    runs.append(
        one.model_copy(update={"metrics": [*one.metrics, Metric(name="bleu", split="test", value=5.0, signature="")]})
    )
    return [*runs, make("c", level=2.7)]


@pytest.mark.parametrize("values", [(1.0, 2.0), (10.0, 12.0, 17.0), (0.1, 0.2, 0.3, 0.9, 0.4)])
def test_interval_is_students(values: tuple[float, ...]) -> None:
    mean = mean_over_seeds(values)
    assert mean is not None
    centre = sum(values) / len(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=centre, scale=stats.sem(values))
    assert (mean.value, mean.low, mean.high) == pytest.approx((centre, low, high))


def test_one_seed_has_no_interval_and_none_has_no_mean() -> None:
    one = mean_over_seeds([3.0])
    assert one is not None
    assert (one.value, one.low, one.high) == (3.0, None, None)
    assert mean_over_seeds([]) is None


def test_rows_hold_what_was_measured(scored: list[RunRecord]) -> None:
    rows = {row.label: row for row in summarise(scored)}
    assert set(rows["a"].answers) == {"bleu", "rougeL"}
    assert rows["a"].answers["bleu"].value == pytest.approx(13.0)
    assert set(rows["b"].answers) == {"bleu"}
    assert rows["c"].answers == {}


def test_table_has_measured_columns_and_methods_alone(scored: list[RunRecord], comparison: list[RunRecord]) -> None:
    table = answers(summarise(scored))
    assert table is not None
    assert table.columns == ("Method", "BLEU", "ROUGE-L")
    assert table.rows == [["a", "13.00 ± 8.96", "30.50 ± 1.24"], ["b", "5.00", "-"]]
    assert "over seeds alone" in table.caption
    assert answers(summarise(comparison)) is None


def test_failed_and_endless_scores_are_left_out(make: Make) -> None:
    bad = Metric(name="bleu", split="test", value=float("nan"), signature="")
    runs = [make("a", metrics=[*make("a").metrics, bad])]
    assert summarise(runs)[0].answers == {}


def test_terminal_and_markdown_have_a_second_table(scored: list[RunRecord], comparison: list[RunRecord]) -> None:
    output = StringIO()
    print_table(summarise(scored), Console(file=output, width=120))
    assert "13.00 ± 8.96" in output.getvalue()
    text = markdown_table(summarise(scored))
    assert "| a | 13.00 ± 8.96 | 30.50 ± 1.24 |" in text
    assert "13.00" not in markdown_table(summarise(comparison))


def test_page_has_the_section_only_with_scores(
    scored: list[RunRecord], comparison: list[RunRecord], tmp_path: Path
) -> None:
    text = write_page(scored, tmp_path / "a.html", "With").read_text("utf-8")
    assert '<h2 id="answers">' in text
    assert 'id="figure-answers"' in text
    assert '<h2 id="answers">' not in write_page(comparison, tmp_path / "b.html", "Without").read_text("utf-8")


def test_figure_has_one_trace_a_metric(scored: list[RunRecord]) -> None:
    figure = answer_scores(summarise(scored))
    assert figure is not None
    traces = {trace.name: (tuple(trace.y), tuple(trace.x)) for trace in figure.data}
    assert traces["BLEU"] == (("b", "a"), (5.0, pytest.approx(13.0)))
    assert traces["ROUGE-L"] == (("a",), (30.5,))
