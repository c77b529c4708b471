"""Finished runs come back: measured to the same numbers, exported only where the logits are those of training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from qpeft.cli import run as command_line
from qpeft.errors import ExportError, RecordError
from qpeft.records import RECORD, RunRecord, RunSpec
from qpeft.training.callbacks import Silent
from qpeft.training.reload import export_run, measure_saved, open_run
from qpeft.training.run import ADAPTER, PROBE, train_run
from tiny_models import save_tiny_base, tiny_tokenizer

MakeSpec = Callable[..., RunSpec]
HEAD = {"name": "lora", "options": {"r": 2, "target_modules": ["v_proj", "lm_head"]}}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "options": {"r": 2, "target_modules": ["q_proj", "v_proj"]}},
    "head": HEAD,
    "saved": {"name": "lora", "options": {"r": 2, "target_modules": ["v_proj"], "modules_to_save": ["lm_head"]}},
    "qpa": {"name": "qpa", "options": {"n_mlp": 16, "depth": 2}, "over": HEAD},
    "prefix": {"name": "prefix", "options": {"num_virtual_tokens": 2}},
    "full": {"name": "full"},
    "base": {"name": "base"},
}
ADAPTERS = ["lora", "head", "saved", "qpa", "prefix"]

BOTH = ["perplexity", "perplexity_without_end"]
PADDED = ["perplexity_padded", "padded_share_real", "padded_nll_pad"]


@pytest.fixture(scope="module")
def runs(make_spec: MakeSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, RunRecord]]:
    """Folder and record of one finished run a method; the rate is high, so that every adapter matters."""
    root = tmp_path_factory.mktemp("runs")
    train = {"learning_rate": 0.1, "steps": 4}
    return {
        name: (root / name, train_run(make_spec(method, label=name, train=train), root / name))
        for name, method in METHODS.items()
    }


@pytest.fixture
def run(request: pytest.FixtureRequest, runs: dict[str, tuple[Path, RunRecord]], tmp_path: Path) -> Path:
    """A copy of a finished run to damage."""
    return shutil.copytree(runs[getattr(request, "param", "lora")][0], tmp_path / "run")


def refused(run: Path, out: Path, *, merge: bool = False, kind: type[Exception] = ExportError) -> str:
    """The message of a refused export, which must leave nothing behind."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(kind) as caught:
        export_run(run, out, merge=merge)
    assert sorted(out.parent.iterdir()) == before
    return str(caught.value)


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_saved_run_measures_the_same(name: str, split: Any, runs: dict[str, tuple[Path, RunRecord]]) -> None:
    folder, record = runs[name]
    found = measure_saved(folder, data=None, split=split, padded=True)
    assert found == [metric for metric in record.metrics if metric.split == split]
    assert [metric.name for metric in found] == BOTH + PADDED * (split == "test")


def test_training_moved_every_method(runs: dict[str, tuple[Path, RunRecord]]) -> None:
    values = [record.metric("perplexity") for _, record in runs.values()]
    assert len(set(values)) == len(values)


def test_other_data_and_no_padded_measure(
    runs: dict[str, tuple[Path, RunRecord]], texts: Path, tmp_path: Path
) -> None:
    folder, record = runs["lora"]
    (tmp_path / "train.txt").write_text("other words\nmore of them\nand again\n")
    (tmp_path / "valid.txt").write_text("a line\n")
    shutil.copy(texts / "test.txt", tmp_path / "test.txt")
    assert [m.name for m in measure_saved(folder, data=str(tmp_path), split="test", padded=False)] == BOTH
    same = measure_saved(folder, data=str(tmp_path), split="test", padded=True)
    assert [m.value for m in same] == [m.value for m in record.metrics if m.split == "test"]
    other = measure_saved(folder, data=str(tmp_path), split="valid", padded=True)
    assert other[0].value != record.metric("perplexity", "valid")


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_exported_adapter_is_stock_peft(
    name: str, runs: dict[str, tuple[Path, RunRecord]], base_folder: Path, tmp_path: Path
) -> None:
    result = export_run(runs[name][0], tmp_path / "deep" / "out", merge=False)
    assert (result.kind, result.difference) == ("peft adapter", 0.0)
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    model = peft.PeftModel.from_pretrained(base, str(tmp_path / "deep" / "out")).eval()
    probe = load_file(runs[name][0] / PROBE)
    with torch.no_grad():
        assert torch.equal(model(input_ids=probe["input_ids"]).logits[:, -1], probe["logits"])


@pytest.mark.parametrize("name", ["lora", "head", "saved", "qpa"])
def test_a_merged_model_needs_transformers_only(
    name: str, runs: dict[str, tuple[Path, RunRecord]], base_folder: Path, tmp_path: Path
) -> None:
    result = export_run(runs[name][0], tmp_path / "out", merge=True)
    assert result.kind == "merged model"
    assert result.difference < 1e-4
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not any(name.startswith("adapter") for name in names)
    probe = load_file(runs[name][0] / PROBE)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        found = model(input_ids=probe["input_ids"]).logits[:, -1]
        plain = AutoModelForCausalLM.from_pretrained(base_folder)(input_ids=probe["input_ids"]).logits[:, -1]
    assert (found - probe["logits"]).abs().max() < 1e-4
    assert (plain - probe["logits"]).abs().max() > 1e-2, "the adapter changes too little to test anything"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_exports_too(dtype: str, make_spec: MakeSpec, base_folder: Path, tmp_path: Path) -> None:
    spec = make_spec(METHODS["lora"], model={"name": str(base_folder), "dtype": dtype})
    train_run(spec, tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "adapter", merge=False)
    export_run(tmp_path / "run", tmp_path / "merged", merge=True)
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == dtype


