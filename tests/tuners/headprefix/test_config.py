"""HeadPrefixConfig refuses what it cannot do, and the readings of the paper's words are as its docstring says."""

from typing import Any

import peft
import pytest
import torch
from transformers import GemmaConfig, GemmaForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig

from qpeft.errors import ConfigError, ModelError
from qpeft.tuners._peft import BaseTunerLayer
from qpeft.tuners.headprefix import HeadPrefixConfig


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("num_positions", 0, "headprefix.num_positions must be a whole number of at least 1; got 0"),
        ("num_positions", 5.0, "got 5.0"),
        ("num_positions", True, "got True"),
        ("init_weights", "no", "headprefix.init_weights must be true or false; got 'no'"),
        ("layers_to_transform", 1, r"headprefix.layers_to_transform must be left out.*got \[1\]"),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HeadPrefixConfig(**{field: value})


@pytest.mark.parametrize("target", [["q_proj"], ["norm"], ["embed_tokens"], r"model\.layers\.0"])
def test_a_module_that_knows_no_positions_is_refused(llama: Any, ids: torch.Tensor, target: Any) -> None:
    before, names = llama(ids).logits, list(llama.state_dict())
    with pytest.raises(ModelError, match=r"must name the body of the model.*leave target_modules out"):
        peft.get_peft_model(llama, HeadPrefixConfig(target_modules=target))
    assert list(llama.state_dict()) == names
    assert not any(isinstance(module, BaseTunerLayer) for module in llama.modules())
    assert torch.equal(llama(ids).logits, before)


class ForeignConfig(LlamaConfig):  # type: ignore[misc]
    model_type = "llama_of_somebody"


def test_the_body_may_be_named_where_the_family_is_unknown(llama: Any, ids: torch.Tensor) -> None:
    config = HeadPrefixConfig(num_positions=8, init_weights=False)
    torch.manual_seed(0)
    known = peft.get_peft_model(llama, config)
    looked_up = known(ids).logits
    table = known.base_model.model.model.deltas["default"].table
    llama = known.unload()
    llama.config.__class__ = ForeignConfig
    with pytest.raises(ModelError, match="name modules of the model with target_modules"):
        peft.get_peft_model(llama, HeadPrefixConfig())
    named = peft.get_peft_model(llama, HeadPrefixConfig(num_positions=8, target_modules=["model"]))
    with torch.no_grad():
        named.base_model.model.model.deltas["default"].table.copy_(table)
    assert torch.equal(named(ids).logits, looked_up)


def test_rows_before_the_sequence_at_the_head_train_nothing(llama: Any, ids: torch.Tensor) -> None:
    """The first reading: the head maps each position by itself."""
    hidden = llama.model(ids).last_hidden_state.detach()
    rows = torch.randn(1, 5, 32, requires_grad=True)
    logits = llama.lm_head(torch.cat([rows.expand(2, -1, -1), hidden], dim=1))[:, 5:]
    torch.testing.assert_close(logits, llama.lm_head(hidden))
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert torch.autograd.grad(loss, rows)[0].count_nonzero() == 0
    # The reading with an effect: a table on the positions themselves.
    model = peft.get_peft_model(llama, HeadPrefixConfig(num_positions=5))
    model(ids, labels=ids).loss.backward()
    table = model.base_model.model.model.deltas["default"].table
    assert table.grad is not None
    assert table.grad.abs().sum(1).gt(0).all()


GEMMA = GemmaConfig(
    hidden_size=2048,
    intermediate_size=16384,
    num_hidden_layers=18,
    num_attention_heads=8,
    num_key_value_heads=1,
    head_dim=256,
)


@pytest.mark.parametrize(
    ("kind", "base", "count", "percent"),
    [(GPT2LMHeadModel, GPT2Config(), 393_216, 1.01), (GemmaForCausalLM, GEMMA, 1_048_576, 0.20)],
)
def test_counts_of_the_paper_on_real_dimensions(kind: type[Any], base: Any, count: int, percent: float) -> None:
    """512 x d numbers, in per cent of the head (arXiv:2410.09846, Table 2, cut off after two digits)."""
    with torch.device("meta"):
        model = kind(base)
    head = model.lm_head.weight.numel()
    model = peft.get_peft_model(model, HeadPrefixConfig())
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count
    assert int(1e4 * count / head) / 100 == percent


def test_prompt_tuning_of_peft_has_the_same_count_elsewhere() -> None:
    """The third reading."""
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config(n_layer=1))
        config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=512)
        model = peft.get_peft_model(model, config)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 393_216
