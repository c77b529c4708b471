"""qaa-complexity: what is timed, its circuits, and exponents of made-up times."""

from typing import Any

import pytest
import torch

from qpeft.records import StudyRow
from qpeft.training.studies.qaa_complexity import THEORY, Settings, exponent, layer, measure, passes
from qpeft.training.studies.study import silent
from qpeft.training.studies.timing import processor

SMALL = Settings(hidden_sizes=(12, 16, 40), tokens=2, turns=2, warm_up=0, fit_from=2)


def test_rows_hold_circuits_and_counts() -> None:
    found = measure(SMALL, silent)
    rows: dict[Any, StudyRow] = {(row["d"], row["layer"]): row for row in found.rows}
    assert len(rows) == 12
    paper = rows[12, "qaa paper"]
    assert (paper["n_qubits"], paper["state_size"], paper["gates"], paper["two_qubit_gates"]) == (4, 16, 7, 3)
    assert paper["trainable"] == 4 + 4 * 16, "W as wide as the register"
    assert rows[40, "qaa recommended"]["trainable"] == 2 * 6 + 6 * 40
    assert (rows[40, "linear"]["trainable"], rows[40, "lora"]["trainable"]) == (1600, 320)
    assert rows[40, "linear"]["n_qubits"] is None
    for row in found.rows:
        assert 0 < float(row["forward_ms"] or 0) < float(row["both_ms"] or 0)
    assert len(found.fits) == 2 * len(THEORY)


@pytest.mark.parametrize("name", THEORY)
def test_every_layer_reads_and_trains(name: str) -> None:
    module = layer(name, 12, 4)
    x = torch.randn(3, 12)
    assert module(x).shape == x.shape
    module(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())
    passes(module, x, processor)()
    assert all(p.grad is None for p in module.parameters()), "no gradient is carried from turn to turn"


def test_exponents_of_known_times() -> None:
    sizes = (256, 512, 1024, 2048)
    rows: list[StudyRow] = [{"d": d, "layer": "linear", "forward_ms": 1e-6 * d**1.5} for d in (16, *sizes)]
    rows[0]["forward_ms"] = 99.0  # left out by fit_from
    fit = exponent(rows, "linear", "forward", Settings(fit_from=256))
    assert fit is not None
    assert fit["exponent"] == pytest.approx(1.5)
    assert fit["theory_exponent"] == pytest.approx(2)
    assert (fit["theory"], fit["points"]) == ("O(d^2)", 4)
    assert exponent(rows, "linear", "forward", Settings(fit_from=2048)) is None


def test_d_log_d_grows_a_little_faster_than_d() -> None:
    rows: list[StudyRow] = [{"d": d, "layer": "qaa paper", "both_ms": float(d)} for d in (256, 1024, 8192)]
    fit = exponent(rows, "qaa paper", "both", Settings())
    assert fit is not None
    assert 1.1 < float(fit["theory_exponent"] or 0) < 1.2
