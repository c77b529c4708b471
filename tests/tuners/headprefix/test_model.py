"""A model whose body is wrapped still answers what transformers asks of it, and takes what transformers sets."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from qpeft.tuners.headprefix import HeadPrefixConfig, HeadPrefixLayer
from tiny_models import tiny_llama


def tied_gpt2() -> Any:
    torch.manual_seed(9)
    return GPT2LMHeadModel(GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=2, n_positions=64))


@pytest.fixture(params=[tiny_llama, tied_gpt2], ids=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> Any:
    return peft.get_peft_model(request.param(), HeadPrefixConfig(num_positions=9, init_weights=False)).eval()


def body_of(model: Any) -> HeadPrefixLayer:
    body = model.base_model.model.base_model
    assert isinstance(body, HeadPrefixLayer)
    return body


def test_new_embeddings_reach_the_body(model: Any, ids: torch.Tensor) -> None:
    before = model(ids).logits
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.resize_token_embeddings(101, mean_resizing=False)
    after = model(torch.full_like(ids, 100)).logits
    assert after.shape[-1] == 101
    torch.testing.assert_close(model(ids).logits[..., :97], before)
    body = body_of(model).base_layer
    assert body.get_input_embeddings() is model.get_input_embeddings()
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) is tied
    model.set_input_embeddings(torch.nn.Embedding(50, 32))
    assert body.get_input_embeddings().num_embeddings == 50


def test_the_body_that_others_ask_for_has_the_table(model: Any, ids: torch.Tensor) -> None:
    for body in (model.get_decoder(), model.base_model.model.get_decoder(), model.get_base_model().base_model):
        assert torch.equal(model.get_output_embeddings()(body(ids).last_hidden_state), model(ids).logits)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_(en|dis)able. is deprecated:FutureWarning")
def test_switches_reach_the_body_and_leave_nothing_on_the_layer(model: Any) -> None:
    body = body_of(model)
    before = set(vars(body))
    for switch, state in ((model.gradient_checkpointing_enable, True), (model.gradient_checkpointing_disable, False)):
        switch()
        assert body.base_layer.gradient_checkpointing is state
        assert "gradient_checkpointing" not in vars(body)
    assert {name for name in set(vars(body)) - before if not name.startswith("_")} == set()
    model.train()
    assert body.training
    assert body.base_layer.training


def test_the_file_holds_one_table_and_the_unloaded_model_saves_as_ever(
    model: Any, ids: torch.Tensor, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "adapter")
    state = peft.get_peft_model_state_dict(model)
    assert [tuple(value.shape) for value in state.values()] == [(9, 32)]
    assert all(name.endswith("headprefix_modules.table") for name in state)
    base = model.unload()
    kind, before = type(base), base(ids).logits
    base.save_pretrained(tmp_path / "base")
    again = kind.from_pretrained(tmp_path / "base").eval()
    assert torch.equal(again(ids).logits, before)


def test_it_compiles_into_one_graph(model: Any, ids: torch.Tensor) -> None:
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(ids).logits, model(ids).logits)
