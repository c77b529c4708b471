"""The dict of methods: every one builds, seeds decide, and wrong options are refused before a model is loaded."""

import re
from typing import Any

import pytest
import torch

from qpeft.errors import ConfigError, ModelError
from qpeft.qpa import QPAOptimizer
from qpeft.records import MethodSpec, TrainSpec
from qpeft.training.methods import METHODS, Built, build_method, check_method
from tiny_methods import EXAMPLES as METHODS_AS_DATA
from tiny_models import tiny_llama

EXAMPLES = {name: MethodSpec.model_validate(method) for name, method in METHODS_AS_DATA.items()}
LORA = EXAMPLES["lora"]

ADAPTERS = [name for name, row in METHODS.items() if row.trains == "adapter"]


def numbers(built: Built) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in built.named_trainable()}


def refusal(method: MethodSpec) -> str:
    with pytest.raises(ConfigError) as caught:
        check_method(method)
    with pytest.raises(ConfigError, match=re.escape(str(caught.value))):
        build_method(tiny_llama(), method, 0)
    return str(caught.value)


def test_every_method_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(METHODS)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_every_method_builds_and_computes(name: str, ids: torch.Tensor) -> None:
    check_method(EXAMPLES[name])
    built = build_method(tiny_llama(), EXAMPLES[name], 0)
    assert built.model(input_ids=ids).logits.shape == (2, 12, 97)
    assert bool(built.named_trainable()) == built.trained == (name != "base")
    assert (built.peft_config is not None) == (name not in ("base", "full"))
    assert (built.qpa is not None) == (name == "qpa")


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "base"])
def test_equal_seeds_give_equal_adapters(name: str) -> None:
    first, second = (numbers(build_method(tiny_llama(), EXAMPLES[name], 3)) for _ in range(2))
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["lora", "qpa", "prefix"])
def test_other_seeds_give_other_adapters(name: str) -> None:
    first, second = (numbers(build_method(tiny_llama(), EXAMPLES[name], seed)) for seed in (3, 4))
    assert any(not torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["lora", "dora", "sora", "core", "head_prefix", "ffa", "qaa", "qpa"])
def test_a_fresh_adapter_changes_nothing(name: str, ids: torch.Tensor) -> None:
    built = build_method(tiny_llama(), EXAMPLES[name], 0)
    with torch.no_grad():
        found, wanted = built.model.eval()(input_ids=ids).logits, tiny_llama().eval()(input_ids=ids).logits
    assert torch.allclose(found, wanted, atol=1e-6)


def test_base_trains_nothing_and_full_everything() -> None:
    base = build_method(tiny_llama(), EXAMPLES["base"], 0)
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    full = build_method(tiny_llama(), EXAMPLES["full"], 0)
    assert len(full.named_trainable()) == len(list(full.model.parameters()))


def test_adapters_leave_the_base_frozen() -> None:
    for name in ADAPTERS:
        built = build_method(tiny_llama(), EXAMPLES[name], 0)
        assert all(
            re.search("lora|vera|prompt|sora|core|ffa|qaa", key.replace("headprefix", "prompt"))
            for key, _ in built.named_trainable()
        ), name


def test_names_fix_fields_of_the_config() -> None:
    assert build_method(tiny_llama(), EXAMPLES["dora"], 0).peft_config.use_dora is True
    assert build_method(tiny_llama(), EXAMPLES["lora"], 0).peft_config.use_dora is False
    assert {c.task_type for c in [build_method(tiny_llama(), EXAMPLES[n], 0).peft_config for n in ADAPTERS]} == {
        "CAUSAL_LM"
    }


def test_the_released_lora_starts_with_both_factors_random(ids: torch.Tensor) -> None:
    built = build_method(tiny_llama(), EXAMPLES["lora_released"], 0)
    for _, factor in built.named_trainable():
        assert 0.005 < factor.std().item() < 0.02
    with torch.no_grad():
        found, base = built.model.eval()(input_ids=ids).logits, tiny_llama().eval()(input_ids=ids).logits
    assert not torch.equal(found, base), "the authors' baseline changes the model before training"
    assert "both LoRA factors" in built.notes[-1]


def test_methods_of_ours_bring_their_callbacks() -> None:
    kinds = {
        name: [type(c).__name__ for c in build_method(tiny_llama(), EXAMPLES[name], 0).callbacks] for name in EXAMPLES
    }
    assert {name: found for name, found in kinds.items() if found} == {
        "core": ["CoreCallback"],
        "qaa": ["QAAMonitor"],
        "sora": ["SoraCallback"],
    }


