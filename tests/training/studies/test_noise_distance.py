"""noise-distance: known distances, cosines that are one where they must be, what each gradient spends."""

import math

import pytest
import torch

from qpeft.circuits import build_ansatz
from qpeft.errors import ConfigError
from qpeft.quantum import Execution, Shots, probabilities
from qpeft.recipes import load_study
from qpeft.training.studies import STUDIES
from qpeft.training.studies.gradient_check import draw_angles, normal, of_leaf
from qpeft.training.studies.noise_distance import (
    DISTANCES,
    WAYS,
    Settings,
    distances,
    gradient_of,
    measure,
    points,
    squared_distance,
    total_variation,
)
from qpeft.training.studies.study import Found, silent

SMALL = Settings(ansatze=("ry_cnot",), qubits=(2, 3), depth=2, samples=3, shift_samples=1, shots="2000")


@pytest.fixture(scope="module")
def found() -> Found:
    return measure(SMALL, silent)


def test_every_circuit_on_every_device(found: Found) -> None:
    assert [{key: row[key] for key in point} for row, point in zip(found.rows, points(SMALL), strict=True)] == points(
        SMALL
    )
    for row in found.rows:
        assert all(0 < float(row[name] or 0) < 0.2 for name in DISTANCES)
        # Readout errors of devices are larger than those of so few gates.
        assert float(row["tv_gates"] or 0) < float(row["tv_readout"] or 0)
        assert row["gates_cz"] == 2 * (int(row["n_qubits"] or 0) - 1)
        assert int(row["gates_sx"] or 0) > 0


def test_cosines(found: Found) -> None:
    for row in found.rows:
        assert row["cos_surrogate"] == pytest.approx(1, abs=1e-9), "a loss c . p has one gradient at every p"
        assert 0.9 < float(row["cos_surrogate_square"] or 0) < 1
        assert float(row["cos_noisy"] or 0) > 0.99
        assert float(row["cos_shift"] or 0) > 0.9
        assert float(row["cos_spsa"] or 0) < float(row["cos_shift"] or 0)


def test_what_each_gradient_spends(found: Found) -> None:
    for row in found.rows:
        angles = 2 * int(row["n_qubits"] or 0)
        circuits = {"noisy": 1, "surrogate": 1, "shift": 1 + 2 * angles, "spsa": 1 + 2 * 4}
        assert {way: row[f"circuits_{way}"] for way in WAYS} == circuits
        assert {way: row[f"shots_{way}"] for way in WAYS} == {
            way: 0 if way == "noisy" else 2000 * count for way, count in circuits.items()
        }


def test_shots_alone_know_no_device_and_seeds_reproduce(found: Found) -> None:
    half = len(found.rows) // 2
    assert [row["tv_shots_only"] for row in found.rows[:half]] == [row["tv_shots_only"] for row in found.rows[half:]]
    one = Settings(
        devices=("fez",), ansatze=("ry_cnot",), qubits=(2,), depth=2, samples=3, shift_samples=1, shots="2000"
    )
    assert measure(one, silent).rows == [found.rows[half]]
    assert measure(one.model_copy(update={"seed": 1}), silent).rows != [found.rows[half]]


def test_distances_grow_with_the_register(found: Found) -> None:
    assert [fit["device"] for fit in found.fits] == ["torino", "fez"]
    for fit, rows in zip(found.fits, (found.rows[:2], found.rows[2:]), strict=True):
        small, large = (float(row["tv_gates"] or 0) for row in rows)
        assert fit["tv_gates_per_qubit"] == pytest.approx(large - small)
    single = measure(SMALL.model_copy(update={"qubits": (2,), "devices": ("fez",)}), silent)
    assert single.fits[0]["tv_gates_per_qubit"] is None


def test_shot_noise_is_that_of_a_multinomial() -> None:
    """The mean distance of frequencies is sum_i sqrt(2 p_i (1 - p_i) / (pi shots)) / 2 for many shots."""
    circuit, shots = build_ansatz("ry_cnot", 3, 2), 4000
    angles = draw_angles(circuit, torch.Generator().manual_seed(2))
    p = probabilities(circuit, angles)
    expected = float((p * (1 - p) * 2 / (math.pi * shots)).sqrt().sum() / 2)
    found = [distances(circuit, angles, "fez", Shots(shots), seed)["tv_shots_only"] for seed in range(150)]
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.1)


def test_without_noise_the_ways_agree_with_the_exact_gradient() -> None:
    circuit, generator = build_ansatz("rx_cnot", 2, 2), torch.Generator().manual_seed(1)
    angles, target = draw_angles(circuit, generator), normal(generator, 4).softmax(-1)
    exact = of_leaf(angles, lambda leaf: squared_distance(probabilities(circuit, leaf), target))
    for gradient in ("autograd", "surrogate", "shift"):
        found, _ = gradient_of(
            circuit, angles, lambda p: squared_distance(p, target), Execution.open("exact", gradient)
        )
        torch.testing.assert_close(found, exact, atol=1e-12, rtol=0)


def test_total_variation_of_disjoint_distributions_is_one() -> None:
    assert total_variation(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.5, 0.5])) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("devices=[torinno]", "must be one of fez, torino.*nearest: torino"),
        ("shots=many", "shots must be a whole number such as 4096, or 20x"),
        ("qubits=[13]", "less than or equal to 12"),
    ],
)
def test_settings_are_refused_with_what_is_allowed(given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_study("noise-distance", [given], {name: study.settings for name, study in STUDIES.items()})
