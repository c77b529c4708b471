"""The bottleneck against hand-written modules and hooks on a model nobody wrapped, and its counts on real models."""

from typing import Any

import peft
import pytest
import torch
from torch import nn
from transformers import GemmaConfig, GemmaForCausalLM, GPT2Config, GPT2LMHeadModel

from qpeft.tuners.ffa import FFAConfig, FFADelta

WORD = {"gelu": nn.GELU(), "relu": nn.ReLU(), "tanh": nn.Tanh(), "silu": nn.SiLU(), "none": nn.Identity()}


def deltas(model: nn.Module) -> list[FFADelta]:
    return [module for module in model.modules() if isinstance(module, FFADelta)]


def trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("activation", list(WORD))
@pytest.mark.parametrize("use_bias", [True, False])
def test_parallel_to_a_linear_layer_equals_a_hand_written_sequential(activation: str, use_bias: bool) -> None:
    base = nn.Linear(6, 4)
    config = FFAConfig(
        target_modules=["0"],
        insertion="parallel",
        bottleneck=3,
        activation=activation,
        use_bias=use_bias,
        scale=0.7,
        init_weights=False,
    )
    model = peft.get_peft_model(nn.Sequential(base), config)
    (delta,) = deltas(model)
    oracle = nn.Sequential(nn.Linear(6, 3, bias=use_bias), WORD[activation], nn.Linear(3, 4, bias=use_bias))
    weights = {"0.weight": delta.down, "2.weight": delta.up}
    if use_bias:
        weights |= {"0.bias": delta.down_bias, "2.bias": delta.up_bias}
    oracle.load_state_dict(weights)
    x = torch.randn(5, 6)
    torch.testing.assert_close(model(x), base(x) + 0.7 * oracle(x))


@pytest.mark.parametrize("placement", ["attention", "feed_forward", "both", "head"])
def test_sequential_equals_hooks_on_the_model_itself(llama: Any, ids: torch.Tensor, placement: str) -> None:
    model = peft.get_peft_model(llama, FFAConfig(placement=placement, bottleneck=5, init_weights=False)).eval()
    wrapped = model(ids).logits
    # Module order is the same on both sides: attention and feed-forward, layer by layer.
    weights = [(delta.down, delta.up) for delta in deltas(model)]
    base = model.unload()
    layers = [(layer.self_attn, layer.mlp) for layer in base.model.layers]
    sites = {
        "attention": [attention for attention, _ in layers],
        "feed_forward": [mlp for _, mlp in layers],
        "both": [site for pair in layers for site in pair],
        "head": [base.model.norm],
    }[placement]
    assert len(sites) == len(weights)
    for site, (down, up) in zip(sites, weights, strict=True):

        def hook(
            module: nn.Module, args: Any, out: Any, down: torch.Tensor = down, up: torch.Tensor = up
        ) -> tuple[Any, ...] | torch.Tensor:
            h = out[0] if isinstance(out, tuple) else out
            h = h + nn.functional.gelu(h @ down.T) @ up.T
            return (h, *out[1:]) if isinstance(out, tuple) else h

        site.register_forward_hook(hook)
    torch.testing.assert_close(base(ids).logits, wrapped)


def test_before_the_head_is_what_the_paper_draws(llama: Any, ids: torch.Tensor) -> None:
    hidden = llama.model(ids).last_hidden_state
    model = peft.get_peft_model(llama, FFAConfig(placement="head", init_weights=False))
    (delta,) = deltas(model)
    torch.testing.assert_close(model(ids).logits, llama.lm_head(hidden + delta(hidden)))


def test_the_reduction_is_of_the_width_that_is_read() -> None:
    delta = FFADelta(FFAConfig(insertion="parallel", reduction=2, use_bias=True), 8, 20)
    assert {name: tuple(p.shape) for name, p in delta.named_parameters()} == {
        "down": (4, 8),
        "up": (20, 4),
        "down_bias": (4,),
        "up_bias": (20,),
    }


def test_dropout_acts_in_training_only() -> None:
    delta = FFADelta(FFAConfig(dropout=0.5, init_weights=False), 64, 64)
    x = torch.randn(3, 64)
    assert not torch.equal(delta(x), delta(x))
    delta.eval()
    assert torch.equal(delta(x), delta(x))


def test_the_bottleneck_computes_in_float32_under_autocast() -> None:
    delta = FFADelta(FFAConfig(init_weights=False), 64, 64)
    x = torch.randn(3, 64).bfloat16()
    exact = delta(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(delta(x), exact)
    assert exact.dtype == torch.float32


def meta(kind: type[Any], config: Any) -> Any:
    with torch.device("meta"):
        return kind(config)


GEMMA = GemmaConfig(
    hidden_size=2048,
    intermediate_size=16384,
    num_hidden_layers=18,
    num_attention_heads=8,
    num_key_value_heads=1,
    head_dim=256,
)


@pytest.mark.parametrize(
    ("kind", "base", "use_bias", "count"),
    [
        (GPT2LMHeadModel, GPT2Config(), False, 294_912),
        (GPT2LMHeadModel, GPT2Config(), True, 295_872),
        (GemmaForCausalLM, GEMMA, False, 2_097_152),
    ],
)
def test_counts_of_the_paper_on_real_dimensions(kind: type[Any], base: Any, use_bias: bool, count: int) -> None:
    """0.76 % of GPT-2's head and 0.40 % of Gemma's (arXiv:2410.09846, Table 2)."""
    model = meta(kind, base)
    head = model.lm_head.weight.numel()
    model = peft.get_peft_model(model, FFAConfig(placement="head", use_bias=use_bias))
    assert trainable(model) == count
    assert int(1e4 * count / head) / 100 == {50257 * 768: 0.76, 256000 * 2048: 0.40}[head]
    # A tied head is not touched.
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