def test_sora_gates_are_not_decayed() -> None:
    built = build_method(tiny_llama(), EXAMPLES["sora"], 0)
    cls, options = built.optimizer(TrainSpec(weight_decay=0.5))
    groups = cls(**options).param_groups
    decay = {group["weight_decay"]: sum(p.numel() for p in group["params"]) for group in groups}
    gates = sum(p.numel() for name, p in built.named_trainable() if "gate" in name)
    assert decay == {0.5: sum(p.numel() for _, p in built.named_trainable()) - gates, 0.0: gates}


def test_qpa_takes_the_seed_of_the_run_unless_it_has_its_own() -> None:
    config = build_method(tiny_llama(), EXAMPLES["qpa"], 5).qpa
    assert config is not None
    assert config.seed == 5
    own = EXAMPLES["qpa"].model_copy(update={"options": {"n_mlp": 16, "seed": 9}})
    config = build_method(tiny_llama(), own, 5).qpa
    assert config is not None
    assert config.seed == 9
    assert config.post is not None, "the preset's values are filled in"


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_optimizers_of_a_spec(name: Any, kind: type[torch.optim.Optimizer]) -> None:
    train = TrainSpec(learning_rate=0.25, weight_decay=0.5, adam_eps=1e-4, optimizer=name)
    cls, options = build_method(tiny_llama(), LORA, 0).optimizer(train)
    assert cls is kind
    optimizer = cls([torch.nn.Parameter(torch.ones(2))], **options)
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.25, 0.5)
    assert optimizer.defaults.get("eps", 1e-4) == 1e-4
    cls, options = build_method(tiny_llama(), EXAMPLES["qpa"], 0).optimizer(train)
    assert cls is QPAOptimizer
    assert isinstance(cls(**options), QPAOptimizer)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (MethodSpec(name="loar"), "method.name must be one of base, full, .*; got 'loar'; nearest: lora"),
        (MethodSpec(name="lora", options={"rr": 4}), "method.rr is not a field of LoraConfig; nearest: r"),
        (MethodSpec(name="lora", options={"lora_alfa": 4}), "lora_alfa is not a field .*; nearest: lora_alpha"),
        (MethodSpec(name="peft", options={"peft_type": "LORO"}), "peft_type must be a type .*got 'LORO'; nearest: LO"),
        (
            MethodSpec(name="lora", options={"layers_pattern": "x"}),
            "peft refuses the options of LoraConfig: .*layer",
        ),
        (MethodSpec(name="base", options={"r": 4}), "method 'base' takes no options; got r"),
        (MethodSpec(name="full", options={"r": 4}), "method 'full' takes no options; got r"),
        (MethodSpec(name="lora", over=LORA), "method.over belongs to qpa only; got it with 'lora'"),
        (MethodSpec(name="base", over=LORA), "method.over belongs to qpa only; got it with 'base'"),
    ],
)
def test_options_that_cannot_be_used(method: MethodSpec, message: str) -> None:
    assert re.search(message, refusal(method))


@pytest.mark.parametrize(
    ("options", "over", "message"),
    [
        (
            {"n_mlp": 8},
            None,
            "give `over: {name: ...}` with one of lora, lora_released, dora, .*, peft, or full",
        ),
        ({"n_mlp": 8}, MethodSpec(name="base"), "qpa works over another method"),
        ({"n_mlp": 8}, MethodSpec(name="qpa", over=LORA), "qpa works over another method"),
        ({"n_mlp": 8}, MethodSpec(name="lora", options={"rr": 1}), "method.rr is not a field of LoraConfig"),
        ({"n_mlp": 8, "dept": 2}, LORA, "qpa.dept is not a field of QPAConfig; nearest: depth"),
        ({}, LORA, "qpa.n_mlp is required"),
        ({"n_mlp": 0}, LORA, "qpa.n_mlp must be a whole number of at least 1; got 0"),
        ({"n_mlp": 8, "source": "circut"}, LORA, "qpa.source must be one of circuit, .*; nearest: circuit"),
        ({"n_mlp": 8, "widths": 32}, LORA, "qpa.*widths.*32"),
        ({"n_mlp": 8, "scale": "big"}, LORA, "qpa.*scale.*big"),
    ],
)
def test_qpa_options_that_cannot_be_used(options: dict[str, Any], over: MethodSpec | None, message: str) -> None:
    assert re.search(message, refusal(MethodSpec(name="qpa", options=options, over=over)))


def test_an_adapter_that_finds_no_place_is_a_model_error() -> None:
    nowhere = MethodSpec(name="lora", options={"target_modules": ["nowhere"]})
    check_method(nowhere)
    with pytest.raises(ModelError, match=r"peft cannot put LORA on LlamaForCausalLM: .*nowhere"):
        build_method(tiny_llama(), nowhere, 0)


def test_whatever_peft_trips_over_is_a_model_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise ImportError("sklearn is not installed")

    monkeypatch.setattr("peft.get_peft_model", absent)
    with pytest.raises(ModelError, match="LORA on LlamaForCausalLM: sklearn"):
        build_method(tiny_llama(), LORA, 0)
