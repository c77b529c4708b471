"""One self-contained HTML page of a comparison: opens from disk, asks the network for nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly import graph_objects as go
from plotly.offline import get_plotlyjs

from qpeft.records import RunRecord, write_atomically
from qpeft.report import figures, tables
from qpeft.report.caveats import caveats
from qpeft.report.groups import Groups, final_groups, tune_groups
from qpeft.report.summary import Row, summarise
from qpeft.report.verdict import TWINS, Twin, choose_baseline, conclusion, differences, find_twins, twin_verdict

PLOTLY_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtons": [["toImage", "zoom2d", "resetScale2d"]],
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, ready to inline, with the words that say what it shows."""

    name: str
    caption: str
    html: Markup


@dataclass(frozen=True, slots=True)
class CircuitVerdict:
    """All that is known about what one trained circuit contributed."""

    label: str
    conclusion: str
    twins: list[Twin]


def write_page(
    records: Iterable[RunRecord], path: Path, title: str, commands: Sequence[str] = (), baseline: str | None = None
) -> Path:
    """Write the report of one comparison as one HTML file.

    Args:
        records: final and tuning records of the comparison.
        path: the file to write; replaced atomically.
        title: the heading of the page.
        commands: the exact commands that make the records again, one a line.
        baseline: label all methods are compared with; by default the method a circuit generates the
            numbers of, else the classical method with the lowest perplexity.

    Returns:
        The path.

    Raises:
        RecordError: there is no final record, one label holds different specs, or ``baseline`` is no label.
    """
    kept = list(records)
    rows = summarise(kept)
    write_atomically(path, _render(_context(kept, rows, title, list(commands), baseline)))
    return path


def circuit_verdicts(records: Iterable[RunRecord]) -> list[CircuitVerdict]:
    """The verdict on every method that trains a circuit, with one sentence for each twin that was run.

    Raises:
        RecordError: there is no final record.
    """
    kept = list(records)
    out = []
    for label, twin_labels in find_twins(kept).items():
        twins = twin_verdict(kept, label, twin_labels)
        out.append(CircuitVerdict(label, conclusion(label, twins), twins))
    return out


def _context(
    records: list[RunRecord], rows: list[Row], title: str, commands: list[str], baseline: str | None
) -> dict[str, Any]:
    groups, tuned = final_groups(records), tune_groups(records)
    chosen = _baseline(records, rows, baseline)
    compared = differences(records, chosen[0]) if chosen else []
    verdicts = circuit_verdicts(records)
    return {
        "title": title,
        "facts": _facts(groups, tuned),
        "caveats": caveats(records, rows),
        "baseline": chosen,
        "comparison": tables.comparison(rows, compared, chosen[0] if chosen else None),
        "verdicts": verdicts,
        "figures": _figures(records, rows, verdicts),
        "sizes": tables.sizes(rows),
        "circuits": tables.circuits({label: runs[0] for label, runs in groups.items()}),
        "cost": tables.cost(rows),
        "tuning": tables.tuning_runs(tuned),
        "signatures": tables.signatures(run for runs in groups.values() for run in runs),
        "environment": tables.environment(run for runs in groups.values() for run in runs),
        "commands": commands,
        "specs": {label: _spec(runs) for label, runs in groups.items()},
        # The library holds no closing script tag, so it can stand inside one.
        "plotly_js": Markup(get_plotlyjs()),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": version("qpeft"),
    }


def _render(context: dict[str, Any]) -> str:
    loader = PackageLoader("qpeft.report", package_path="")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("template.html.j2").render(context)


def _baseline(records: list[RunRecord], rows: Sequence[Row], asked: str | None) -> tuple[str, str] | None:
    if asked is not None:
        return asked, "as asked for"
    known = {row.label: row.perplexity for row in rows if row.perplexity is not None}
    return choose_baseline(records, known)


def _facts(groups: Groups, tuned: Groups) -> dict[str, str]:
    finals = [run for runs in groups.values() for run in runs]
    created = sorted(run.run_info.created_at[:10] for run in finals)
    tuning = sum(len(runs) for runs in tuned.values())
    return {
        "Methods": str(len(groups)),
        "Runs": f"{len(finals)} final, {tuning} for tuning",
        "Seeds": ", ".join(str(seed) for seed in sorted({run.seed for run in finals})),
        "Model": ", ".join(sorted({run.spec.model.name for run in finals})),
        "Data": ", ".join(sorted({run.spec.data.name for run in finals})),
        "Steps": ", ".join(str(steps) for steps in sorted({run.spec.train.steps for run in finals})),
        "Made": created[0] if created[0] == created[-1] else f"{created[0]} to {created[-1]}",
    }


def _figures(records: list[RunRecord], rows: list[Row], verdicts: Sequence[CircuitVerdict]) -> dict[str, Figure]:
    style = figures.looks(record.spec.label for record in records)
    against = [
        (f"{verdict.label}: " * (len(verdicts) > 1) + f"vs {TWINS.get(twin.source, twin.difference.baseline)}", twin)
        for verdict in verdicts
        for twin in verdict.twins
    ]
    drawn = {
        "twins": (
            figures.difference_bars([(name, twin.difference) for name, twin in against], style),
            "Trained circuit minus each twin, nats per token, with 95 % intervals. Left of zero the trained "
            "circuit is better; an interval across zero shows no measurable difference. The intervals are of one "
            "comparison each; the verdicts also count how many there are.",
        ),
        "perplexity": (
            figures.perplexity_bars(rows, style),
            "Test perplexity with 95 % intervals, lower is better; the open marks are the single seeds.",
        ),
        "size": (
            figures.perplexity_against_size(rows, style),
            "Test perplexity against trainable numbers; lower and further left is better. The stepped line joins "
            "the methods that no other method beats in both.",
        ),
        "loss": (
            figures.loss_curves(records, style),
            "Training loss: the mean over seeds; the band spans the lowest and the highest seed.",
        ),
        "tuning": (
            figures.tuning(records, style),
            "Every tuning run with a result: learning rate against validation perplexity, lower is better. "
            "A ring marks the learning rate of the final runs.",
        ),
    }
    return {name: _inline(name, caption, figure) for name, (figure, caption) in drawn.items() if figure is not None}


def _inline(name: str, caption: str, figure: go.Figure) -> Figure:
    html = figure.to_html(full_html=False, include_plotlyjs=False, config=PLOTLY_CONFIG, div_id=f"figure-{name}")
    return Figure(name, caption, Markup(html))


def _spec(runs: Sequence[RunRecord]) -> str:
    body = runs[0].spec.model_dump(mode="json")
    body["seed"] = [run.seed for run in runs]
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
