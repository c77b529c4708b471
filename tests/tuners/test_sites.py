"""Sites: that every one is what the table says is measured on the models, names are not trusted."""

import re
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from qpeft.errors import ConfigError, ModelError
from qpeft.tuners._sites import PLACEMENTS, REFUSED, SITES, body_path, site_pattern, sites_of
from tiny_families import FAMILIES

# Families with options that change the block; the released models that have them.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon-40b": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-11b": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1}),
    "falcon-rw-1b": ("falcon", {"parallel_attn": False, "multi_query": False, "alibi": True, "bias": True}),
    "gpt_neox-sequential": ("gpt_neox", {"use_parallel_residual": False}),
    "stablelm-2-12b": ("stablelm", {"use_parallel_residual": True}),
    "opt-350m": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "qwen2_moe-mixed": ("qwen2_moe", {"mlp_only_layers": [0]}),
    "granite-3": ("granite", {"residual_multiplier": 0.25}),
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {**{name: (name, {}) for name in FAMILIES}, **VARIANTS}
NORM_AFTER = {"gemma2", "gemma3_text", "gemma3", "olmo2", "olmo3", "exaone4", "glm4", "opt-350m"}
FACTOR = {"granite-3": 0.25}

every_case = pytest.mark.parametrize("case", CASES)


def built(case: str) -> Any:
    """A model whose biases and norms are random too, so that no term of a sum is zero by chance."""
    family, overrides = CASES[case]
    model = FAMILIES[family](**overrides).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@cache
def model_of(case: str) -> Any:
    return built(case)


def matched(model: nn.Module, placement: str, family: str, layers: list[int] | None = None) -> dict[str, nn.Module]:
    pattern = site_pattern(family, placement, layers)
    return {name: module for name, module in model.named_modules() if re.fullmatch(pattern, name)}


def first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def pushed(module: nn.Module, seen: list[Tensor], vector: Tensor) -> Any:
    """Hook a module so that a vector is added to its result, and keep a copy: Falcon adds to it in place."""

    def push(_: nn.Module, args: Any, out: Any) -> Any:
        seen.append(first(out) + vector)
        result = seen[-1].clone()
        return (result, *out[1:]) if isinstance(out, tuple) else result

    return module.register_forward_hook(push)


