"""Studies in reports: tables, CSV, figures with the papers' axes."""

import csv
from pathlib import Path
from typing import Any

import pytest

from qpeft.errors import RecordError
from qpeft.records import MetaInfo, StudyRecord, StudyRow, StudySpec
from qpeft.report.studies import fits_table, study_figures, study_table, write_study_csv

META = MetaInfo(model_info={}, dataset_info={}, package_info={}, system_info={}, pytorch_info="torch")


def record(study: str, rows: list[StudyRow], fits: list[StudyRow] | None = None) -> StudyRecord:
    return StudyRecord(
        study=study,
        title=f"a {study}",
        settings={},
        identity=StudySpec(study=study, settings={}).identity(),
        created_at="2026-01-01T00:00:00+00:00",
        total_time=1.0,
        environment=META,
        rows=rows,
        fits=fits or [],
    )


def variance_rows() -> list[StudyRow]:
    return [
        {
            **{"loss": loss, "preset": preset, "n_qubits": n, "depth": depth, "layers": layers},
            **{"variance": 2.0**-n / depth, "variance_low": 2.0**-n / depth / 2, "variance_high": 2.0**-n / depth * 3},
            **dict.fromkeys(("abs_median", "abs_q05", "abs_q95", "normalised", "largest_share"), 0.1),
        }
        for loss, preset in (("model", "released"), ("p_0", None))
        for n in (6, 5)
        for depth in (1, 2, 4)
        for layers in ("first", "all")
    ]


STEPS: list[StudyRow] = [
    {"method": "LoRA", "preset": None, "n_mlp": None, "step_ms": 10.0, "ratio": 1.0, "published_ratio": None},
    *(
        {
            **{"method": "QPA", "preset": preset, "n_mlp": n_mlp, "step_ms": 12.0, "step_ms_q25": 11.0},
            **{"step_ms_q75": 14.0, "ratio": 1.2, "ratio_q25": 1.1, "ratio_q75": 1.4},
            "published_ratio": 3.0 if preset == "released" else None,
        }
        for preset in ("released", "recommended")
        for n_mlp in (512, 256)
    ),
]
COUNTS: list[StudyRow] = [
    {"label": "LoRA", "family": "LoRA", "n_mlp": None, "trainable": 51025, "n_qubits": None, "equal": True},
    {"label": "a", "family": "QPA", "n_mlp": 512, "trainable": 55656, "n_qubits": 9, "equal": False},
    {"label": "b", "family": "QPA", "n_mlp": 256, "trainable": 47248, "n_qubits": 10, "equal": None},
]
TIMES: list[StudyRow] = [
    {"d": d, "layer": layer, **{f"{p}_ms{q}": float(d) for p in ("forward", "both") for q in ("", "_q25", "_q75")}}
    for d in (256, 512)
    for layer in ("linear", "qaa paper")
]
CHECKS: list[StudyRow] = [
    {
        **{"reading": reading, "ansatz": "ry_cnot", "entangler": "chain", "depth": depth, "n_angles": 3 * depth},
        **{"shift_max": 1e-16 * depth, "shift_relative": None, "finite_max": 0.0},
        **({"input_finite_max": 1e-9} if reading == "embedded z" else {}),
    }
    for reading in ("probabilities", "embedded z")
    for depth in (1, 2)
]
DISTANCES: list[StudyRow] = [
    {
        **{"device": device, "ansatz": ansatz, "n_qubits": n, "depth": 8},
        **{f"tv_{kind}": n / 100 for kind in ("gates", "readout", "shots", "shots_only")},
        **{f"cos_{way}": 1 - n / 100 for way in ("noisy", "surrogate", "surrogate_square", "shift", "spsa")},
    }
    for device in ("torino", "fez")
    for ansatz in ("ry_cnot", "rx_cnot")
    for n in (7, 5)
]
QUALITIES: list[StudyRow] = [
    {
        "kind": kind,
        "backend": backend,
        "shots": shots,
        "strength": strength,
        "difference": 0.1,
        "low": -0.1,
        "high": 0.4,
    }
    for kind, backend, shots, strength in (
        ("exact", "exact", None, None),
        ("shots", "sampled:shots=1000", 1000, None),
        ("shots", "sampled:shots=100", 100, None),
        ("strength", "noisy:depolarizing=0.001,depolarizing2=0.01", None, 0.01),
        ("device", "noisy:device=fez", None, None),
        ("device and shots", "noisy:device=torino,shots=20x", 5120, None),
    )
]
EVERY = {
    "gradient-variance": variance_rows(),
    "step-time": STEPS,
    "counts": COUNTS,
    "qaa-complexity": TIMES,
    "gradient-check": CHECKS,
    "noise-distance": DISTANCES,
    "qaa-noise": QUALITIES,
}
# Studies whose figures show what was fitted.
FITTED = {"qaa-noise": QUALITIES}


def axes(figure: Any) -> tuple[str, str, str | None, str | None]:
    x, y = figure.layout.xaxis, figure.layout.yaxis
    return x.title.text, y.title.text, x.type, y.type


@pytest.mark.parametrize("study", EVERY)
def test_figures_are_scatter_traces_with_names_and_a_legend(study: str) -> None:
    figures = study_figures(record(study, EVERY[study], FITTED.get(study)))
    assert figures
    for figure in figures.values():
        assert {trace.type for trace in figure.data} == {"scatter"}
        assert all(trace.name for trace in figure.data)
        assert figure.layout.showlegend


