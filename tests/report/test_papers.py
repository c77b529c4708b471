"""Figures with the papers' axes and published tables beside ours, from made-up runs with known numbers."""

import pytest

from qpeft.records import MethodSpec, Metric, RunRecord
from qpeft.report import markdown_table, summarise
from qpeft.report.papers import beside, panel_figure
from qpeft.report.tables import comparison

from .conftest import Make

LORA = {r: MethodSpec(name="lora", options={"r": r}) for r in (1, 4)}


def qpa(rank: int, depth: int = 8) -> MethodSpec:
    return MethodSpec(name="qpa", options={"depth": depth, "source": "circuit"}, over=LORA[rank])


def test_a_label_belongs_to_the_first_curve_that_matches_and_points_are_in_order(make: Make) -> None:
    records = [
        make("lora-r4", LORA[4], level=2.4, trainable=400),
        make("lora-r1", LORA[1], level=2.6, trainable=100),
        make("qpa-n64", qpa(4), level=2.5, trainable=50),
        make("qpa-n64-rx", qpa(4), level=2.7, trainable=60),
        make("other", LORA[1], level=2.9, trainable=10),
    ]
    figure = panel_figure(records, "trainable", {"LoRA": ["lora-r*"], "RX": ["*-rx"], "QPA": ["qpa-n*"]})
    assert figure is not None
    assert {trace.name: tuple(trace.x) for trace in figure.data} == {"LoRA": (100, 400), "RX": (60,), "QPA": (50,)}
    assert figure.data[0].y[0] > figure.data[0].y[1] > 1
    assert figure.layout.xaxis.type == "log"


@pytest.mark.parametrize(("x", "expected"), [("rank", (1.0, 4.0)), ("depth", (8.0, 8.0))])
def test_rank_and_depth_are_read_from_what_qpa_generates(make: Make, x: str, expected: tuple[float, float]) -> None:
    records = [make("a4", qpa(4)), make("a1", qpa(1)), make("lora", LORA[4], level=2.0)]
    figure = panel_figure(records, x, {"QPA": ["a*"]}, {"LoRA": ["missing", "lora"]})
    assert figure is not None
    curve, line = figure.data
    assert tuple(curve.x) == expected
    assert line.y[0] == line.y[1] < min(curve.y)


def test_the_loss_over_steps_and_no_figure_without_labels(make: Make) -> None:
    records = [make("a", seed=0), make("a", seed=1)]
    figure = panel_figure(records, "step", {})
    assert figure is not None
    assert "training loss" in figure.layout.yaxis.title.text
    assert panel_figure(records, "rank", {"none": ["b*"]}) is None


def test_published_rows_stand_beside_ours(make: Make) -> None:
    ours = {"tiny": [make("lora", trainable=1234, seed=seed) for seed in range(3)]}
    table = beside("T", {"LoRA": {"PPL": "1.595"}, "PT": {"PPL": "2.225"}}, {"LoRA": ["lora-r4", "lora"]}, ours)
    assert table.columns[:4] == ("row", "PPL", "tiny: trainable", "tiny: perplexity")
    assert table.rows[0][:3] == ("LoRA", "1.595", "1,234")
    assert table.rows[0][4].startswith("[")
    assert table.rows[1] == ("PT", "2.225", "-", "-", "-", "-")


def test_seeds_an_order_of_magnitude_apart_stand_beside_the_one_mean(make: Make) -> None:
    """2.23, 2.26 and 35.13 have the geometric mean 5.615 in every table, and nobody sees it without them."""

    def measured(seed: int, padded: float) -> RunRecord:
        pairs = {"perplexity": 40.0 + seed, "perplexity_padded": padded}
        metrics = [Metric(name=name, split="test", value=value, signature="") for name, value in pairs.items()]
        return make("lora", seed=seed, metrics=metrics)

    runs = [measured(seed, padded) for seed, padded in enumerate((2.23, 2.26, 35.13))]
    cells = beside("T", {}, {"LoRA": ["lora"]}, {"tiny": runs}).rows[0]
    assert (cells[2], cells[4]) == ("40.99", "5.615 (seeds 2.230, 2.260, 35.130)")
    rows = summarise(runs)
    assert "| 5.62 (seeds 2.23, 2.26, 35.13) |" in markdown_table(rows)
    assert comparison(rows, [], None).rows[0][-1] == "5.62 (seeds 2.23, 2.26, 35.13)"