def sums(model: Any, case: str, ids: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """For each block what it adds to its input, and the sum of what its two sites gave, a known vector included."""
    family, width = CASES[case][0], model.config.get_text_config().hidden_size
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    results: list[Tensor] = []
    for block in model.get_submodule(SITES[family].layers):
        block.register_forward_pre_hook(lambda _, args, kw: inputs.append(args[0].clone()), with_kwargs=True)
        block.register_forward_hook(lambda _, args, out: outputs.append(first(out).clone()))
    for module in matched(model, "both", family).values():
        pushed(module, results, torch.randn(width))
    with torch.no_grad():
        model(input_ids=ids)
    assert (len(inputs), len(outputs), len(results)) == (2, 2, 4)
    given = [(a.view_as(x) + b.view_as(x)) for x, a, b in zip(inputs, results[::2], results[1::2], strict=True)]
    return [y - x for x, y in zip(inputs, outputs, strict=True)], given


def without_norms(model: Any, family: str) -> Any:
    for block in model.get_submodule(SITES[family].layers):
        for name, child in list(block.named_children()):
            if type(child).__name__.endswith("Norm"):
                setattr(block, name, nn.Identity())
    return model


def agree(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.allclose(x, y, rtol=1e-4, atol=1e-4) for x, y in zip(a, b, strict=True))


@every_case
def test_a_block_adds_to_its_input_what_its_two_sites_give(case: str, ids: Tensor) -> None:
    """A vector added at a site reaches the residual stream once and whole, unless the block norms it on the way."""
    added, given = sums(built(case), case, ids)
    assert agree(added, [FACTOR.get(case, 1.0) * total for total in given]) == (case not in NORM_AFTER)


@pytest.mark.parametrize("case", sorted(NORM_AFTER))
def test_where_the_block_norms_what_a_site_gives_only_the_norm_lies_between(case: str, ids: Tensor) -> None:
    family = CASES[case][0]
    model = built(case)
    sites = matched(model, "both", family)
    added, given = sums(without_norms(model, family), case, ids)
    assert agree(added, given)
    assert matched(model, "both", family) == sites
    assert "norm" in SITES[family].note


@every_case
def test_sites_are_one_attention_and_one_feed_forward_a_block(case: str, ids: Tensor) -> None:
    model, family = model_of(case), CASES[case][0]
    attention, feed_forward = (matched(model, placement, family) for placement in ("attention", "feed_forward"))
    assert len(attention) == len(feed_forward) == 2
    assert matched(model, "both", family).keys() == attention.keys() | feed_forward.keys()
    for layer, block in enumerate(model.get_submodule(SITES[family].layers)):
        only = matched(model, "both", family, [layer])
        assert len(only) == 2
        assert set(only.values()) <= set(block.modules())


@every_case
def test_attention_mixes_tokens_and_feed_forward_does_not(case: str, ids: Tensor) -> None:
    """In the first block a change of the first token moves the attention's result at the last, and no other's."""
    model, family = model_of(case), CASES[case][0]
    other = ids.clone()
    other[:, 0] = (ids[:, 0] - 2 + 1) % 95 + 2
    moved = {}
    for placement in ("attention", "feed_forward"):
        seen: list[Tensor] = []
        (site,) = matched(model, placement, family, [0]).values()
        (silent,) = matched(model, "attention", family, [0]).values()
        hooks = [site.register_forward_hook(lambda _, args, out, seen=seen: seen.append(first(out).clone()))]
        if placement == "feed_forward":
            hooks.append(silent.register_forward_hook(zeroed))
        with torch.no_grad():
            model(input_ids=ids)
            model(input_ids=other)
        for hook in hooks:
            hook.remove()
        assert all(result.shape[-1] == model.config.get_text_config().hidden_size for result in seen)
        before, after = (result.reshape(*ids.shape, -1)[:, -1] for result in seen)
        # Experts get other rows beside the last token's, and some processors' kernels then round it otherwise.
        moved[placement] = bool((before - after).abs().max() > 1e-5 * before.abs().max())
    assert moved == {"attention": True, "feed_forward": False}


def zeroed(_: nn.Module, args: Any, out: Any) -> Any:
    return (torch.zeros_like(out[0]), *out[1:]) if isinstance(out, tuple) else torch.zeros_like(out)


@every_case
def test_head_and_body_give_exactly_what_the_output_head_reads(case: str, ids: Tensor) -> None:
    model, family = model_of(case), CASES[case][0]
    seen: dict[str, Tensor] = {}
    (site,) = matched(model, "head", family).values()
    hooks = [
        site.register_forward_hook(lambda _, args, out: seen.update(head=out)),
        model.get_submodule(body_path(family)).register_forward_hook(
            lambda _, args, out: seen.update(body=out.last_hidden_state)
        ),
        model.get_output_embeddings().register_forward_pre_hook(lambda _, args: seen.update(read=args[0])),
    ]
    with torch.no_grad():
        model(input_ids=ids)
    for hook in hooks:
        hook.remove()
    assert torch.equal(seen["head"], seen["read"])
    assert torch.equal(seen["body"], seen["read"])


@every_case
def test_pattern_fits_the_model_without_its_output_head(case: str) -> None:
    model, family = model_of(case), CASES[case][0]
    for placement in PLACEMENTS:
        assert set(matched(model.base_model, placement, family).values()) == set(
            matched(model, placement, family).values()
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_models_are_equal_at_each_call_and_have_no_dropout(family: str, ids: Tensor) -> None:
    model, again = FAMILIES[family]().train(), FAMILIES[family]().eval()
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, again(input_ids=ids).logits)


def test_table_holds_causal_language_models_of_transformers_and_all_are_tested() -> None:
    assert set(SITES) <= set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert set(SITES) == set(FAMILIES)
    assert all(model_of(family).config.model_type == family for family in FAMILIES)


def test_refused_are_model_types_of_transformers_with_a_reason_and_no_sites() -> None:
    assert set(REFUSED) <= set(CONFIG_MAPPING_NAMES)
    assert not set(REFUSED) & set(SITES)
    for family, reason in REFUSED.items():
        with pytest.raises(ModelError, match=re.escape(reason)) as caught:
            sites_of(family)
        assert "target_modules" in str(caught.value)


def test_unknown_family_names_the_nearest_the_known_and_the_way_on() -> None:
    with pytest.raises(ModelError, match=r"'gpt-neox'; nearest: gpt_neox; .*target_modules.*bloom.*qwen3_moe"):
        site_pattern("gpt-neox", "both")
    with pytest.raises(ModelError, match="target_modules"):
        body_path("None")


def test_unknown_placement_is_named() -> None:
    with pytest.raises(ConfigError, match=r"placement must be one of .*'atention'; nearest: attention"):
        site_pattern("gpt2", "atention")


@pytest.mark.parametrize("layers", [[], [-1], [0, "1"], [True], [1.0]])
def test_layers_must_be_indices(layers: list[Any]) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"got {layers!r}")):
        site_pattern("llama", "both", layers)


def test_head_has_no_layers() -> None:
    with pytest.raises(ConfigError, match="'head', which is one place"):
        site_pattern("llama", "head", [0])


def test_a_layer_is_not_another_that_starts_with_its_digits() -> None:
    pattern = site_pattern("llama", "both", [1, 20])
    assert re.fullmatch(pattern, "model.layers.20.mlp")
    for name in (
        "model.layers.11.mlp",
        "model.layers.2.mlp",
        "model.layers.120.mlp",
        "modelxlayers.1.mlp",
        "x.layers.1.mlp",
    ):
        assert not re.fullmatch(pattern, name)
