"""SoRA as a peft tuner: targets, identity, counts, files, adapters side by side, merging."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import nn

from qpeft.errors import ModelError
from qpeft.tuners.sora import SoraConfig, SoraLinear

Logits = Callable[[Any], torch.Tensor]
FAMILIES = ["llama", "gpt2"]


def snapshot(model: Any) -> tuple[dict[str, torch.Tensor], list[tuple[str, type, bool]]]:
    """State and types of a model."""
    types = [(name, type(m), any(p.requires_grad for p in m.parameters())) for name, m in model.named_modules()]
    return {key: value.clone() for key, value in model.state_dict().items()}, types


def assert_untouched(model: Any, before: Any) -> None:
    state, types = snapshot(model)
    assert types == before[1]
    assert state.keys() == before[0].keys()
    assert all(torch.equal(state[key], value) for key, value in before[0].items())
    assert "peft_config" not in vars(model)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", [None, "all-linear"])
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
def test_same_places_as_lora(make_base: Any, family: str, targets: str | None) -> None:
    sora = peft.get_peft_model(make_base(family), SoraConfig(target_modules=targets))
    lora = peft.get_peft_model(make_base(family), peft.LoraConfig(target_modules=targets))
    assert sorted(sora.targeted_module_names) == sorted(lora.targeted_module_names)
    assert len(sora.targeted_module_names) == sum(isinstance(m, SoraLinear) for m in sora.modules())
    trainable = {name.rsplit(".", 1)[1] for name, p in sora.named_parameters() if p.requires_grad}
    assert trainable == {"A", "B", "gate"}


@pytest.mark.parametrize("family", FAMILIES)
def test_identity_at_the_start_then_every_number_learns(
    make_base: Any, family: str, logits: Logits, ids: torch.Tensor
) -> None:
    base = make_base(family)
    before = logits(base)
    model = peft.get_peft_model(base, SoraConfig(target_modules="all-linear"))
    assert torch.equal(logits(model), before)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    for _ in range(2):  # B moves first: its zeros hold back the gradients of A and the gates
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    now = dict(model.named_parameters())
    assert all(not torch.equal(now[name], value) for name, value in start.items())


@pytest.mark.parametrize(("r", "expected"), [(8, 295104), (4, 147552)])
def test_counts_of_gpt_neo_125m(r: int, expected: int) -> None:
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    sizes = {"hidden_size": 768, "num_layers": 12, "num_heads": 12, "attention_types": [[["global", "local"], 6]]}
    with torch.device("meta"):
        model = peft.get_peft_model(GPTNeoForCausalLM(GPTNeoConfig(**sizes)), SoraConfig(r=r))
    trainable, total = model.get_nb_trainable_parameters()
    assert trainable == expected == 12 * 2 * (r * (768 + 768) + r)
    assert total - trainable == 125_198_592


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_bitwise(trained: Any, make_base: Any, family: str, logits: Logits, tmp_path: Path) -> None:
    model = trained(family, target_modules="all-linear", modules_to_save=["lm_head"] if family == "llama" else None)
    model.save_pretrained(str(tmp_path))
    for low_memory in (False, True):
        again = peft.PeftModel.from_pretrained(make_base(family), str(tmp_path), low_cpu_mem_usage=low_memory)
        assert torch.equal(logits(again), logits(model))


def test_a_model_of_transformers_takes_it(trained: Any, make_base: Any, logits: Logits, tmp_path: Path) -> None:
    model = trained()
    model.save_pretrained(str(tmp_path))
    base = make_base("llama")
    before = logits(base)
    base.load_adapter(str(tmp_path))
    assert torch.equal(logits(base), logits(model))
    base.disable_adapters()
    assert torch.equal(logits(base), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_side_by_side(trained: Any, make_base: Any, family: str, logits: Logits) -> None:
    base = make_base(family)
    plain, state = logits(base), snapshot(base)
    model = trained(family, target_modules="all-linear")
    first = logits(model)
    assert not torch.equal(first, plain)
    model.add_adapter("second", SoraConfig(r=2, target_modules="all-linear", init_weights=False))
    assert all(m.deltas.keys() == {"default", "second"} for m in model.modules() if isinstance(m, SoraLinear))
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    second = logits(model)
    assert not torch.equal(second, first)
    with model.disable_adapter():
        assert torch.equal(logits(model), plain)
    model.set_adapter("default")
    model.delete_adapter("second")
    assert torch.equal(logits(model), first)
    unloaded = model.unload()
    assert torch.equal(logits(unloaded), plain)
    now = snapshot(unloaded)
    assert [t[:2] for t in now[1]] == [t[:2] for t in state[1]]
    assert all(torch.equal(now[0][key], value) for key, value in state[0].items())


@pytest.mark.parametrize("family", FAMILIES)
def test_merging(trained: Any, make_base: Any, family: str, logits: Logits) -> None:
    model, plain = trained(family, target_modules="all-linear"), logits(make_base(family))
    before = logits(model)
    model.merge_adapter(safe_merge=True)
    torch.testing.assert_close(logits(model), before, atol=1e-5, rtol=0)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model), before, atol=1e-5, rtol=0)
    model.merge_adapter()
    with model.disable_adapter():
        torch.testing.assert_close(logits(model), plain, atol=1e-5, rtol=0)
    merged = trained(family, target_modules="all-linear").merge_and_unload()
    torch.testing.assert_close(logits(merged), before, atol=1e-5, rtol=0)
    assert [type(m) for m in merged.modules()] == [type(m) for m in make_base(family).modules()]


def test_two_adapters_merge_and_come_out_again(trained: Any, logits: Logits) -> None:
    model = trained()
    model.add_adapter("second", SoraConfig(init_weights=False))
    model.base_model.set_adapter(["default", "second"])
    both = logits(model)
    model.merge_adapter(adapter_names=["default", "second"])
    torch.testing.assert_close(logits(model), both, atol=1e-5, rtol=0)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model), both, atol=1e-5, rtol=0)


class Quantised(nn.Module):
    """A linear layer of whole numbers, as quantisation libraries have it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.scale = linear.weight.detach().abs().max() / 127
        self.weight = nn.Parameter((linear.weight / self.scale).round().to(torch.int8), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (self.weight.to(x.dtype) * self.scale).T


def test_quantised_base_trains_and_refuses_to_merge(make_base: Any, logits: Logits, ids: torch.Tensor) -> None:
    base = make_base("llama")
    for layer in base.model.layers:
        layer.self_attn.q_proj = Quantised(layer.self_attn.q_proj)
    before = logits(base)
    model = peft.get_peft_model(base, SoraConfig(target_modules=["q_proj", "v_proj"]))
    assert torch.equal(logits(model), before)
    model(input_ids=ids, labels=ids).loss.backward()
    assert sum(p.grad is not None for p in model.parameters()) == 2 * 2 * 3
    with pytest.raises(
        ModelError, match=r"Quantised has a Tensor of torch.int8; .* load the base model without quant"
    ):
        model.merge_and_unload()
    assert torch.equal(logits(model), before)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_a_shared_weight_refuses_to_merge(make_base: Any, logits: Logits) -> None:
    model = peft.get_peft_model(make_base("gpt2"), SoraConfig(target_modules=["lm_head"], init_weights=False))
    before = logits(model)
    with pytest.raises(ModelError, match=r"lm_head shares its weight with another module .*clone"):
        model.merge_adapter()
    head = model.base_model.model.lm_head.base_layer
    head.weight = nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = False
    model.merge_adapter()
    torch.testing.assert_close(logits(model), before, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["mlp"], "sora needs linear layers; model.layers.0.mlp is a LlamaMLP; name linear layers in target_modules"),
        (["embed_tokens"], "model.embed_tokens is a Embedding"),
        (["q_proj", "norm"], "model.norm is a LlamaRMSNorm"),
    ],
)
def test_wrong_targets_leave_the_base_untouched(make_base: Any, targets: list[str], message: str) -> None:
    base = make_base("llama")
    before = snapshot(base)
    with pytest.raises(ModelError) as error:
        peft.get_peft_model(base, SoraConfig(target_modules=targets))
    assert message in str(error.value)
    assert_untouched(base, before)


