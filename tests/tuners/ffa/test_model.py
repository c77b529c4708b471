"""What bottlenecks and the table of positions promise as peft tuners, on a Llama and on a GPT-2 with a tied head."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from qpeft.errors import ModelError
from qpeft.tuners._peft import BaseTunerLayer
from qpeft.tuners.ffa import FFAConfig
from qpeft.tuners.headprefix import HeadPrefixConfig
from tiny_models import tiny_llama


def tiny_gpt2() -> Any:
    """A random GPT-2 without dropout; equal at each call."""
    torch.manual_seed(9)
    sizes = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    rates = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
    return GPT2LMHeadModel(GPT2Config(**sizes, **rates, bos_token_id=1, eos_token_id=1, pad_token_id=0))


MODELS: dict[str, Callable[[], Any]] = {"llama": tiny_llama, "gpt2": tiny_gpt2}
LINEAR = ["q_proj", "down_proj", "c_attn", "c_fc"]
CASES: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "sequential": (FFAConfig, {}),
    "parallel": (FFAConfig, {"insertion": "parallel", "use_bias": True, "bottleneck": 7, "activation": "tanh"}),
    "before": (FFAConfig, {"insertion": "before", "placement": "feed_forward", "scale": 2.0}),
    "linear": (FFAConfig, {"insertion": "parallel", "target_modules": LINEAR, "activation": "silu"}),
    "head": (FFAConfig, {"placement": "head", "activation": "relu"}),
    "headprefix": (HeadPrefixConfig, {"num_positions": 16}),
}
every_case = pytest.mark.parametrize("case", list(CASES))
every_model = pytest.mark.parametrize("kind", list(MODELS))


def config_of(case: str, **more: Any) -> Any:
    kind, fields = CASES[case]
    return kind(**{**fields, **more})


def wrapped(kind: str, case: str, **more: Any) -> Any:
    """A peft model with random adapter numbers that are not zero."""
    model = peft.get_peft_model(MODELS[kind](), config_of(case, **more)).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for _, parameter in trained(model):
            parameter.normal_(std=1.5, generator=generator)
    return model


def trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


@every_case
@every_model
def test_it_starts_as_the_base_model_bit_for_bit(kind: str, case: str, ids: torch.Tensor) -> None:
    base = MODELS[kind]().eval()
    before = base(ids).logits
    model = peft.get_peft_model(base, config_of(case)).eval()
    assert torch.equal(model(ids).logits, before)
    assert not torch.equal(wrapped(kind, case)(ids).logits, before)
    container = model.base_model.prefix + "modules"
    assert trained(model)
    assert all(container in name and p.dtype == torch.float32 for name, p in trained(model))


@every_case
@every_model
def test_gradients_reach_every_parameter_after_one_step(kind: str, case: str, ids: torch.Tensor) -> None:
    model = peft.get_peft_model(MODELS[kind](), config_of(case))
    optimizer = torch.optim.SGD([p for _, p in trained(model)], lr=0.1)
    model(ids, labels=ids).loss.backward()
    for name, parameter in trained(model):
        # With W2 = 0 nothing below it can matter yet.
        assert parameter.grad.count_nonzero().item() == 0 if "down" in name.split(".")[-1] else parameter.grad.any()
    optimizer.step()
    optimizer.zero_grad()
    model(ids, labels=ids).loss.backward()
    assert all(p.grad.any() for _, p in trained(model))
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@every_case
@every_model
def test_it_learns(kind: str, case: str, ids: torch.Tensor) -> None:
    model = peft.get_peft_model(MODELS[kind](), config_of(case)).train()
    optimizer = torch.optim.AdamW([p for _, p in trained(model)], lr=5e-2)
    losses = []
    for _ in range(12):
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


@every_case
@every_model
def test_a_saved_adapter_computes_the_same_wherever_it_is_loaded(
    kind: str, case: str, ids: torch.Tensor, tmp_path: Path
) -> None:
    model = wrapped(kind, case)
    before = model(ids).logits
    model.save_pretrained(tmp_path)
    assert len(load_file(tmp_path / "adapter_model.safetensors")) == len(trained(model))
    for small in (False, True):
        loaded = peft.PeftModel.from_pretrained(MODELS[kind](), str(tmp_path), low_cpu_mem_usage=small).eval()
        assert torch.equal(loaded(ids).logits, before)
    plain = MODELS[kind]().eval()
    plain.load_adapter(str(tmp_path))
    assert torch.equal(plain(ids).logits, before)


@pytest.mark.parametrize("case", ["sequential", "headprefix"])
@every_model
def test_peft_finds_base_and_adapter_from_one_folder(kind: str, case: str, ids: torch.Tensor, tmp_path: Path) -> None:
    MODELS[kind]().save_pretrained(tmp_path / "base")
    base = type(MODELS[kind]()).from_pretrained(tmp_path / "base")
    model = peft.get_peft_model(base, config_of(case, task_type="CAUSAL_LM", init_weights=False)).eval()
    model.save_pretrained(tmp_path / "adapter")
    loaded = peft.AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "adapter")).eval()
    assert torch.equal(loaded(ids).logits, model(ids).logits)


@every_case
@every_model
def test_disabled_and_unloaded_it_is_the_base_model(kind: str, case: str, ids: torch.Tensor) -> None:
    base = MODELS[kind]().eval()
    before, names = base(ids).logits, list(base.state_dict())
    model = wrapped(kind, case)
    with model.disable_adapter():
        assert torch.equal(model(ids).logits, before)
    assert not torch.equal(model(ids).logits, before)
    unloaded = model.unload()
    assert torch.equal(unloaded(ids).logits, before)
    assert list(unloaded.state_dict()) == names
    assert not any(isinstance(module, BaseTunerLayer) for module in unloaded.modules())


@every_case
@every_model
def test_two_adapters_live_side_by_side(kind: str, case: str, ids: torch.Tensor) -> None:
    base = MODELS[kind]().eval()
    model = peft.get_peft_model(base, config_of(case), adapter_name="first").eval()
    start = model(ids).logits
    assert all(".first." in name for name, _ in trained(model))
    model.add_adapter("second", config_of(case, init_weights=False))
    assert torch.equal(model(ids).logits, start)
    model.set_adapter("second")
    second = model(ids).logits
    assert not torch.equal(second, start)
    assert trained(model)
    assert all(".second." in name for name, _ in trained(model))
    model.base_model.set_adapter(["first", "second"])
    torch.testing.assert_close(model(ids).logits, second)
    model.set_adapter("second")
    model.delete_adapter("first")
    assert torch.equal(model(ids).logits, second)
    assert not any(".first." in name for name in model.state_dict())


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
@pytest.mark.parametrize("reentrant", [False, True])
@every_case
@every_model
def test_gradient_checkpointing_changes_no_gradient(kind: str, case: str, reentrant: bool, ids: torch.Tensor) -> None:
    gradients = []
    for checkpointed in (False, True):
        model = wrapped(kind, case).train()
        if checkpointed:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        # Checkpointing turns the cache off, and attention over a cache rounds otherwise on some processors.
        model(ids, labels=ids, use_cache=False).loss.backward()
        gradients.append([p.grad for _, p in trained(model)])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def greedy(model: Any, ids: torch.Tensor, **more: Any) -> torch.Tensor:
    return model.generate(input_ids=ids, max_new_tokens=8, min_new_tokens=8, do_sample=False, **more)[:, -8:]


@every_case
@every_model
def test_generation_does_not_depend_on_the_cache(kind: str, case: str, ids: torch.Tensor) -> None:
    model = wrapped(kind, case)
    cached = greedy(model, ids)
    assert torch.equal(cached, greedy(model, ids, use_cache=False))
    assert not torch.equal(cached, greedy(MODELS[kind]().eval(), ids))


@every_case
@every_model
def test_a_left_padded_batch_generates_what_single_rows_do(kind: str, case: str, ids: torch.Tensor) -> None:
    model = wrapped(kind, case)
    lengths = [12, 7]
    mask = torch.stack([torch.arange(12) >= 12 - length for length in lengths]).long()
    batch = torch.stack([torch.cat([ids.new_zeros(12 - n), row[:n]]) for row, n in zip(ids, lengths, strict=True)])
    single = torch.cat([greedy(model, row[None, :n]) for row, n in zip(ids, lengths, strict=True)])
    assert torch.equal(greedy(model, batch, attention_mask=mask), single)


@every_case
@every_model
def test_a_model_in_bfloat16_stays_in_bfloat16_and_the_adapter_in_float32(
    kind: str, case: str, ids: torch.Tensor
) -> None:
    model = peft.get_peft_model(MODELS[kind]().bfloat16(), config_of(case, init_weights=False))
    out = model(ids, labels=ids)
    assert out.logits.dtype == torch.bfloat16
    assert out.logits.isfinite().all()
    out.loss.backward()
    assert all(p.dtype == torch.float32 and p.grad.isfinite().all() for _, p in trained(model))


@every_case
@every_model
def test_it_cannot_be_merged_and_says_so(kind: str, case: str, ids: torch.Tensor) -> None:
    model = wrapped(kind, case)
    before = model(ids).logits
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(ModelError, match=f"type {model.base_model.prefix[:-1].upper()} cannot be merged"):
            merge()
    assert torch.equal(model(ids).logits, before)
