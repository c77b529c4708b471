"""The simulation of intervals: independent and dependent text, and that no committed verdict on a circuit moves."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "coverage.py"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    spec = spec_from_file_location("coverage_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "most_before"),
    [("AR(1), 0.5", 0.90), ("documents of 4, half", 0.90), ("WikiText-2, qpa - lora-r1", 0.91)],
)
def test_dependent_text_no_longer_gives_false_positives(coverage: ModuleType, name: str, most_before: float) -> None:
    found = coverage.simulate(coverage.texts()[name], 3, 100, 0.3, trials=400)
    # Three standard errors of 95 % of 400 trials are 3.3 %.
    assert found.before < most_before
    assert found.after > 0.917


def test_independent_text_pays_little(coverage: ModuleType) -> None:
    for blocks in (20, 100):
        found = coverage.simulate(coverage.texts()["independent"], 5, blocks, 0.3, trials=400)
        assert found.after > 0.917
        assert found.middle == pytest.approx(1, abs=0.05)
    assert found.high < 1.35


def test_where_seeds_dominate_the_text_changes_nothing(coverage: ModuleType) -> None:
    found = coverage.simulate(coverage.correlated(0.5), 3, 50, 5.0, trials=200)
    assert found.middle == pytest.approx(1, abs=0.05)
    assert found.after > 0.9


def test_texts_have_the_dependence_they_are_named_for(coverage: ModuleType) -> None:
    random = np.random.default_rng(1)
    for name, expected in {"AR(1), 0.7": 0.7, "documents of 4, half": 0.375, "independent": 0.0}.items():
        drawn = coverage.texts()[name](random, 400, 200)
        found = np.mean([np.corrcoef(row[1:], row[:-1])[0, 1] for row in drawn])
        assert found == pytest.approx(expected, abs=0.03), name
        assert drawn.var() == pytest.approx(1, abs=0.05)


def test_no_committed_verdict_on_a_circuit_changes(coverage: ModuleType) -> None:
    twins = 0
    for folder in coverage.folders():
        if any(folder.name.startswith(name) for name in ("ablate", "methods", "wikitext2")):
            _, pairs, _ = coverage.compared(folder)
            twins += len(pairs)
            assert coverage.changed(pairs) == [], folder.name
    assert twins >= 19


def test_the_page_lists_the_committed_verdicts(coverage: ModuleType) -> None:
    assert coverage.PAGE.read_text("utf-8").endswith(coverage.committed_verdicts())
