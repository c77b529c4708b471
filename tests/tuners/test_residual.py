"""The part all tuners share, seen through QAA: where updates go, several adapters, failures, refusals, copies."""

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor

from qpeft.errors import ConfigError, ModelError
from qpeft.tuners import QAAConfig
from qpeft.tuners.qaa import QAALayer
from tiny_models import tiny_llama
from tiny_qaa import RANDOM, adapted, deltas, logits


def kinds(model: Any) -> list[tuple[str, type, bool]]:
    """Everything a failed adapter might have left behind."""
    modules = [(name, type(module), module.training) for name, module in model.named_modules()]
    return modules + [(name, type(p), p.requires_grad) for name, p in model.named_parameters()]


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


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_no_gradient(reentrant: bool, ids: Tensor) -> None:
    def run(checkpointing: bool) -> list[Tensor]:
        model = adapted().train()
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        # Checkpointing turns the cache off, and attention over a cache rounds otherwise on some processors.
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
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


def test_copied_and_pickled_models_compute_the_same(ids: Tensor) -> None:
    model = adapted(insertion="before", source="frozen")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(logits(twin, ids), logits(model, ids))


def test_a_model_that_is_not_of_transformers() -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.LayerNorm(9))
    with pytest.raises(ModelError, match=r"'custom'.*target_modules"):
        get_peft_model(plain, QAAConfig())
    with pytest.raises(ModelError, match="Sequential must give hidden_size"):
        get_peft_model(plain, QAAConfig(target_modules=["1"]))
    model = get_peft_model(plain, QAAConfig(target_modules=["0"], insertion="parallel", init_weights=False))
    x = torch.randn(3, 6)
    (delta,) = deltas(model).values()
    torch.testing.assert_close(model(x), plain[1](plain[0].base_layer(x) + delta(x)))


def test_status_of_peft(ids: Tensor) -> None:
    model = adapted()
    status = model.get_model_status()
    assert (status.adapter_model_type, status.peft_types, status.enabled) == ("QAAModel", {"default": "QAA"}, True)
    assert (status.active_adapters, status.merged_adapters, status.num_adapter_layers) == (["default"], [], 4)
    assert status.trainable_params == model.get_nb_trainable_parameters()[0]
