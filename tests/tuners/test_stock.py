"""Prefix tuning from real tokens: keys and values are the model's own, and what cannot be so is refused."""

from typing import Any

import peft
import pytest
import torch

from qpeft.data import Row
from qpeft.errors import ConfigError, DataError
from qpeft.records import MethodSpec
from qpeft.training.methods import Built, build_method, check_method
from tiny_models import tiny_llama

TOKENS = MethodSpec(name="prefix", options={"num_virtual_tokens": 5, "start": "tokens"})
ROWS = [Row(ids=[3, 4, 5], counts=[True] * 3), Row(ids=[6, 7, 8], counts=[True] * 3)]


def started(method: MethodSpec) -> Built:
    built = build_method(tiny_llama(), method, 0)
    built.begin(method, ROWS)
    return built


@pytest.mark.parametrize("under_qpa", [False, True])
def test_the_model_goes_on_as_after_the_tokens_themselves(under_qpa: bool, ids: torch.Tensor) -> None:
    """The oracle is the plain model that reads the tokens before each row."""
    method = MethodSpec(name="qpa", options={"n_mlp": 16}, over=TOKENS) if under_qpa else TOKENS
    built = started(method)
    before = torch.tensor([[3, 4, 5, 6, 7]]).expand(len(ids), -1)
    with torch.no_grad():
        expected = tiny_llama().eval()(input_ids=torch.cat([before, ids], 1)).logits[:, 5:]
        torch.testing.assert_close(built.model.eval()(input_ids=ids).logits, expected, atol=1e-5, rtol=1e-4)
    assert built.notes[-1] == "the prefix starts from keys and values of the first 5 tokens of the training rows"


def test_a_spec_without_a_start_begins_as_peft_does() -> None:
    method = MethodSpec(name="prefix", options={"num_virtual_tokens": 5})
    config, base = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5), tiny_llama()
    torch.manual_seed(0)
    plain: Any = peft.get_peft_model(base, config)
    built = started(method)
    assert not built.notes
    assert torch.equal(built.named_trainable()[0][1], next(p for p in plain.parameters() if p.requires_grad))


def test_too_few_tokens_and_wrong_words_are_named() -> None:
    long = MethodSpec(name="prefix", options={"num_virtual_tokens": 7, "start": "tokens"})
    with pytest.raises(DataError, match="a prefix of 7 tokens of the training rows needs as many; the rows have 6"):
        started(long)
    with pytest.raises(
        ConfigError, match=r"method\.start must be one of random, tokens; got 'token'; nearest: tokens"
    ):
        check_method(MethodSpec(name="prefix", options={"num_virtual_tokens": 7, "start": "token"}))
    body = {"num_virtual_tokens": 7, "start": "tokens", "prefix_projection": True, "encoder_hidden_size": 8}
    with pytest.raises(ConfigError, match="tokens needs prefix_projection false"):
        check_method(MethodSpec(name="prefix", options=body))
