"""qaa-noise: a tiny adapter on every kind of backend; references, counters, seeds, intervals."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from qpeft.errors import ConfigError
from qpeft.quantum import ExactBackend
from qpeft.quantum.backends import noisy as place_of_noise
from qpeft.quantum.noise import noisy_observables
from qpeft.recipes import load_study
from qpeft.records import StudyRow, StudySpec, kept_study
from qpeft.training.studies import STUDIES, run_study
from qpeft.training.studies.qaa_noise import Place, Settings, finite, interval, measured_at, places, points, train
from qpeft.training.studies.study import Found, silent
from qpeft.tuners.qaa.place import run_modules_on


@pytest.fixture(scope="module")
def settings(base_folder: Path, texts: Path) -> Settings:
    return Settings.model_validate(
        {
            "model": str(base_folder),
            "data": {"name": str(texts), "format": "text", "max_length": 64},
            **{"steps": 4, "batch_size": 2, "learning_rate": 0.1, "seeds": [0, 1]},
            **{"shots": ["10", "2000"], "strengths": [1e-9, 0.2], "devices": ["fez"], "z_tokens": 8},
            "rows_noisy_shots": 2,
        }
    )


@pytest.fixture(scope="module")
def found(settings: Settings) -> Found:
    return STUDIES["qaa-noise"].measure(settings, silent)


def by_backend(rows: list[StudyRow], few: bool = False) -> dict[str, StudyRow]:
    """One seed's rows; those of few test rows come last."""
    kept = [row for row in rows if (row["rows"] == 2) == few]
    return {str(row["backend"]): row for row in kept}


def test_rows_are_the_points(found: Found, settings: Settings) -> None:
    assert len(found.rows) == 2 * len(places(settings)) == len(points(settings)) == 2 * 10
    assert [
        {key: row[key] for key in point} for row, point in zip(found.rows, points(settings), strict=True)
    ] == points(settings)
    assert [fit["backend"] for fit in found.fits] == [place.backend for place in places(settings)]


def test_exact_circuits_and_next_to_no_noise_differ_by_nothing(found: Found) -> None:
    rows = by_backend(found.rows[:10])
    assert (rows["exact"]["difference"], rows["exact"]["z_difference"]) == (0, 0)
    faint, strong = (rows[name] for name in rows if "depolarizing" in name)
    assert abs(float(faint["difference"] or 0)) < 1e-5
    assert 0 < float(faint["z_difference"] or 0) < 1e-6
    assert float(strong["z_rms"] or 0) < float(rows["exact"]["z_rms"] or 0), "depolarizing shortens z"


def test_few_rows_have_references_of_their_own(found: Found) -> None:
    rows, few = by_backend(found.rows[:10]), by_backend(found.rows[:10], few=True)
    assert list(few) == ["exact", "adapter off", "noisy:device=torino,shots=20x"]
    assert few["exact"]["difference"] == 0
    assert few["exact"]["perplexity"] != rows["exact"]["perplexity"]
    assert few["exact"]["tokens"] == few["noisy:device=torino,shots=20x"]["tokens"]


def test_more_shots_are_nearer(found: Found) -> None:
    for rows in (by_backend(found.rows[:10]), by_backend(found.rows[10:])):
        distances = [float(rows[f"sampled:shots={shots}"]["z_difference"] or 0) for shots in (10, 2000)]
        # The error of a mean falls with the root of the number: 200 times the shots, 14 times nearer.
        assert distances[0] / distances[1] == pytest.approx(200**0.5, rel=0.25)


def test_circuits_and_shots(found: Found) -> None:
    rows = by_backend(found.rows[:10])
    assert rows["exact"]["circuits"] is None
    noisy, sampled = rows["noisy:device=fez"], rows["sampled:shots=10"]
    assert noisy["circuits"] == sampled["circuits"]
    assert int(noisy["circuits"] or 0) % 4 == 0, "two layers with two circuits each"
    assert int(noisy["circuits"] or 0) >= 4 * int(noisy["tokens"] or 0)
    assert (noisy["shots_spent"], sampled["shots_spent"]) == (0, 10 * int(sampled["circuits"] or 0))
    few = by_backend(found.rows[:10], few=True)["noisy:device=torino,shots=20x"]
    assert few["shots"] == 20 * 2**5


def test_observables_go_back_once_a_module_and_forward(settings: Settings, tmp_path: Path, monkeypatch: Any) -> None:
    trained, calls, right = train(settings, 0, tmp_path), [], noisy_observables

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        return right(*arguments)

    monkeypatch.setattr(place_of_noise, "noisy_observables", counted)
    few = Place("device", "noisy:device=fez", few=True)
    measured_at(trained, few)
    # Two rows are two forward passes, and the readings are one more.
    assert len(calls) == len(trained.hidden) * (2 + 1)
    # The same seed measures the same shots.
    sampled = Place("shots", "sampled:shots=10", "10")
    first, second = measured_at(trained, sampled), measured_at(trained, sampled)
    assert first[:2] == second[:2]
    torch.testing.assert_close(first[2], second[2], atol=0, rtol=0)
    assert run_modules_on(trained.model, ExactBackend()).circuits == 0


def test_over_seeds(found: Found) -> None:
    one, other = (by_backend(rows)["sampled:shots=10"] for rows in (found.rows[:10], found.rows[10:]))
    (fit,) = (fit for fit in found.fits if fit["backend"] == "sampled:shots=10")
    mean = (float(one["difference"] or 0) + float(other["difference"] or 0)) / 2
    assert fit["difference"] == pytest.approx(mean)
    assert float(fit["low"] or 0) < mean < float(fit["high"] or 0)
    assert fit["perplexity"] == pytest.approx((float(one["perplexity"] or 0) * float(other["perplexity"] or 0)) ** 0.5)
    off = next(fit for fit in found.fits if fit["kind"] == "off")
    assert (off["of_gain"], off["z_difference"]) == (1, None)


def test_intervals() -> None:
    assert interval([1.5]) == (1.5, None, None)
    assert interval([1.0, float("nan")]) == (None, None, None)
    assert finite(float("inf")) is None


def test_a_record_holds_it(settings: Settings, found: Found, tmp_path: Path, monkeypatch: Any) -> None:
    spec = StudySpec(study="qaa-noise", settings=settings.model_dump(mode="json"))
    study = dataclasses.replace(STUDIES["qaa-noise"], measure=lambda *_: found)
    record = run_study(study, spec, tmp_path / "qaa.json")
    assert kept_study(spec, tmp_path / "qaa.json") == record


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("devices=[torinno]", "must be one of fez, torino.*nearest: torino"),
        ("shots=[x]", "shots must be a whole number such as 4096, or 20x"),
        ("strengths=[0]", "greater than 0"),
        ("qaa={source: mlp}", "must be one of circuit, frozen, no_entangler"),
    ],
)
def test_settings_are_refused_with_what_is_allowed(given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_study("qaa-noise", [given], {name: study.settings for name, study in STUDIES.items()})
