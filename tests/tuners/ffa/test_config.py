"""Every field of FFAConfig is checked at the door, and a place that cannot take it leaves the model alone."""

from typing import Any

import peft
import pytest
import torch

from qpeft.errors import ConfigError, ModelError
from qpeft.tuners._peft import BaseTunerLayer
from qpeft.tuners.ffa import FFAConfig


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("bottleneck", 0, "ffa.bottleneck must be None or a whole number of at least 1; got 0"),
        ("bottleneck", 2.0, "got 2.0"),
        ("bottleneck", True, "got True"),
        ("reduction", 0, "ffa.reduction must be a whole number of at least 1; got 0"),
        ("activation", "gleu", "ffa.activation must be one of .*; got 'gleu'; nearest: gelu"),
        ("use_bias", "none", "ffa.use_bias must be true or false; got 'none'"),
        ("dropout", 1.0, "ffa.dropout must be a number of at least 0 and below 1; got 1.0"),
        ("dropout", -0.1, "got -0.1"),
        ("scale", 0, "ffa.scale must be a number above 0; got 0"),
        ("scale", True, "got True"),
        ("init_weights", 1, "ffa.init_weights must be true or false; got 1"),
        ("insertion", "beside", "ffa.insertion must be one of after, parallel, before; got 'beside'"),
        ("placement", "heads", "ffa.placement must be one of .*; nearest: head"),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FFAConfig(**{field: value})


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"bottleneck.*\n.*reduction"):
        FFAConfig(bottleneck=0, reduction=-1)


def test_parallel_to_the_final_norm_is_refused_but_for_a_module_the_user_names() -> None:
    with pytest.raises(ConfigError, match=r"'head'; got 'parallel'.*use insertion='after'"):
        FFAConfig(placement="head", insertion="parallel")
    assert FFAConfig(placement="head", insertion="parallel", target_modules=["q_proj"]).insertion == "parallel"


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        # q_proj takes its bottleneck before the embedding refuses, up_proj before down_proj is seen.
        (FFAConfig(target_modules=["q_proj", "embed_tokens"], insertion="parallel"), ModelError, "maps no hidden"),
        (FFAConfig(target_modules=["q_proj"], reduction=33), ConfigError, "at most the width .*, 32; got 33"),
        (FFAConfig(target_modules=["down_proj", "up_proj"], insertion="before", reduction=40), ConfigError, "got 40"),
    ],
)
def test_a_model_that_cannot_take_the_adapter_is_left_as_it_was(
    llama: Any, ids: torch.Tensor, config: FFAConfig, error: type[Exception], words: str
) -> None:
    before, names = llama(ids).logits, list(llama.state_dict())
    with pytest.raises(error, match=words):
        peft.get_peft_model(llama, config)
    assert list(llama.state_dict()) == names
    assert not any(isinstance(module, BaseTunerLayer) for module in llama.modules())
    assert torch.equal(llama(ids).logits, before)


def test_a_second_adapter_that_fails_leaves_the_first() -> None:
    model = peft.get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)), FFAConfig(target_modules=["0"]))
    before = list(model.state_dict())
    with pytest.raises(ConfigError, match="got 5"):
        model.add_adapter("second", FFAConfig(target_modules=["0"], reduction=5))
    assert list(model.state_dict()) == before
    assert list(model.base_model.peft_config) == ["default"]
