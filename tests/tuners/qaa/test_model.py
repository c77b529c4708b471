"""QAA in a model: counts of the paper, identity at start, training, files, several adapters, refusals."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from qpeft.errors import ModelError
from qpeft.testing import check_adapter_under_qpa
from qpeft.tuners import QAAConfig, QAADelta
from qpeft.tuners.qaa import QAALayer
from qpeft.tuners.qaa.config import SOURCES
from tiny_models import tiny_llama
from tiny_qaa import adapted, deltas, logits


def neo() -> Any:
    """GPT-Neo-125M without its numbers."""
    with torch.device("meta"):
        return GPTNeoForCausalLM(
            GPTNeoConfig(hidden_size=768, num_layers=12, num_heads=12, attention_types=[[["global", "local"], 6]])
        )


@pytest.mark.parametrize(
    ("config", "count", "modules"),
    [
        (QAAConfig(preset="paper"), 123_000, 12),
        (QAAConfig(preset="text"), 184_560, 24),
        (LoraConfig(r=4, target_modules=["q_proj", "v_proj"]), 147_456, 0),
    ],
    ids=["paper", "text", "lora"],
)
def test_counts_on_gpt_neo(config: Any, count: int, modules: int) -> None:
    base = neo()
    assert sum(p.numel() for p in base.parameters()) == 125_198_592
    assert (base.config.vocab_size, base.config.max_position_embeddings) == (50_257, 2048)
    model = get_peft_model(base, config)
    assert model.get_nb_trainable_parameters()[0] == count
    assert len(deltas(model)) == modules


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("insertion", ["after", "parallel", "before"])
def test_a_new_adapter_changes_nothing(source: str, insertion: str, ids: Tensor) -> None:
    model = get_peft_model(tiny_llama(), QAAConfig(source=source, insertion=insertion))
    assert len(deltas(model)) == 4
    assert torch.equal(logits(model, ids), logits(tiny_llama(), ids))


def test_only_the_adapter_learns_and_the_base_can_be_had_back(ids: Tensor) -> None:
    torch.manual_seed(0)
    model = get_peft_model(tiny_llama(), QAAConfig(first_step=0.1))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names == {name for name in before if "qaa_" in name}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (name not in names), name
    base = logits(tiny_llama(), ids)
    assert not torch.equal(logits(model, ids), base)
    with model.disable_adapter():
        assert torch.equal(logits(model, ids), base)
    unloaded = model.unload()
    assert not any(isinstance(module, QAALayer | QAADelta) for module in unloaded.modules())
    assert torch.equal(logits(unloaded, ids), base)


@pytest.mark.parametrize("source", SOURCES)
def test_reloaded_computes_the_same(source: str, ids: Tensor, tmp_path: Path) -> None:
    model = adapted(source=source, up_bias=True)
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    own = {"circuit": {"angles"}, "frozen": {"angles"}, "no_entangler": {"angles"}, "linear": {"down"}}
    own |= {"mlp": {"projection", "slopes"}, "quadratic": {"left", "right"}}
    assert {name.rsplit(".", 1)[1] for name in stored} == {"up", "bias", "scale"} | own[source]
    trained = {name.rsplit(".", 1)[1] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"up", "bias"} | (own[source] - {"projection", "left", "right"} if source != "frozen" else set())
    for low in (False, True):
        torch.manual_seed(99)  # nothing may come from chance
        loaded = PeftModel.from_pretrained(tiny_llama(), tmp_path, low_cpu_mem_usage=low)
        assert torch.equal(logits(loaded, ids), logits(model, ids))


def test_loaded_by_the_auto_class_and_into_a_model_of_transformers(
    base_folder: Path, ids: Tensor, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    def base() -> Any:
        return AutoModelForCausalLM.from_pretrained(base_folder)

    model = adapted(base=base())
    model.save_pretrained(tmp_path)
    expected = logits(model, ids)
    assert torch.equal(logits(AutoPeftModelForCausalLM.from_pretrained(tmp_path), ids), expected)
    plain = base()
    plain.load_adapter(str(tmp_path))
    assert torch.equal(logits(plain, ids), expected)
    plain.disable_adapters()
    assert torch.equal(logits(plain, ids), logits(base(), ids))
    plain.enable_adapters()
    assert torch.equal(logits(plain, ids), expected)
    plain.delete_adapter("default")
    assert torch.equal(logits(plain, ids), logits(base(), ids))
    plain.add_adapter(QAAConfig())
    assert len(deltas(plain)) == 4


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("targets", [None, ["q_proj", "mlp"]], ids=["sites", "linear"])
def test_base_in_bfloat16(source: str, targets: list[str] | None, ids: Tensor, tmp_path: Path) -> None:
    model = adapted(base=tiny_llama().bfloat16(), source=source, target_modules=targets)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    embeds = model.get_input_embeddings()(ids).detach().requires_grad_()
    out = model(inputs_embeds=embeds, labels=ids)
    out.loss.backward()
    assert out.logits.dtype == embeds.grad.dtype == torch.bfloat16
    assert out.logits.isfinite().all()
    for parameter in (p for p in model.parameters() if p.requires_grad):
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0
    assert embeds.grad.isfinite().all()
    assert embeds.grad.abs().max() > 0
    model.save_pretrained(tmp_path)
    for low in (False, True):  # vanilla peft rounds what it loads with low_cpu_mem_usage to the base's precision
        loaded = PeftModel.from_pretrained(tiny_llama().bfloat16(), tmp_path, low_cpu_mem_usage=low)
        assert torch.equal(logits(loaded, ids), logits(model, ids))


def test_autocast_keeps_the_delta_in_float32(ids: Tensor) -> None:
    model = adapted()
    seen: list[torch.dtype] = []
    for delta in deltas(model).values():
        delta.register_forward_hook(lambda module, args, update: seen.append(update.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(input_ids=ids, labels=ids)
    out.loss.backward()
    assert seen == [torch.float32] * 4
    assert out.logits.isfinite().all()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters() if p.requires_grad)
    torch.testing.assert_close(out.logits.float(), model(input_ids=ids).logits, atol=0.2, rtol=0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"layers_to_transform": 1}, {"1.self_attn", "1.mlp"}),
        ({"layers_to_transform": [0, 1], "placement": "feed_forward"}, {"0.mlp", "1.mlp"}),
        ({"target_modules": ["mlp"], "layers_to_transform": [0], "layers_pattern": "layers"}, {"0.mlp"}),
        ({"target_modules": r".*layers\.1\.mlp"}, {"1.mlp"}),
        ({"target_modules": ["q_proj"]}, {"0.self_attn.q_proj", "1.self_attn.q_proj"}),
        ({"exclude_modules": ["mlp"]}, {"0.self_attn", "1.self_attn"}),
        ({"target_modules": ["input_layernorm"], "insertion": "before"}, {"0.input_layernorm", "1.input_layernorm"}),
    ],
)
def test_targets(options: dict[str, Any], expected: set[str], ids: Tensor, tmp_path: Path) -> None:
    model = adapted(**options)
    found = {name.split(".layers.")[1].split(".qaa_modules")[0] for name in deltas(model)}
    assert found == expected
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(tiny_llama(), tmp_path), ids), logits(model, ids))


def test_every_linear_layer_and_the_head(ids: Tensor) -> None:
    assert len(deltas(adapted(target_modules="all-linear", insertion="parallel"))) == 14
    (delta,) = deltas(adapted(placement="head")).values()
    assert delta.d_out == 32
    (wide,) = deltas(adapted(target_modules=["lm_head"], insertion="parallel")).values()
    assert wide.up.shape[1] == 97


def test_an_unknown_family_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_llama()
    monkeypatch.setattr(type(base.config), "model_type", "lama")
    with pytest.raises(ModelError, match=r"'lama'.*nearest: llama.*target_modules"):
        get_peft_model(base, QAAConfig())
    assert len(deltas(get_peft_model(base, QAAConfig(target_modules=["mlp"])))) == 2


def test_contract_under_qpa(ids: Tensor, tmp_path: Path) -> None:
    check_adapter_under_qpa(tiny_llama, QAAConfig(task_type="CAUSAL_LM"), {"input_ids": ids}, tmp_path)


def test_type_is_known_to_peft_as_its_own_types_are() -> None:
    assert peft.get_peft_config({"peft_type": "QAA", "preset": "paper"}) == QAAConfig(preset="paper")
    assert adapted().active_peft_config.peft_type == peft.PeftType.QAA