def test_fig_10() -> None:
    figures = study_figures(record("gradient-variance", EVERY["gradient-variance"]))
    assert list(figures) == [
        *("variance-against-n-released", "variance-against-l-released"),
        *("variance-against-n-p_0", "variance-against-l-p_0"),
    ]
    by_n, by_l = figures["variance-against-n-released"], figures["variance-against-l-released"]
    assert axes(by_n) == ("qubits N", "Var of the angles' gradient (logarithmic)", None, "log")
    assert axes(by_l) == ("depth L (logarithmic)", "Var of the angles' gradient (logarithmic)", "log", "log")
    assert [trace.name for trace in by_n.data] == ["L 1", "L 2", "L 4"]
    assert [trace.name for trace in by_l.data] == ["N 6", "N 5"]
    line = by_n.data[1]
    assert list(line.x) == [5, 6]
    assert list(line.y) == [2.0**-5 / 2, 2.0**-6 / 2]
    assert list(line.error_y.array) == pytest.approx([2.0**-5, 2.0**-6])
    assert list(line.error_y.arrayminus) == pytest.approx([2.0**-7, 2.0**-8])


def test_fig_4a() -> None:
    (figure,) = study_figures(record("counts", COUNTS)).values()
    assert axes(figure) == ("trainable numbers (logarithmic)", "qubits N", "log", None)
    (line,) = figure.data
    assert (line.name, list(line.x), list(line.y)) == ("QPA", [47248, 55656], [10, 9])


def test_step_times_stand_beside_lora_and_the_paper() -> None:
    figures = study_figures(record("step-time", STEPS))
    assert [trace.name for trace in figures["step-time"].data] == ["LoRA", "QPA, released", "QPA, recommended"]
    assert list(figures["step-time"].data[0].y) == [10.0, 10.0]
    ratios = {trace.name: list(trace.y) for trace in figures["step-ratio"].data}
    assert ratios["published"] == [3.0, 3.0]
    assert list(figures["step-ratio"].data[0].x) == [256, 512]


def test_differences_of_zero_are_not_drawn() -> None:
    (figure,) = study_figures(record("gradient-check", CHECKS)).values()
    assert [trace.name for trace in figure.data] == [
        *("probabilities: shift", "embedded z: shift", "embedded z: by the input")
    ]


def test_distances_have_one_line_a_device_and_kind() -> None:
    figures = study_figures(record("noise-distance", DISTANCES))
    assert list(figures) == [
        *("distance-against-n-ry_cnot", "cosine-against-n-ry_cnot"),
        *("distance-against-n-rx_cnot", "cosine-against-n-rx_cnot"),
    ]
    figure = figures["distance-against-n-rx_cnot"]
    assert axes(figure) == ("qubits N", "total variation distance to exact", None, None)
    kinds = ("gates", "gates, readout", "gates, readout, shots")
    names = [f"{device}: {kind}" for device in ("torino", "fez") for kind in kinds]
    assert [trace.name for trace in figure.data] == [*names, "shots alone"]
    assert (list(figure.data[-1].x), list(figure.data[-1].y)) == ([5, 7], [0.05, 0.07])


def test_perplexity_against_shots_and_strength() -> None:
    figures = study_figures(record("qaa-noise", QUALITIES, QUALITIES))
    shots, strength = figures["loss-against-shots"], figures["loss-against-strength"]
    assert axes(shots) == ("shots a circuit (logarithmic)", "nats a token above exact circuits", "log", None)
    assert axes(strength)[:1] == ("noise strength (logarithmic)",)
    assert [trace.name for trace in shots.data] == ["shots, no noise", "fez", "torino,shots=20x"]
    assert [trace.name for trace in strength.data] == ["depolarizing", "fez"]
    line, level, point = shots.data
    assert list(line.x) == list(level.x) == [100, 1000]
    assert list(level.y) == [0.1, 0.1]
    assert list(point.x) == [5120]
    assert list(line.error_y.array) == pytest.approx([0.3, 0.3])
    assert study_figures(record("qaa-noise", QUALITIES)) == {}


def test_tables_show_what_a_reader_wants() -> None:
    table = study_table(record("counts", COUNTS))
    assert table.caption == "a counts"
    assert table.columns[0] == "label"
    assert [row[-1] for row in table.rows] == ["yes", "NO", "-"]
    assert "47,248" in table.rows[2]
    assert len(study_table(record("gradient-variance", EVERY["gradient-variance"])).rows) == 12
    checks = study_table(record("gradient-check", CHECKS))
    assert [row[:5] for row in checks.rows] == [
        ("probabilities", "ry_cnot", "chain", "2", "2e-16"),
        ("embedded z", "ry_cnot", "chain", "2", "2e-16"),
    ]


def test_fits() -> None:
    assert fits_table(record("counts", COUNTS)) is None
    fits: list[StudyRow] = [
        {"layers": layers, "fit": f"log2 variance per {unit}", "slope": -1.25}
        for layers in ("first", "all")
        for unit in ("qubit", "doubling of L")
    ]
    table = fits_table(record("gradient-variance", EVERY["gradient-variance"], fits))
    assert table is not None
    assert table.rows == (("all", "log2 variance per qubit", "-1.25"),)


@pytest.mark.parametrize("study", EVERY)
def test_csv_holds_every_row_and_column(study: str, tmp_path: Path) -> None:
    rows = EVERY[study]
    path = write_study_csv(record(study, rows), tmp_path / "rows.csv")
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert len(read) == len(rows)
    assert set(read[0]) == {key for row in rows for key in row}
    for ours, theirs in zip(rows, read, strict=True):
        assert all(theirs[key] == ("" if value is None else str(value)) for key, value in ours.items())


def test_what_is_not_known_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"figures are known for gradient-check.*got a record of 'other'"):
        study_figures(record("other", COUNTS))
    assert len(study_table(record("other", COUNTS)).columns) == 6
    with pytest.raises(RecordError, match="at least one row"):
        write_study_csv(record("counts", []), tmp_path / "rows.csv")
