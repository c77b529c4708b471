"""All figures of one comparison with the words under them: for the page, and as files of their own."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go

from qpeft.errors import require_choice
from qpeft.records import RunRecord
from qpeft.report import figures
from qpeft.report.circuit import CircuitVerdict, circuit_verdicts
from qpeft.report.drawing import looks
from qpeft.report.own import OWN_FIGURES
from qpeft.report.ranks import Ranks, ranks
from qpeft.report.static import FORMATS, save_figure
from qpeft.report.summary import Row, summarise
from qpeft.report.verdict import TWINS, Difference


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure: a short name for files and elements, a title, what it shows in words, and the figure itself."""

    name: str
    title: str
    caption: str
    figure: go.Figure


def gallery(records: Sequence[RunRecord], rows: Sequence[Row], verdicts: Sequence[CircuitVerdict]) -> list[Drawing]:
    """Every figure that the records have numbers for, in the order of the page.

    Args:
        records: records of one comparison.
        rows: the rows of ``summarise`` of the same records.
        verdicts: those of ``circuit_verdicts`` of the same records.

    Returns:
        The figures; one that would be empty is left out.

    Raises:
        RecordError: there is no final record.
    """
    style, ranked = looks(record.spec.label for record in records), ranks(records)
    drawn = {
        "perplexity": ("Test perplexity", figures.perplexity_bars(rows, style)),
        "twins": ("Trained circuit minus each twin", figures.difference_bars(against(verdicts), style)),
        "size": ("Test perplexity against trainable numbers", figures.perplexity_against_size(rows, style)),
        "ranks": ("Mean ranks", figures.mean_ranks(ranked, style) if ranked else None),
        "loss": ("Training loss", figures.loss_curves(records, style)),
        "answers": ("Scores of answers", figures.answer_scores(rows)),
        "time": ("Test perplexity against training time", figures.perplexity_against_time(rows, style)),
        "tuning": ("Learning rates that were tried", figures.tuning(records, style)),
    }
    words = CAPTIONS | {"ranks": _rank_words(ranked) if ranked else ""}
    found = [
        Drawing(name, title, words[name], figure) for name, (title, figure) in drawn.items() if figure is not None
    ]
    return [*found, *own_drawings(records)]


def own_drawings(records: Sequence[RunRecord]) -> list[Drawing]:
    """The figures of plug-ins that have something to show; a plug-in that fails is named and leaves the rest alone."""
    found = []
    for one in OWN_FIGURES.values():
        try:
            figure = one.draw(records)
        except Exception as error:  # a stranger's code
            warnings.warn(f"report figure {one.name} is left out: {type(error).__name__}: {error}", stacklevel=2)
            continue
        found += [] if figure is None else [Drawing(one.name, one.title, one.caption, figure)]
    return found


def write_figures(records: Iterable[RunRecord], folder: Path, formats: Sequence[str] = ("svg",)) -> list[Path]:
    """Write every figure of a comparison into a folder, one file a figure and format.

    Args:
        records: records of one comparison.
        folder: the folder; made where it is missing.
        formats: some of svg, png, pdf and csv.

    Returns:
        The files, in the order of the page.

    Raises:
        ConfigError: a format is none of those.
        MissingExtraError: a format other than csv, and matplotlib is not installed.
        RecordError: there is no final record.
    """
    for ending in formats:
        require_choice("--format", ending, FORMATS)
    kept = list(records)
    drawings = gallery(kept, summarise(kept), circuit_verdicts(kept))
    return [save_figure(one.figure, folder / f"{one.name}.{ending}") for one in drawings for ending in formats]


def against(verdicts: Sequence[CircuitVerdict]) -> list[tuple[str, Difference]]:
    """The comparisons of all trained circuits with their twins, each with a name that fits beside an axis."""
    several = len(verdicts) > 1
    return [
        (f"{verdict.label}: " * several + f"vs {TWINS.get(twin.source, twin.difference.baseline)}", twin.difference)
        for verdict in verdicts
        for twin in verdict.twins
    ]


def _rank_words(found: Ranks) -> str:
    """What the ranks show, and how little they can with few seeds."""
    p_value = "< 0.001" if found.p_value < 0.001 else f"= {found.p_value:.2g}"
    return (
        f"Ranks by test perplexity within each seed (open marks) and their means, of {len(found.ranks)} methods that "
        f"train something. The unit of replication is the training seed, of which there are {len(found.seeds)}; "
        f"blocks of text are not counted as trials. Friedman's test that all methods rank alike: p {p_value}. By "
        f"Nemenyi's test at 5 % over all pairs two mean ranks differ where they lie more than {found.distance:.1f} "
        "apart, that is where their bars do not touch. With few seeds both tests find large differences only, and "
        "ranks leave out how large a difference is: the paired differences above do not."
    )


CAPTIONS = {
    "perplexity": "Test perplexity with 95 % intervals, lower is better; the open marks are the single seeds.",
    "twins": "Trained circuit minus each twin, nats per token, with 95 % intervals. Left of zero the trained circuit "
    "is better; an interval across zero shows no measurable difference. The intervals are of one comparison each; the "
    "verdicts also count how many there are.",
    "size": "Test perplexity against trainable numbers; lower and further left is better. The stepped line joins the "
    "methods that no other method beats in both.",
    "loss": "Training loss: the mean over seeds; the band spans the lowest and the highest seed.",
    "answers": "Scores of the greedy answers to the prompts of the test split, 0 to 100, higher is better; token "
    "accuracy is of the next token after the true ones. The bars are 95 % t intervals over seeds alone: all seeds "
    "answer the same prompts, and other prompts may give another score.",
    "time": "Test perplexity against the seconds of one training run on the machine of these records, mean over "
    "seeds; lower and further left is better. The stepped line joins the methods that no other method beats in both.",
    "tuning": "Every tuning run with a result: learning rate against validation perplexity, lower is better. A ring "
    "marks the learning rate of the final runs.",
}
