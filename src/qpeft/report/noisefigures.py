"""The figures of studies of noise and shots: distances against qubits, perplexity against shots and strength."""

from collections.abc import Callable

import plotly.graph_objects as go

from qpeft.records import StudyRecord, StudyRow
from qpeft.report.drawing import INK, Look, blank, look_of, with_legend
from qpeft.report.studyfigures import Figures, add_line, lines_of, logarithmic

KINDS = {"tv_gates": "gates", "tv_readout": "gates, readout", "tv_shots": "gates, readout, shots"}
COSINES = {
    "cos_noisy": "noise, autograd",
    "cos_surrogate_square": "surrogate, square loss",
    "cos_shift": "parameter shift",
    "cos_spsa": "spsa",
}
ERROR = ("difference", "low", "high")


def distance_figures(record: StudyRecord) -> Figures:
    """Total variation distance to the exact distribution, and cosine to the exact gradient, against N."""
    found: Figures = {}
    for ansatz, rows in lines_of(record.rows, "ansatz").items():
        distance = blank("qubits N", "total variation distance to exact", 420)
        cosine = blank("qubits N", "cosine to the exact gradient", 420)
        for figure, columns in ((distance, KINDS), (cosine, COSINES)):
            figure.update_xaxes(dtick=1)
            place = 0
            for device, part in lines_of(rows, "device").items():
                for column, words in columns.items():
                    add_line(figure, f"{device}: {words}", part, ("n_qubits", column), look_of(place))
                    place += 1
        # Shots alone know no device: the first one's rows hold what every other's do.
        first = next(iter(lines_of(rows, "device").values()))
        add_line(distance, "shots alone", first, ("n_qubits", "tv_shots_only"), Look(INK, "x", "dot"))
        found[f"distance-against-n-{ansatz}"] = with_legend(distance)
        found[f"cosine-against-n-{ansatz}"] = with_legend(cosine)
    return found


def quality_figures(record: StudyRecord) -> Figures:
    """Loss above that of exact circuits against shots and against strength, with intervals; devices lie level."""
    found: Figures = {}
    for kind, x, title in (("shots", "shots", "shots a circuit"), ("strength", "strength", "noise strength")):
        figure = logarithmic(blank(title, "nats a token above exact circuits", 420), "x")
        line = [row for row in record.fits if row["kind"] == kind]
        if not line:
            continue
        add_line(figure, "shots, no noise" if kind == "shots" else "depolarizing", line, (x, *ERROR), look_of(0))
        ends = sorted(float(row[x] or 0) for row in line)
        levels = [row for row in record.fits if row["kind"] == "device"]
        for place, row in enumerate(levels, 1):
            add_level(figure, str(row["backend"]).removeprefix("noisy:device="), row, (ends[0], ends[-1]), place)
        if kind == "shots":
            both = [row for row in record.fits if row["kind"] == "device and shots"]
            for place, row in enumerate(both, 1 + len(levels)):
                add_line(figure, str(row["backend"]).removeprefix("noisy:device="), [row], (x, *ERROR), look_of(place))
        found[f"loss-against-{kind}"] = with_legend(figure)
    return found


def add_level(figure: go.Figure, name: str, row: StudyRow, ends: tuple[float, float], place: int) -> None:
    """A horizontal line at the difference of one row."""
    level: list[StudyRow] = [{"x": end, "y": row["difference"]} for end in ends]
    add_line(figure, name, level, ("x", "y"), look_of(place))


NOISE_FIGURES: dict[str, Callable[[StudyRecord], Figures]] = {
    "noise-distance": distance_figures,
    "qaa-noise": quality_figures,
}
