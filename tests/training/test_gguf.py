"""Models from .gguf files: equal to what was written and to transformers' own reading; errors; what the file loses."""

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from qpeft.errors import MissingExtraError, ModelError
from qpeft.qpa import save_adapter
from qpeft.records import MethodSpec, ModelSpec, RunSpec
from qpeft.training.catalogue import WHEEL, wheel_file
from qpeft.training.models import fingerprint, load_base, load_tokenizer
from qpeft.training.reload import load_adapter
from qpeft.training.run import train_run
from tiny_gguf import TEMPLATE, save_tiny_gguf

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    save_tiny_gguf(path, quantised=True)
    return path


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids).logits
    return found


def test_a_file_of_floats_is_the_model_that_was_written(tmp_path: Path, ids: torch.Tensor) -> None:
    written = save_tiny_gguf(tmp_path / "a.gguf")
    base = load_base(str(tmp_path / "a.gguf"))
    assert torch.equal(logits(base.model, ids), logits(written, ids))
    assert base.notes == []

    assert base.tokenizer.decode(base.tokenizer("two bells").input_ids) == "two bells"
    assert base.tokenizer.chat_template == TEMPLATE
    assert base.info["sha256"] == fingerprint(tmp_path / "a.gguf") is not None


def test_blocks_are_unpacked_as_transformers_does_and_rounded_to_the_dtype(file: Path) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    ours = load_base(str(file)).model
    half = load_base(ModelSpec(name=str(file), dtype="bfloat16")).model
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor)
        assert torch.equal(half.state_dict()[name], tensor.bfloat16())


def test_each_reading_is_a_model_of_its_own_until_the_file_changes(file: Path, tmp_path: Path) -> None:
    first, second = load_base(str(file)), load_base(str(file))
    with torch.no_grad():
        first.model.lm_head.weight.zero_()
    first.tokenizer.add_tokens(["<new>"])
    assert second.model.lm_head.weight.abs().sum() > 0
    assert load_base(str(file)).model.lm_head.weight.abs().sum() > 0
    assert len(load_tokenizer(str(file))) == len(second.tokenizer) < len(first.tokenizer)
    other = tmp_path / "b.gguf"
    save_tiny_gguf(other)
    before = load_base(str(other)).model.state_dict()["lm_head.weight"]
    save_tiny_gguf(other, quantised=True)
    assert not torch.equal(load_base(str(other)).model.state_dict()["lm_head.weight"], before)


def test_an_adapter_trained_on_a_file_loads_on_its_folder_and_back(
    file: Path, tmp_path: Path, ids: torch.Tensor
) -> None:
    base = load_base(str(file))
    base.model.save_pretrained(tmp_path / "folder")
    base.tokenizer.save_pretrained(tmp_path / "folder")
    folder = load_base(str(tmp_path / "folder"))
    assert torch.equal(logits(folder.model, ids), logits(base.model, ids))
    for name, trained_on, loaded_on in (
        ("one", str(file), folder),
        ("two", str(tmp_path / "folder"), load_base(str(file))),
    ):
        config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear", init_lora_weights=False)
        adapted = peft.get_peft_model(load_base(trained_on).model, config)
        save_adapter(adapted, tmp_path / name)
        assert torch.equal(logits(load_adapter(loaded_on, tmp_path / name), ids), logits(adapted, ids))
    assert f'from_pretrained("{file.parent}", gguf_file="{file.name}")' in (tmp_path / "one" / "README.md").read_text()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_trains_on_a_file_and_saves(method: str, file: Path, texts: Path, tmp_path: Path) -> None:
    options = {"target_modules": "all-linear"} if method == "lora" else {}
    spec = RunSpec.model_validate(
        {
            "method": MethodSpec(name=method, options=options), "label": method, "model": {"name": str(file)},
            "data": {"name": str(texts), "max_length": 16}, "train": {"steps": 2, "batch_size": 2},
        }
    )  # fmt: skip
    record = train_run(spec, tmp_path / "run")
    assert record.meta_info.model_info["sha256"] == fingerprint(file)
    assert record.metric("perplexity") is not None
    if method == "full":
        assert load_base(str(tmp_path / "run" / "model")).notes == []


