"""step-time: contestants share one model and do not disturb each other; rows and published ratios."""

from typing import Any

import pytest
import torch

from qpeft.recipes import load_study
from qpeft.training.studies import STUDIES
from qpeft.training.studies.step_time import Contestant, Settings, lora_model, measure, points, published_ratio
from qpeft.training.studies.study import Found, silent

SMALL = Settings.model_validate(
    {
        "model": {"model_type": "gpt2", "n_embd": 16, "vocab_size": 60, "n_layer": 1, "n_head": 2},
        **{"tokens": 6, "n_mlp": [16, 64], "steps": 3, "warm_up": 1},
        "published": {"lora_seconds": 10, "seconds": {16: 35}},
    }
)


@pytest.fixture(scope="module")
def found() -> Found:
    return measure(SMALL, silent)


def test_rows(found: Found) -> None:
    lora, *generated = found.rows
    assert lora["trainable"] == 4 * (16 + 60)
    assert lora["ratio"] == 1.0
    assert lora["generator_ms"] is None
    assert [(row["preset"], row["n_mlp"], row["n_qubits"]) for row in generated] == [
        *(("released", 16, 5), ("released", 64, 3), ("recommended", 16, 5), ("recommended", 64, 3))
    ]
    assert [row["published_ratio"] for row in found.rows] == [None, 3.5, None, None, None]
    for row in generated:
        assert float(row["generator_share"] or 0) > 0
        assert float(row["step_ms_q25"] or 0) <= float(row["step_ms"] or 0) <= float(row["step_ms_q75"] or 0)
    assert found.model["numbers"] == (1024 + 60) * 16 + 12 * 16**2 + 13 * 16 + 2 * 16, "GPT-2's, its head tied"


def test_each_contestant_trains_as_if_alone() -> None:
    """Three steps in turns give the numbers of three steps alone."""

    def adapters(together: bool) -> list[Any]:
        model, _ = lora_model(SMALL)
        model.eval()  # dropout would draw different masks
        contestants = [Contestant(model, SMALL, point) for point in points(SMALL)]
        if together:
            for _ in range(3):
                for contestant in contestants:
                    contestant()
        else:
            for contestant in contestants:
                for _ in range(3):
                    contestant()
        return [contestant.own for contestant in contestants]

    alone, shared = adapters(False), adapters(True)
    start = Contestant(lora_model(SMALL)[0], SMALL, points(SMALL)[0]).own
    for ours, theirs in zip(alone, shared, strict=True):
        for a, b, first in zip(ours, theirs, start, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
            assert not torch.equal(a, first)


@pytest.mark.parametrize(("name", "low", "high"), [("step-time", 2.50, 3.52), ("step-time-gemma", 2.19, 3.65)])
def test_published_ratios_are_those_of_the_tables(name: str, low: float, high: float) -> None:
    recipe = load_study(name, None, {key: study.settings for key, study in STUDIES.items()})
    settings = Settings.model_validate(recipe.settings)
    found = [ratio for point in points(settings) if (ratio := published_ratio(point, settings.published))]
    assert len(found) == 6
    assert (round(min(found), 2), round(max(found), 2)) == (low, high)
