"""Recipes of studies: every packaged one can run, settings are complete, faults have line and nearest key."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from qpeft.errors import ConfigError
from qpeft.recipes import load_study, packaged, packaged_studies
from qpeft.records.spec import Strict
from qpeft.training.studies import STUDIES

MODELS = {name: study.settings for name, study in STUDIES.items()}


class Settings(Strict):
    samples: int = Field(10, ge=2)
    sizes: tuple[int, ...] = (1, 2)
    kind: Literal["a", "b"] = "a"


TEST = {"test": Settings}


def write(folder: Path, text: str, name: str = "mine.yaml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def fault(folder: Path, text: str, given: list[str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_study(write(folder, text), given, TEST)
    return str(caught.value)


@pytest.mark.parametrize("name", packaged_studies())
def test_every_packaged_study_can_run(name: str) -> None:
    path = packaged_studies()[name]
    recipe = load_study(name, None, MODELS)
    assert recipe.title
    assert recipe.paper
    assert path.read_text("utf-8").startswith("# ")
    study = STUDIES[recipe.study]
    settings = study.settings.model_validate(recipe.settings)
    assert settings.model_dump(mode="json") == recipe.settings, "reading again changes nothing"
    assert len(study.points(settings)) > 0


def test_every_study_ships_and_no_comparison_has_its_name() -> None:
    assert {load_study(name, None, MODELS).study for name in packaged_studies()} == set(STUDIES)
    assert not set(packaged()) & set(packaged_studies())


def test_defaults_are_filled_in_so_that_equal_studies_have_equal_identities(tmp_path: Path) -> None:
    plain = load_study(write(tmp_path, "title: t\nstudy: test\n"), None, TEST)
    spelt = load_study(write(tmp_path, "title: u\nstudy: test\nsettings: {samples: 10}\n"), ["sizes=[1, 2]"], TEST)
    changed = load_study(write(tmp_path, "title: t\nstudy: test\n"), ["samples=11"], TEST)
    assert plain.settings == {"samples": 10, "sizes": [1, 2], "kind": "a"}
    assert plain.spec().identity() == spelt.spec().identity() != changed.spec().identity()
    assert load_study(str(tmp_path / "mine.yaml"), ["settings.samples=11"], TEST) == changed


def test_extends(tmp_path: Path) -> None:
    write(tmp_path, "title: t\nstudy: test\nsettings: {samples: 4, kind: b}\n", "parent.yaml")
    recipe = load_study(write(tmp_path, "extends: parent.yaml\nsettings: {samples: 5}\n"), None, TEST)
    assert (recipe.title, recipe.settings["samples"], recipe.settings["kind"]) == ("t", 5, "b")


def test_faults_name_place_key_value_and_what_is_near(tmp_path: Path) -> None:
    text = "title: t\nstudy: test\nsettings:\n  sample: 3\n  kind: c\n"
    assert fault(tmp_path, text).splitlines() == [
        "mine.yaml:5: settings.kind: Input should be 'a' or 'b'; got 'c'",
        "mine.yaml:4: settings.sample is not a key; nearest: samples; allowed: samples, sizes, kind",
    ]
    body = "title: t\nstudy: test\n"
    assert fault(tmp_path, body, ["samples=1"]).startswith("--set: settings.samples: ")
    assert fault(tmp_path, body, ["samples"]).endswith("got 'samples'")
    assert "mine.yaml: study must be one of test; got 'tset'; nearest: test" in fault(
        tmp_path, "title: t\nstudy: tset\n"
    )
    assert fault(tmp_path, "study: test\nsetting: {}\n").splitlines() == [
        "mine.yaml: title is required",
        "mine.yaml:2: setting is not a key; nearest: settings; allowed: title, description, study, settings, paper",
    ]


def test_unknown_names_show_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"a study's name \(.*counts-gpt2.*\) or a YAML .*nearest: counts-gpt2"):
        load_study("count-gpt2", None, MODELS)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("gradient-variance", "samples=1", "greater than or equal to 2; got 1"),
        ("gradient-variance", "presets=[relesed]", "must be one of equations, released.*nearest: released"),
        ("gradient-variance", "hidden_size=8", "belong to head: random"),
        ("gradient-variance", "head=random", "both are needed there"),
        ("gradient-check", "ansatze=[ry]", "must be one of ry_cnot"),
        ("counts-gpt2", "share_of=body", "'head' or 'model'; got 'body'"),
        ("counts-gpt2", "cases=[{label: x}]", r"settings\.cases\.0\.method is required"),
        ("step-time", "step=3", "settings.step is not a key; nearest: steps"),
        ("qaa-complexity", "tokens=0", "greater than or equal to 1; got 0"),
        ("noise-distance", "device=fez", "settings.device is not a key; nearest: devices"),
        ("qaa-noise", "data={lines: 3}", r"settings\.data\.lines is not a key"),
    ],
)
def test_settings_of_every_study_are_strict(name: str, given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_study(name, [given], MODELS)
