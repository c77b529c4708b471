"""Published numbers beside ours, and figures with the axes of the papers; made from records alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import plotly.graph_objects as go

from qpeft.records import RunRecord, StudyRow
from qpeft.report.drawing import SCALE, Look, blank, look_of, plain, with_legend
from qpeft.report.figures import loss_curves
from qpeft.report.format import MISSING, bounds, count, over_seeds
from qpeft.report.groups import final_groups
from qpeft.report.studies import StudyTable
from qpeft.report.studyfigures import add_line
from qpeft.report.summary import ANSWERS, Row, summarise

Curves = Mapping[str, Sequence[str]]


def rank_of(run: RunRecord) -> float | None:
    """The rank of an adapter, or of the one that QPA generates."""
    method = run.spec.method.over or run.spec.method
    rank = method.options.get("r")
    return None if rank is None else float(rank)


def depth_of(run: RunRecord) -> float | None:
    """The layers of the circuit."""
    return None if run.quantum is None else float(run.quantum.depth)


# What the x axis can be: its title, its value, and whether its scale is logarithmic.
AXES: dict[str, tuple[str, Callable[[RunRecord], float | None], bool]] = {
    "trainable": ("trainable numbers", lambda run: float(run.train_info.num_trainable_params), True),
    "rank": ("LoRA rank", rank_of, True),
    "depth": ("circuit layers L", depth_of, False),
}


def panel_figure(
    records: Iterable[RunRecord], x: str, curves: Curves, lines: Curves | None = None
) -> go.Figure | None:
    """One panel of a paper's figure: masked test perplexity over x, a curve for each group of labels.

    Args:
        records: Of one comparison.
        x: A key of ``AXES``, or ``step`` for the training loss over steps.
        curves: Name to labels or patterns of labels; a label belongs to the first curve that matches it.
        lines: Name to labels; the first of them that was run becomes a horizontal line.

    Returns:
        The figure with 95 % intervals; None where no label was run.

    Raises:
        RecordError: there is no final record.
    """
    kept = list(records)
    if x == "step":
        return loss_curves(kept, {label: look_of(place) for place, label in enumerate(final_groups(kept))})
    rows = {row.label: row for row in summarise(kept) if row.perplexity is not None}
    heads = {label: runs[0] for label, runs in final_groups(kept).items()}
    title, value, logarithmic = AXES[x]
    figure = blank(title + SCALE * logarithmic, "test perplexity")
    free = list(rows)
    for place, (name, patterns) in enumerate(curves.items()):
        taken = [label for label in free if any(fnmatchcase(label, pattern) for pattern in patterns)]
        free = [label for label in free if label not in taken]
        points: list[StudyRow] = [
            {"x": value(heads[label]), "y": row.perplexity, "low": row.low or row.perplexity, "high": row.high}
            for label in taken
            if (row := rows[label]) and value(heads[label]) is not None
        ]
        add_line(figure, name, points, ("x", "y", "low", "high"), look_of(place))
    for place, (name, candidates) in enumerate((lines or {}).items(), len(curves)):
        found = next((rows[label] for label in candidates if label in rows), None)
        if found is not None and figure.data:
            _line(figure, name, found, look_of(place))
    if logarithmic:
        figure.update_xaxes(type="log", exponentformat="power")
    return with_legend(figure) if figure.data else None


def _line(figure: go.Figure, name: str, row: Row, look: Look) -> None:
    ends = [at for trace in figure.data for at in trace.x]
    style = {"color": look.colour, "dash": "dash", "width": 2}
    figure.add_scatter(
        x=[min(ends), max(ends)], y=[row.perplexity, row.perplexity], mode="lines", name=plain(name), line=style
    )


def beside(
    title: str, published: Mapping[str, Mapping[str, str]], labels: Curves, ours: Mapping[str, Sequence[RunRecord]]
) -> StudyTable:
    """A published table with our numbers at its right.

    Args:
        title: The caption.
        published: row -> column -> the number as printed.
        labels: published row -> labels of ours that stand for it.
        ours: recipe -> records; a recipe without final runs has no columns.

    Returns:
        One row for each published row or row of ``labels``: theirs, then ours by recipe.
    """
    theirs = list(dict.fromkeys(column for row in published.values() for column in row))
    names = list(dict.fromkeys([*published, *labels]))
    columns = ["row", *theirs]
    cells = [[name, *(published.get(name, {}).get(column, MISSING) for column in theirs)] for name in names]
    for recipe, records in ours.items():
        rows = {row.label: row for row in summarise(records)}
        scores = [key for key in ANSWERS if any(key in row.answers for row in rows.values())]
        heads = ["trainable", "perplexity", "95 %", "padded", *(ANSWERS[key] for key in scores)]
        columns += [f"{recipe}: {head}" for head in heads]
        for name, line in zip(names, cells, strict=True):
            row = next((rows[label] for label in labels.get(name, []) if label in rows), None)
            line += _ours(row, scores)
    return StudyTable(title, tuple(columns), tuple(tuple(line) for line in cells))


def _ours(row: Row | None, scores: Sequence[str]) -> list[str]:
    if row is None:
        return [MISSING] * (4 + len(scores))
    answers = [row.answers[key].shown() if key in row.answers else MISSING for key in scores]
    perplexity, padded = over_seeds(row.perplexity, row.seed_perplexities), over_seeds(row.padded, row.seed_padded, 3)
    return [count(row.trainable), perplexity, bounds(row.low, row.high), padded, *answers]
