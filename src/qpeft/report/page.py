"""One self-contained HTML page of a comparison: opens from disk, asks the network for nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from qpeft.records import RunRecord, write_atomically
from qpeft.records.drafts import RANDOM, sweep
from qpeft.report import tables
from qpeft.report.caveats import caveats
from qpeft.report.circuit import circuit_verdicts
from qpeft.report.convergence import last_rates
from qpeft.report.gallery import Drawing, gallery
from qpeft.report.groups import Groups, final_groups, tune_groups
from qpeft.report.own import OWN_FIGURES, own_table
from qpeft.report.samples import Samples, side_by_side
from qpeft.report.summary import Row, summarise
from qpeft.report.verdict import choose_baseline, differences

PLOTLY_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtons": [["zoom2d", "resetScale2d"]],
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, ready to inline, with the words that say what it shows."""

    name: str
    title: str
    caption: str
    html: Markup


def write_page(
    records: Iterable[RunRecord],
    path: Path,
    title: str,
    commands: Sequence[str] = (),
    baseline: str | None = None,
    samples: Mapping[str, Samples] | None = None,
) -> Path:
    """Write the report of one comparison as one HTML file.

    Args:
        records: final and tuning records of the comparison.
        path: the file to write; replaced atomically.
        title: the heading of the page.
        commands: the exact commands that make the records again, one a line.
        baseline: label all methods are compared with; by default the method a circuit generates the
            numbers of, else the classical method with the lowest perplexity.
        samples: label -> its first answers, as ``find_samples`` reads them; by default the page holds no text of
            the data.

    Returns:
        The path.

    Raises:
        RecordError: there is no final record, one label holds different specs, or ``baseline`` is no label.
    """
    kept = list(records)
    rows = summarise(kept)
    context = _context(kept, rows, title, list(commands), baseline)
    sweep(path.parent, [path.name], RANDOM)
    write_atomically(path, _render(context | {"samples": side_by_side(samples or {})}))
    return path


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
        "endings": tables.endings(rows, last_rates(records)),
        "verdicts": verdicts,
        "figures": {drawing.name: _inline(drawing) for drawing in gallery(records, rows, verdicts)},
        "answers": tables.answers(rows),
        "own_metrics": own_table(records),
        "own_figures": list(OWN_FIGURES),
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
        # Of the records, not of today: the same records give the same bytes.
        "n_records": len({record.identity for record in records}),
        "newest": max(record.run_info.created_at for record in records),
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


def _inline(drawing: Drawing) -> Figure:
    html = drawing.figure.to_html(
        full_html=False, include_plotlyjs=False, config=PLOTLY_CONFIG, div_id=f"figure-{drawing.name}"
    )
    return Figure(drawing.name, drawing.title, drawing.caption, Markup(html))


def _spec(runs: Sequence[RunRecord]) -> str:
    body = runs[0].spec.model_dump(mode="json")
    body["seed"] = [run.seed for run in runs]
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
