"""Studies as people read them: tables for the terminal and documents, figures with the papers' axes, CSV files."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import plotly.graph_objects as go

from qpeft.errors import RecordError
from qpeft.records import StudyRecord, StudyRow, write_atomically
from qpeft.report.format import MISSING, short
from qpeft.report.noisefigures import NOISE_FIGURES
from qpeft.report.studyfigures import FIGURES as PLAIN_FIGURES
from qpeft.report.studyfigures import Figures


@dataclass(frozen=True, slots=True)
class StudyTable:
    """A table ready to print: its caption, a heading a column, and texts."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


FIGURES: dict[str, Callable[[StudyRecord], Figures]] = {**PLAIN_FIGURES, **NOISE_FIGURES}
# The columns a reader sees, where a study has more; a CSV file holds all.
COLUMNS: dict[str, str] = {
    "gradient-check": "reading ansatz entangler circuits shift_max finite_max input_finite_max shift_relative",
    "gradient-variance": "loss preset n_qubits depth variance variance_low variance_high abs_median abs_q05 abs_q95 "
    "normalised largest_share",
    "counts": "label adapter_numbers n_qubits chunks angles trainable effective percent closed_form published equal",
    "step-time": "method preset n_mlp n_qubits trainable step_ms forward_ms backward_ms optimizer_ms generator_ms "
    "generator_share ratio ratio_q25 ratio_q75 published_ratio",
    "qaa-complexity": "d layer trainable n_qubits state_size gates depth forward_ms both_ms both_ms_q25 both_ms_q75",
    "noise-distance": "device ansatz n_qubits depth tv_gates tv_readout tv_shots tv_shots_only cos_noisy "
    "cos_surrogate cos_surrogate_square cos_shift cos_spsa circuits_shift shots_shift shots_spsa gates_cz gates_sx",
    "qaa-noise": "seed backend rows shots strength perplexity difference z_rms z_difference circuits shots_spent",
}
# Which rows and fits a reader sees, where a study has more.
SEEN: dict[str, Callable[[StudyRow], bool]] = {"gradient-variance": lambda row: row["layers"] == "all"}
FITS_SEEN: dict[str, Callable[[StudyRow], bool]] = {
    "gradient-variance": lambda row: row["layers"] == "all" and str(row["fit"]).endswith("per qubit"),
}


def study_table(record: StudyRecord) -> StudyTable:
    """The rows of a study, those a reader wants to see; circuits of one kind in one line."""
    rows = [row for row in record.rows if SEEN.get(record.study, everything)(row)]
    if record.study == "gradient-check":
        rows = worst_of_kinds(rows)
    return table_of(rows, record.title or record.study, COLUMNS.get(record.study, "").split())


def fits_table(record: StudyRecord) -> StudyTable | None:
    """What was fitted, or None where nothing was."""
    fits = [row for row in record.fits if FITS_SEEN.get(record.study, everything)(row)]
    return table_of(fits, "Over all rows", []) if fits else None


def everything(row: StudyRow) -> bool:
    """Every row."""
    return True


def table_of(rows: list[StudyRow], caption: str, columns: list[str]) -> StudyTable:
    """Rows as texts, four digits a number; without columns named, all of them."""
    keys = columns or list(dict.fromkeys(key for row in rows for key in row))
    cells = tuple(tuple(cell_text(row.get(key)) for key in keys) for row in rows)
    return StudyTable(caption, tuple(key.replace("_", " ") for key in keys), cells)


def cell_text(value: object) -> str:
    """One cell.

    >>> cell_text(106264), cell_text(0.27531), cell_text(True), cell_text(None)
    ('106,264', '0.2753', 'yes', '-')
    """
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, int):
        return f"{value:,}"
    return short(value) if isinstance(value, float) else MISSING if value is None else str(value)


def worst_of_kinds(rows: list[StudyRow]) -> list[StudyRow]:
    """The largest differences of each reading, ansatz and entangler, over depths and widths."""
    kinds: dict[tuple[str, ...], list[StudyRow]] = {}
    for row in rows:
        kinds.setdefault((str(row["reading"]), str(row["ansatz"]), str(row["entangler"])), []).append(row)
    found: list[StudyRow] = []
    for (reading, ansatz, entangler), group in kinds.items():
        keys = [key for key in group[0] if key.endswith(("_max", "_relative"))]
        largest = {key: max(float(row[key] or 0.0) for row in group) for key in keys}
        found.append({"reading": reading, "ansatz": ansatz, "entangler": entangler, "circuits": len(group), **largest})
    return found


def study_figures(record: StudyRecord) -> dict[str, go.Figure]:
    """The figures of a study by name, with the papers' axes.

    Raises:
        RecordError: no figures are known for this study.
    """
    if record.study not in FIGURES:
        raise RecordError(f"figures are known for {', '.join(FIGURES)}; got a record of {record.study!r}")
    return {name: figure for name, figure in FIGURES[record.study](record).items() if figure.data}


def write_study_csv(record: StudyRecord, path: Path) -> Path:
    """Write every row with every column; a cell is empty where nothing was measured.

    Raises:
        RecordError: the record has no rows.
    """
    if not record.rows:
        raise RecordError(f"a table needs at least one row; the record of {record.study!r} has none")
    fields = list(dict.fromkeys(key for row in record.rows for key in row))
    text = StringIO()
    writer = csv.DictWriter(text, fields, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(record.rows)
    write_atomically(path, text.getvalue())
    return path
