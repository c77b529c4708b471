"""What a run was made of: its data and its base are compared before its numbers are used again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from safetensors.torch import load_file, save_file

from qpeft.cli import run as command_line
from qpeft.errors import DataError, RecordError
from qpeft.records import RECORD, RunSpec, read_record
from qpeft.training.origin import base_changes, check_origin
from qpeft.training.reload import export_run, measure_saved
from qpeft.training.run import train_run

MakeSpec = Callable[..., RunSpec]
WAYS = "put the former files back, or name another folder, or delete this one to run again"


@pytest.fixture
def own(make_spec: MakeSpec, base_folder: Path, texts: Path, tmp_path: Path) -> RunSpec:
    """A run on copies of the base and the texts, which a test may change."""
    shutil.copytree(base_folder, tmp_path / "base")
    shutil.copytree(texts, tmp_path / "texts")
    data = {"name": str(tmp_path / "texts"), "format": "text", "max_length": 32}
    return make_spec(model={"name": str(tmp_path / "base")}, data=data, train={"checkpoint_steps": 1})


def change_weights(base: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"] + 1
    save_file(tensors, base / "model.safetensors", {"format": "pt"})


def change_config(base: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))


def change_tokenizer(base: Path) -> None:
    path = base / "tokenizer.json"
    body = json.loads(path.read_text())
    vocabulary = body["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(body))


CHANGES = {"weights": change_weights, "config.json": change_config, "tokenizer.json": change_tokenizer}


@pytest.mark.parametrize("part", CHANGES)
def test_a_base_that_was_replaced_is_not_used_in_its_place(part: str, own: RunSpec, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train_run(own, folder)
    CHANGES[part](tmp_path / "base")
    told = rf"base model .*base is not the one the run in .*run was trained on: .*{part} \(\w{{12}}, now \w{{12}}\)"
    with pytest.raises(RecordError, match=told + f"; {WAYS}"):
        train_run(own, folder)
    with pytest.raises(RecordError, match=told):
        measure_saved(folder, data=None, split="test", padded=False)
    with pytest.raises(RecordError, match=told):
        export_run(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_old_result_is_not_shown_for_other_data(
    own: RunSpec, tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    record = train_run(own, folder)
    assert record.meta_info.dataset_info["files"].keys() == {"train.txt", "valid.txt", "test.txt"}
    train = tmp_path / "texts" / "train.txt"
    train.write_text(train.read_text().replace("bell", "horn"))
    told = r"data texts are not those the run in .*run was made of: train.txt \(\w+, now \w+\); texts \(\w+, now \w+\)"
    with pytest.raises(RecordError, match=told + f"; {WAYS}"):
        train_run(own, folder)
    with pytest.raises(RecordError, match=told):
        measure_saved(folder, data=None, split="test", padded=False)
    assert command_line(["eval", str(folder)]) == 1
    assert "train.txt" in capsys.readouterr().err
    # Other data on purpose, and a file that only looks different, are no change of the run's data.
    assert measure_saved(folder, data=str(texts), split="test", padded=False)
    train.write_bytes((texts / "train.txt").read_bytes().replace(b"\n", b"\r\n"))
    assert train_run(own, folder) == record
    train.unlink()
    with pytest.raises(DataError, match="must hold a train file"):
        train_run(own, folder)


def test_a_resume_does_not_train_on_both_texts(own: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    folder, train = tmp_path / "run", tmp_path / "texts" / "train.txt"
    with monkeypatch.context() as patch:
        patch.setattr("qpeft.training.run.measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_run(own, folder)
    before = train.read_text()
    train.write_text(before.replace("bell", "horn"))
    with pytest.raises(RecordError, match=r"data texts are not those .*: train.txt \(.*\); texts"):
        train_run(own, folder)
    train.write_text(before)
    change_weights(tmp_path / "base")
    with pytest.raises(RecordError, match=r"base model .* weights \("):
        train_run(own, folder)
    shutil.rmtree(folder / "checkpoints")
    record = train_run(own, folder)
    assert record.meta_info.model_info["sha256"] == read_record(folder / RECORD).meta_info.model_info["sha256"]


def test_what_only_one_record_tells_is_no_difference() -> None:
    old = {"name": "x", "sha256": "a" * 64}
    new = old | {"files": {"config.json": "b" * 64}}
    assert base_changes(old, new) == base_changes(new, old) == []
    hub = {"name": "x", "sha256": None, "commit": "c" * 40}
    assert base_changes(hub, {"sha256": None}) == []
    assert base_changes(hub, hub | {"commit": "d" * 40}) == ["commit on the hub (cccccccccccc, now dddddddddddd)"]
    assert base_changes(old, {"sha256": None}) == ["weights (aaaaaaaaaaaa, now missing)"]


def test_a_record_without_digests_of_files_is_compared_by_what_it_has(own: RunSpec, tmp_path: Path) -> None:
    record = train_run(own, tmp_path / "run")
    meta = record.meta_info
    kept = {key: value for key, value in meta.dataset_info.items() if key != "files"}
    model = {key: value for key, value in meta.model_info.items() if key != "files"}
    old = record.model_copy(update={"meta_info": meta.model_copy(update={"dataset_info": kept, "model_info": model})})
    check_origin(old, tmp_path)
    (tmp_path / "texts" / "test.txt").write_text("another line\n")
    with pytest.raises(RecordError, match=r"made of: texts \("):
        check_origin(old, tmp_path)


def test_digests_follow_the_file_and_not_the_time(tmp_path: Path) -> None:
    from qpeft.training.digests import data_files

    (tmp_path / "train.txt").write_text("a")
    first = data_files(str(tmp_path))
    (tmp_path / "notes.md").write_text("no data")
    assert data_files(str(tmp_path)) == first == {"train.txt": first["train.txt"]}
    (tmp_path / "train.txt").write_text("b")
    assert data_files(str(tmp_path)) != first
    assert data_files("someone/dataset") == data_files("embedded") == {}
