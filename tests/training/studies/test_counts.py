"""counts: every published count, from the packaged recipes and the real code."""

from typing import Any

import pytest

from qpeft.errors import ConfigError, ModelError
from qpeft.recipes import load_study
from qpeft.records import StudyRow
from qpeft.training.studies import STUDIES
from qpeft.training.studies.counts import Case, Settings, measure
from qpeft.training.studies.study import Found, silent

TINY = {"model_type": "gpt2", "n_embd": 16, "vocab_size": 50, "n_layer": 1, "n_head": 2}
MODELS = {name: study.settings for name, study in STUDIES.items()}


def packaged(name: str) -> Found:
    recipe = load_study(name, None, MODELS)
    return measure(Settings.model_validate(recipe.settings), silent)


def by_label(found: Found) -> dict[Any, StudyRow]:
    return {row["label"]: row for row in found.rows}


@pytest.mark.parametrize(
    ("name", "published", "closed"), [("counts-gpt2", 14, 13), ("counts-gemma", 12, 13), ("counts-gpt2-xl", 0, 3)]
)
def test_every_published_count_and_the_closed_form(name: str, published: int, closed: int) -> None:
    (fit,) = packaged(name).fits
    assert (fit["published"], fit["equal"]) == (published, published)
    assert (fit["closed_form"], fit["closed_form_equal"]) == (closed, closed)


def test_gpt2() -> None:
    found = packaged("counts-gpt2")
    rows = by_label(found)
    assert found.model["head"] == 38_597_376
    qpa = rows["QPA LoRA n_mlp=2048"]
    assert (qpa["n_qubits"], qpa["chunks"], qpa["angles"], qpa["adapter_numbers"]) == (7, 100, 56, 204100)
    assert qpa["effective"] == 18432 + 56
    assert int(1e4 * float(qpa["percent_of_adapter"] or 0)) == 520646, "52.06 % of LoRA, as printed"
    # Table 2 prints these percentages cut off, not rounded.
    percent = {label: int(100 * float(row["percent"] or 0)) for label, row in rows.items()}
    assert (percent["LoRA r=4"], percent["DoRA r=32"], percent["QPA LoRA n_mlp=2048"]) == (52, 436, 27)
    assert (percent["head prefix 512"], percent["FFA d/4"], percent["QPA FFA n_mlp=1024"]) == (101, 76, 18)


def test_gemma_and_gpt2_xl() -> None:
    rows = by_label(packaged("counts-gemma"))
    percent = {label: int(100 * float(row["percent"] or 0)) for label, row in rows.items()}
    assert (percent["head prefix 512"], percent["FFA d/4"], percent["QPA FFA n_mlp=1024"]) == (20, 40, 1)
    assert (percent["LoRA r=4"], percent["QPA LoRA n_mlp=4096"]) == (19, 3)
    assert rows["QPA FFA n_mlp=1024"]["trainable"] == 72632
    large = by_label(packaged("counts-gpt2-xl"))
    assert [f"{row['percent']:.2f}" for label, row in large.items() if "QPA" in label] == ["0.07", "0.09", "0.13"]
    assert large["LoRA r=2"]["trainable"] == 103714


def test_gpt_neo() -> None:
    found = packaged("counts-gpt-neo")
    rows = by_label(found)
    assert found.model["numbers"] == 125_198_592
    counts = {label: row["trainable"] for label, row in rows.items()}
    assert (counts["QAA, the paper's count"], counts["QAA, the paper's text"]) == (123_000, 184_560)
    assert (counts["LoRA r=4"], counts["SoRA r=8"], counts["SoRA r=4"]) == (147_456, 295_104, 147_552)
    assert (counts["prefix 8"], counts["prefix 20"], counts["full"]) == (147_456, 368_640, 125_198_592)
    paper = rows["QAA, the paper's count"]
    assert (paper["circuits"], paper["n_qubits"], paper["angles"]) == (12, 10, 120)


def test_a_count_that_was_printed_wrongly_shows() -> None:
    case = Case.model_validate(
        {"label": "x", "method": {"name": "lora", "r": 1, "target_modules": ["lm_head"]}, "published": 65}
    )
    (row,) = measure(Settings(model=TINY, cases=(case,)), silent).rows
    assert (row["trainable"], row["equal"]) == (66, False)


def test_the_closed_form_is_not_claimed_for_other_mappings() -> None:
    over = {"name": "lora", "r": 1, "target_modules": ["lm_head"]}
    options = [{}, {"preset": "released", "widths": [8]}, {"preset": "released", "source": "table"}]
    cases = [
        {"label": str(i), "method": {"name": "qpa", "n_mlp": 8, "over": over, **more}}
        for i, more in enumerate(options)
    ]
    found = measure(Settings.model_validate({"model": TINY, "cases": cases}), silent)
    assert [row["closed_form"] for row in found.rows] == [None, None, None]


def test_errors_name_the_model_and_the_method() -> None:
    case: dict[str, Any] = {"label": "x", "method": {"name": "lora", "r": 1, "target_modules": ["lm_head"]}}
    with pytest.raises(ConfigError, match=r"settings\.model must be fields .*gpt3"):
        measure(Settings.model_validate({"model": {"model_type": "gpt3"}, "cases": [case]}), silent)
    for method, message in (({"name": "lroa"}, "nearest: lora"), ({"name": "lora", "rank": 2}, "method.rank")):
        with pytest.raises(ConfigError, match=message):
            measure(Settings.model_validate({"model": TINY, "cases": [{"label": "x", "method": method}]}), silent)
    nowhere = {"label": "x", "method": {"name": "lora", "r": 1, "target_modules": ["nowhere"]}}
    settings = Settings.model_validate({"model": TINY, "cases": [nowhere]})
    with pytest.raises(ModelError, match="peft cannot put"):
        measure(settings, silent)
