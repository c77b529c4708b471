"""QAA in a model: counts of the paper, identity at start, training, files, several adapters, refusals."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from qpeft.errors import ConfigError, ModelError
from qpeft.testing import check_adapter_under_qpa
from qpeft.tuners import QAAConfig, QAADelta
from qpeft.tuners.qaa import QAALayer
from qpeft.tuners.qaa.config import SOURCES
from tiny_models import tiny_llama

RANDOM = {"init_weights": False, "task_type": "CAUSAL_LM"}


def logits(model: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = model.eval()(input_ids=ids).logits
    return out


def adapted(seed: int = 0, base: Any = None, **options: Any) -> Any:
    """A tiny Llama with QAA that does something."""
    base = base or tiny_llama()
    torch.manual_seed(seed)
    return get_peft_model(base, QAAConfig(**{**RANDOM, **options}))


def deltas(model: Any) -> dict[str, QAADelta]:
    return {name: module for name, module in model.named_modules() if isinstance(module, QAADelta)}


def kinds(model: Any) -> list[tuple[str, type, bool]]:
    """Everything a failed adapter might have left behind."""
    modules = [(name, type(module), module.training) for name, module in model.named_modules()]
    return modules + [(name, type(p), p.requires_grad) for name, p in model.named_parameters()]


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


@pytest.mark.parametrize("place", ["mlp", "self_attn", "self_attn.q_proj", "mlp.down_proj"])
@pytest.mark.parametrize("insertion", ["after", "parallel", "before"])
def test_where_the_update_goes(place: str, insertion: str, ids: Tensor) -> None:
    model = adapted(target_modules=[place], insertion=insertion)
    layer = model.get_submodule(f"base_model.model.model.layers.1.{place}")
    (delta,) = deltas(layer).values()
    seen: dict[str, Any] = {}

    def keep(key: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, kwargs: Any, out: Any) -> None:
            seen[key] = args[0] if args else kwargs["hidden_states"], out[0] if isinstance(out, tuple) else out

        return hook

    layer.register_forward_hook(keep("layer"), with_kwargs=True)
    layer.base_layer.register_forward_hook(keep("base"), with_kwargs=True)
    logits(model, ids)
    (x, y), (x_base, y_base) = seen["layer"], seen["base"]
    torch.testing.assert_close(x_base, x + delta(x) if insertion == "before" else x)
    update = {"after": lambda: delta(y_base), "parallel": lambda: delta(x), "before": lambda: 0 * y}[insertion]()
    torch.testing.assert_close(y, y_base + update)
    assert y.shape == y_base.shape


def test_only_the_adapter_learns_and_the_base_can_be_had_back(ids: Tensor) -> None:
    torch.manual_seed(0)
    model = get_peft_model(tiny_llama(), QAAConfig())
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
    assert {name.rsplit(".", 1)[1] for name in stored} == {"up", "bias"} | own[source]
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
    torch.testing.assert_close(out.logits.float(), model(input_ids=ids).logits, atol=0.1, rtol=0)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_no_gradient(reentrant: bool, ids: Tensor) -> None:
    def run(checkpointing: bool) -> list[Tensor]:
        model = adapted().train()
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model(input_ids=ids, labels=ids).loss.backward()
        return [p.grad for p in model.parameters() if p.requires_grad]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one, other in zip(run(False), run(True), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("insertion", ["after", "before"])
def test_generates_the_same_with_and_without_cache(insertion: str, ids: Tensor) -> None:
    model = adapted(insertion=insertion).eval()
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with_cache, without = (model.generate(ids, use_cache=cache, **options) for cache in (True, False))
    assert torch.equal(with_cache, without)
    assert not torch.equal(with_cache, tiny_llama().generate(ids, **options))


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


def test_modules_to_save_are_trained_and_stored(ids: Tensor, tmp_path: Path) -> None:
    model = adapted(modules_to_save=["lm_head"])
    with torch.no_grad():
        model.base_model.model.lm_head.modules_to_save["default"].weight.add_(0.1)
    assert any("lm_head" in name and p.requires_grad for name, p in model.named_parameters())
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(tiny_llama(), tmp_path), ids), logits(model, ids))


def test_two_adapters(ids: Tensor, tmp_path: Path) -> None:
    model = adapted(seed=0)
    first = logits(model, ids)
    torch.manual_seed(1)
    model.add_adapter(
        "second", QAAConfig(**RANDOM, target_modules=["self_attn", "post_attention_layernorm"], insertion="parallel")
    )
    assert torch.equal(logits(model, ids), first), "a second adapter is not active yet"
    assert {name for name, p in model.named_parameters() if p.requires_grad and "second" in name} == set()
    model.set_adapter("second")
    second = logits(model, ids)
    alone = adapted(seed=1, target_modules=["self_attn", "post_attention_layernorm"], insertion="parallel")
    assert torch.equal(second, logits(alone, ids))
    assert all(("second" in name) == p.requires_grad for name, p in model.named_parameters())
    model.base_model.set_adapter(["default", "second"])
    assert not torch.equal(logits(model, ids), second)
    model.set_adapter("default")
    assert torch.equal(logits(model, ids), first)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    loaded.load_adapter(tmp_path / "second", "other")
    loaded.set_adapter("other")
    assert torch.equal(logits(loaded, ids), second)
    model.delete_adapter("second")
    assert not [name for name, _ in model.named_parameters() if "second" in name]
    assert torch.equal(logits(model, ids), first)


FAILURES = [
    ({"wires": [0, 9]}, ConfigError, r"wires must be different numbers in 0\.\.\d, at least one; got \[0, 9\]"),
    (
        {"target_modules": ["self_attn", "embed_tokens"]},
        ModelError,
        "embed_tokens is a Embedding, .*; target attention",
    ),
    ({"target_modules": ["mlp", "layers"]}, ModelError, "layers is a ModuleList"),
    ({"target_modules": ["no_such"]}, ValueError, "'no_such'.* not found in the base model"),
    ({"layers_to_transform": 7}, ValueError, "You specified 'layers_to_transform': \\[7\\]"),
]


@pytest.mark.parametrize(("options", "error", "message"), FAILURES)
def test_a_failure_leaves_the_model_as_it_was(
    options: dict[str, Any], error: type[Exception], message: str, ids: Tensor
) -> None:
    base = tiny_llama()
    expected, before = logits(base, ids), kinds(base)
    with pytest.raises(error, match=message):
        get_peft_model(base, QAAConfig(**options))
    assert kinds(base) == before
    assert torch.equal(logits(base, ids), expected)
    model = get_peft_model(base, QAAConfig(**RANDOM))
    expected, before = logits(model, ids), kinds(model)
    with pytest.raises(error, match=message):
        model.add_adapter("second", QAAConfig(**options))
    assert list(model.peft_config) == ["default"]
    assert kinds(model) == before
    assert torch.equal(logits(model, ids), expected)
    model.add_adapter("second", QAAConfig())


@pytest.mark.parametrize(
    ("first", "second"),
    [(["self_attn"], ["q_proj", "mlp"]), (["q_proj"], ["self_attn"]), (["mlp"], r".*\.(mlp|self_attn)\.\w+_proj")],
    ids=["inside", "around", "inside by a pattern"],
)
def test_targets_inside_one_another_are_refused(first: list[str], second: Any, ids: Tensor) -> None:
    """Peft passes over what is inside, and saves the inner adapter under names that load nowhere."""
    base = tiny_llama()
    before = kinds(base)
    with pytest.raises(ModelError, match=r"q_proj inside \S*self_attn; target one of the two"):
        get_peft_model(base, QAAConfig(target_modules=["self_attn", "q_proj"]))
    assert kinds(base) == before
    model = adapted(target_modules=first)
    expected, before = logits(model, ids), kinds(model)
    with pytest.raises(ModelError, match=r"proj inside \S*(self_attn|mlp); target one of the two"):
        model.add_adapter("second", QAAConfig(target_modules=second))
    assert kinds(model) == before
    assert torch.equal(logits(model, ids), expected)


def test_an_unknown_family_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_llama()
    monkeypatch.setattr(type(base.config), "model_type", "lama")
    with pytest.raises(ModelError, match=r"'lama'.*nearest: llama.*target_modules"):
        get_peft_model(base, QAAConfig())
    assert len(deltas(get_peft_model(base, QAAConfig(target_modules=["mlp"])))) == 2


def test_merging_is_refused_and_the_adapter_stays(ids: Tensor) -> None:
    model = adapted()
    expected = logits(model, ids)
    for merge in (
        model.merge_and_unload,
        model.merge_adapter,
        next(m for m in model.modules() if isinstance(m, QAALayer)).merge,
    ):
        with pytest.raises(ModelError, match=r"type QAA cannot be merged.*keep it as an adapter, or call unload"):
            merge()
    assert torch.equal(logits(model, ids), expected)


def test_contract_under_qpa(ids: Tensor, tmp_path: Path) -> None:
    check_adapter_under_qpa(tiny_llama, QAAConfig(task_type="CAUSAL_LM"), {"input_ids": ids}, tmp_path)


def test_type_is_known_to_peft_as_its_own_types_are() -> None:
    assert peft.get_peft_config({"peft_type": "QAA", "preset": "paper"}) == QAAConfig(preset="paper")
    assert adapted().active_peft_config.peft_type == peft.PeftType.QAA