@pytest.mark.parametrize("damage", ["no-magic", "no-architecture", "cut-header", "cut-tensors", "empty"])
def test_a_damaged_file_is_one_error_in_one_line(damage: str, file: Path, tmp_path: Path) -> None:
    whole, bad = file.read_bytes(), tmp_path / "bad.gguf"
    body = {
        "no-magic": b"GGML" + whole[4:],
        "no-architecture": whole.replace(b"general.architecture", b"general.architectura"),
        "cut-header": whole[:2000],
        "cut-tensors": whole[:-4000],
        "empty": b"",
    }
    bad.write_bytes(body[damage])
    with pytest.raises(ModelError, match=r"bad\.gguf must be a whole \.gguf file .* Fetch the file again") as caught:
        load_base(str(bad))
    assert "\n" not in str(caught.value)


def test_an_architecture_transformers_does_not_know_is_named(tmp_path: Path) -> None:
    save_tiny_gguf(tmp_path / "a.gguf", architecture="whatnot")
    with pytest.raises(ModelError, match="architecture whatnot is not supported"):
        load_base(str(tmp_path / "a.gguf"))


def test_a_tensor_that_finds_no_place_is_refused(tmp_path: Path) -> None:
    """llama.cpp keeps the scaling of Llama 3's rotary positions in this tensor; transformers leaves it out."""
    save_tiny_gguf(tmp_path / "a.gguf", extra=("rope_freqs.weight", np.ones(8, np.float32)))
    with pytest.raises(ModelError, match=r"1 left over \(rope_freqs\.weight\)\. Transformers does not read .* rotary"):
        load_base(str(tmp_path / "a.gguf"))
    base = load_base(ModelSpec(name=str(tmp_path / "a.gguf"), unfit=("rope_freqs.weight",)))
    assert base.notes == ["in the model's files, not used: rope_freqs.weight"]


def test_what_transformers_makes_different_is_told(tmp_path: Path) -> None:
    save_tiny_gguf(tmp_path / "a.gguf", pre="smollm")
    (note,) = load_base(str(tmp_path / "a.gguf")).notes
    assert note.endswith("its pre-tokenizer 'smollm' became GPT-2's; digits do not stand alone before merging")
    save_tiny_gguf(tmp_path / "b.gguf", llama_rope_scaling_type="yarn")
    (note,) = load_base(str(tmp_path / "b.gguf")).notes
    assert note.endswith("it scales rotary positions (yarn), which transformers does not read from it")


def test_without_the_library_the_extra_is_named(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = tmp_path / "again.gguf"
    again.write_bytes(file.read_bytes())
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"again\.gguf is read by the library gguf; .*'qpeft\[gguf\]'"):
        load_base(str(again))


@pytest.mark.slow
def test_the_real_model_of_the_wheel(tmp_path: Path) -> None:
    place = wheel_file(WHEEL, ".gguf")
    if place is None:
        pytest.skip(f"{WHEEL} is not installed")
    theirs = AutoModelForCausalLM.from_pretrained(place.source, gguf_file=place.gguf, dtype=torch.float32).state_dict()
    base = load_base("smollm2-135m")
    ours = base.model.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    base.model.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    folder = load_base(str(tmp_path))
    tokens = base.tokenizer("In 1984 there were 12345 bells.", return_tensors="pt").input_ids
    assert torch.equal(tokens, folder.tokenizer("In 1984 there were 12345 bells.", return_tensors="pt").input_ids)
    assert torch.equal(logits(base.model, tokens), logits(folder.model, tokens))
    (note,) = base.notes
    assert "its pre-tokenizer 'smollm' became GPT-2's" in note
