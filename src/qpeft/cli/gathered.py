"""What lies on disk for a table or figure of a paper: records by recipe, as tables and figures; loads no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import plotly.graph_objects as go

from qpeft.recipes import load_recipe, packaged_studies
from qpeft.recipes.papers import Item, published
from qpeft.records import RunRecord, StudyRecord, find_records, read_study, select
from qpeft.report.papers import beside, panel_figure
from qpeft.report.studies import StudyTable, fits_table, study_figures, study_table
from qpeft.report.untrained import untrained_note


@dataclass
class Gathered:
    """The records of one item, and how many runs are still missing, by recipe."""

    comparisons: dict[str, list[RunRecord]] = field(default_factory=dict)
    studies: dict[str, StudyRecord] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)


def gather(
    names: Sequence[str],
    folder: Path,
    settings: Sequence[str] = (),
    records: Sequence[RunRecord] | None = None,
) -> Gathered:
    """The records of some recipes and studies below a folder.

    Args:
        names: Recipes and studies.
        folder: Searched with everything below it.
        settings: Texts ``a.b=value`` the runs were made with.
        records: Of the folder, where they were read already.

    Raises:
        ConfigError: A recipe or a setting cannot be used.
        RecordError: The folder does not exist, or holds a damaged record.
    """
    comparisons = [name for name in names if name not in packaged_studies()]
    kept = records if records is not None else find_records(folder) if comparisons else []
    found = Gathered()
    for name in comparisons:
        chosen = select(load_recipe(name, list(settings)), kept)
        found.missing[name] = len(chosen.missing)
        if any(record.spec.purpose == "final" for record in chosen.records):
            found.comparisons[name] = chosen.records
    for name in (name for name in names if name in packaged_studies()):
        path = next(iter(sorted(folder.rglob(f"{name}.json"))), None)
        found.missing[name] = int(path is None)
        if path is not None:
            found.studies[name] = read_study(path)
    return found


def item_tables(name: str, item: Item, found: Gathered) -> list[StudyTable]:
    """Published numbers beside ours where rows belong to each other, else one after the other."""
    numbers: dict[str, dict[str, str]] = {}
    for number in published(name):
        numbers.setdefault(number.row, {})[number.column] = number.value
    tables = []
    if item.rows:
        tables.append(beside("Published, and ours", numbers, item.rows, found.comparisons))
    elif numbers:
        tables.append(beside("Published", numbers, {}, {}))
    if not item.rows:
        everything: Mapping[str, Sequence[RunRecord]] = found.comparisons
        for recipe, records in everything.items():
            labels = {record.spec.label: [record.spec.label] for record in records}
            tables.append(beside(f"Ours: {recipe}", {}, labels, {recipe: records}))
    for study in found.studies.values():
        tables += [table for table in (study_table(study), fits_table(study)) if table is not None]
    return tables


def item_notes(found: Gathered) -> list[str]:
    """What a reader has to know of the runs in an item's tables: those that did not train."""
    notes = {recipe: untrained_note(records) for recipe, records in found.comparisons.items()}
    return [f"{recipe}: {note}" for recipe, note in notes.items() if note]


def item_figures(name: str, item: Item, found: Gathered) -> dict[str, go.Figure]:
    """The figures of an item by file name: its panels for each comparison, and those of its studies."""
    drawn: dict[str, go.Figure] = {}
    for recipe, records in found.comparisons.items():
        for panel_name, panel in item.panels.items():
            figure = panel_figure(records, panel.x, panel.curves, panel.lines)
            if figure is not None:
                drawn[f"{name}-{panel_name}" + f"-{recipe}" * (len(found.comparisons) > 1)] = figure
    for study, record in found.studies.items():
        drawn |= {f"{study}-{kind}": figure for kind, figure in study_figures(record).items()}
    return drawn