def test_a_tied_model_with_an_adapted_head_merges(make_spec: MakeSpec, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(7)
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    tied = GPT2LMHeadModel(GPT2Config(vocab_size=len(tiny_tokenizer()), **sizes))
    folder = save_tiny_base(tmp_path / "gpt2", tied)
    method = {"name": "lora", "options": {"r": 2, "target_modules": ".*head"}}
    spec = make_spec(method, model={"name": str(folder)}, train={"learning_rate": 0.1})
    told: list[str] = []

    class Listener(Silent):
        def note(self, message: str) -> None:
            told.append(message)

    record = train_run(spec, tmp_path / "run", Listener())
    assert told == record.notes
    assert "untied" in told[0]
    found = measure_saved(tmp_path / "run", data=None, split="test", padded=True)
    assert found == [metric for metric in record.metrics if metric.split == "test"]
    assert export_run(tmp_path / "run", tmp_path / "merged", merge=True).difference < 1e-4


@pytest.mark.parametrize("merge", [False, True])
def test_an_existing_folder_is_never_touched(merge: bool, run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    assert "must be new" in refused(run, tmp_path / "out", merge=merge)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_damaged_adapter_is_refused(file: str, damage: str, run: Path, tmp_path: Path) -> None:
    path = run / ADAPTER / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "cut" else b"")
    message = refused(run, tmp_path / "out")
    assert f"{file} is missing" in message if damage == "missing" else "cannot be loaded" in message
    with pytest.raises(ExportError):
        measure_saved(run, data=None, split="test", padded=True)


def test_an_adapter_with_a_tensor_lost_is_refused(run: Path, tmp_path: Path) -> None:
    path = run / ADAPTER / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors.pop(next(name for name in tensors if "lora_B" in name))
    save_file(tensors, path, metadata={"format": "pt"})
    assert "missing adapter keys" in refused(run, tmp_path / "out")
    with pytest.raises(ExportError, match="missing adapter keys"):
        measure_saved(run, data=None, split="test", padded=True)


@pytest.mark.parametrize("merge", [False, True])
def test_an_adapter_of_another_run_is_refused(merge: bool, run: Path, tmp_path: Path) -> None:
    path = run / ADAPTER / "adapter_model.safetensors"
    tensors = {name: tensor * 1.5 for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    message = refused(run, tmp_path / "out", merge=merge)
    assert "the saved adapter computes other logits than the trained model did" in message
    assert message.endswith("nothing was exported")


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_without_the_logits_of_training_nothing_is_exported(damage: str, run: Path, tmp_path: Path) -> None:
    probe = run / PROBE
    content = probe.read_bytes()
    probe.unlink()
    if damage == "cut":
        probe.write_bytes(content[:50])
    assert "train the run again" in refused(run, tmp_path / "out")


@pytest.mark.parametrize("run", ["prefix"], indirect=True)
def test_what_cannot_be_merged_says_so(run: Path, tmp_path: Path) -> None:
    message = refused(run, tmp_path / "out", merge=True)
    assert message.startswith("an adapter of type PREFIX_TUNING cannot be merged into the model")
    assert message.endswith("export it without --merge")


@pytest.mark.parametrize(("name", "way"), [("base", "the base model is unchanged"), ("full", "full/model")])
def test_runs_without_adapter_have_none_to_export(
    name: str, way: str, runs: dict[str, tuple[Path, RunRecord]], tmp_path: Path
) -> None:
    message = refused(runs[name][0], tmp_path / "out", kind=RecordError)
    assert f"is a run of {name!r}, which has no adapter to export" in message
    assert message.endswith(way)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    assert "record was expected" in refused(tmp_path / "none", tmp_path / "out", kind=RecordError)
    with pytest.raises(RecordError, match="record was expected"):
        open_run(tmp_path / "none")


def test_a_failing_check_leaves_no_draft(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    refused(run, tmp_path / "out", kind=OSError)


def test_the_command_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((run / RECORD).read_text())
    assert command_line(["eval", str(run)]) == 0
    shown = capsys.readouterr().out
    assert all(f"{metric['value']:.5f}" in shown for metric in record["metrics"] if metric["split"] == "test")
    assert command_line(["eval", str(run), "--split", "valid", "--no-padded"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(BOTH)
    assert command_line(["export", str(run), str(tmp_path / "out"), "--merge"]) == 0
    assert f"merged model written to {tmp_path / 'out'}" in capsys.readouterr().out
    assert command_line(["export", str(run), str(tmp_path / "out")]) == 1
    assert "must be new" in capsys.readouterr().err
