"""What is written: a stock adapter, a generator that reproduces it, all or nothing."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from qpeft.errors import ConfigError, ExportError
from qpeft.qpa import QPAConfig, QPAOptimizer, load_generator, save_adapter
from tiny_models import tiny_llama


def trained(ids: torch.Tensor, preset: str = "recommended") -> tuple[peft.PeftModel, QPAOptimizer]:
    torch.manual_seed(1)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(tiny_llama(), config)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=32, preset=preset), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    optimizer.finish()
    return model, optimizer


@pytest.mark.parametrize("preset", ["recommended", "released", "equations"])
def test_baked_equals_generated(preset: str, ids: torch.Tensor, tmp_path: Path) -> None:
    model, optimizer = trained(ids, preset)
    save_adapter(model, tmp_path / "adapter", optimizer)
    generator, tensors, body = load_generator(tmp_path / "adapter")
    with torch.no_grad():
        values = tensors["offset"] + tensors["factors"] * generator(mean_basis=preset == "released")
    for entry, (name, parameter) in zip(
        body["plan"], [(n, p) for n, p in model.named_parameters() if p.requires_grad], strict=True
    ):
        assert entry["name"] == name
        part = values[entry["offset"] : entry["offset"] + parameter.numel()]
        torch.testing.assert_close(part.view(entry["shape"]), parameter.detach(), atol=0, rtol=0)


def test_only_what_peft_reads_and_the_generator(ids: torch.Tensor, tmp_path: Path) -> None:
    model, optimizer = trained(ids)
    save_adapter(model, tmp_path / "adapter", optimizer)
    names = {path.name for path in (tmp_path / "adapter").iterdir()}
    stock = {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    assert names == {*stock, "qpa_config.json", "qpa_generator.safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_failed_save_leaves_the_old_adapter(
    ids: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = trained(ids)
    folder = save_adapter(model, tmp_path / "adapter", optimizer)
    before = (folder / "adapter_model.safetensors").read_bytes()
    real = model.save_pretrained

    def damaged(draft: Path, **options: object) -> None:
        real(draft, **options)
        tensors = load_file(draft / "adapter_model.safetensors")
        save_file({name: tensor + 1 for name, tensor in tensors.items()}, draft / "adapter_model.safetensors")

    monkeypatch.setattr(model, "save_pretrained", damaged)
    with pytest.raises(ExportError, match="nothing was exported"):
        save_adapter(model, folder, optimizer)
    assert (folder / "adapter_model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_folder_without_generator_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"qpa_config\.json was expected"):
        load_generator(tmp_path)


@pytest.mark.parametrize("target", ["q_proj", "lm_head", "embed_tokens"])
def test_a_resized_vocabulary_is_saved(target: str, ids: torch.Tensor, tmp_path: Path) -> None:
    """New rows of embedding and head exist nowhere else; peft's own save keeps them, where no adapter is on either."""
    tiny_llama().save_pretrained(tmp_path / "base")

    def resized() -> Any:
        torch.manual_seed(5)
        base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        base.resize_token_embeddings(base.config.vocab_size + 7)
        return base

    model = peft.get_peft_model(resized(), peft.LoraConfig(r=2, target_modules=[target], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for p in model.get_base_model().parameters():  # as a trainer of new words would leave them
            if p.shape[0] > 97:
                p[97:].normal_()
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.normal_()
    save_adapter(model, tmp_path / "adapter")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    again.resize_token_embeddings(again.config.vocab_size + 7)
    loaded = peft.PeftModel.from_pretrained(again, str(tmp_path / "adapter"))
    new = torch.cat([ids, torch.tensor([[98, 103]]).expand(len(ids), 2)], dim=1)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(input_ids=new).logits, model.eval()(input_ids=new).logits)


def test_an_embedding_trained_beside_the_adapter_is_saved(tmp_path: Path) -> None:
    model = peft.get_peft_model(tiny_llama(), peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    save_adapter(model, tmp_path / "plain")
    model.get_input_embeddings().weight.requires_grad_(True)
    save_adapter(model, tmp_path / "trained")
    names = [set(load_file(tmp_path / kind / "adapter_model.safetensors")) for kind in ("plain", "trained")]
    assert {name.rsplit(".", 2)[1] for name in names[1] - names[0]} == {"embed_tokens", "lm_head"}