def test_a_wrong_second_adapter_leaves_the_first(trained: Any, logits: Logits) -> None:
    model = trained()
    before = logits(model)
    with pytest.raises(ModelError, match="sora needs linear layers"):
        model.add_adapter("second", SoraConfig(target_modules=["q_proj", "norm"]))
    assert torch.equal(logits(model), before)
    assert all(m.deltas.keys() == {"default"} for m in model.modules() if isinstance(m, SoraLinear))


def test_an_unknown_family_asks_for_names() -> None:
    base = nn.Sequential(nn.Linear(4, 4))
    before = snapshot(base)
    with pytest.raises(
        ModelError, match=r"family 'custom'; name linear layers in target_modules, or take 'all-linear'"
    ):
        peft.get_peft_model(base, SoraConfig())
    assert_untouched(base, before)


def test_only_some_layers(make_base: Any) -> None:
    model = peft.get_peft_model(make_base("llama"), SoraConfig(layers_to_transform=1))
    assert model.targeted_module_names == [f"model.layers.1.self_attn.{name}_proj" for name in "qv"]


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(trained: Any, ids: torch.Tensor, reentrant: bool) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = trained().train()
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        # Checkpointing turns the cache off, and attention over a cache rounds otherwise on some processors.
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == 2 * 2 * 3
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_generation_with_and_without_cache(trained: Any, ids: torch.Tensor) -> None:
    model = trained()
    texts = [model.generate(input_ids=ids, max_new_tokens=5, do_sample=False, use_cache=c) for c in (True, False)]
    assert torch.equal(*texts)
