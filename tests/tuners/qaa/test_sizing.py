"""Sizes of QAA's updates: the first batch sets them, files keep them, and what a fixed scale would do is foretold."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from qpeft.tuners import QAAConfig
from qpeft.tuners.qaa.config import SOURCES
from qpeft.tuners.qaa.sizing import RATE
from tiny_models import tiny_llama
from tiny_qaa import deltas, logits


def llama(layers: int, std: float) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        vocab_size=97,
        initializer_range=std,
    )
    return LlamaForCausalLM(config).eval()


def hidden(model: Any, ids: Tensor) -> Tensor:
    """The states before the last norm."""
    seen: list[Tensor] = []
    handle = model.get_base_model().model.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        model(input_ids=ids)
    handle.remove()
    return seen[0]


def first_step(model: Any, ids: Tensor, rate: float = RATE) -> float:
    """Relative change of the last hidden states by one step of Adam, measured."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate)
    model(input_ids=ids, labels=ids).loss.backward()
    before = hidden(model, ids)
    optimizer.step()
    return ((hidden(model, ids) - before).norm(dim=-1) / before.norm(dim=-1)).mean().item()


@pytest.mark.parametrize("insertion", ["after", "parallel", "before"])
@pytest.mark.parametrize(("layers", "std"), [(2, 0.02), (2, 0.2), (24, 0.02), (24, 0.1)])
def test_first_step_changes_hidden_states_by_what_was_asked_for(layers: int, std: float, insertion: str) -> None:
    ids = torch.randint(97, (2, 24), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    # `before` sizes what goes into a module; at the norms' results that is what the module is used to.
    config = QAAConfig(first_step=0.02, insertion=insertion)
    model = get_peft_model(llama(layers, std), config)
    changed = first_step(model, ids)
    assert 0.02 / 6 < changed < 0.02 * 6, changed
    (survey,) = {id(module.survey): module.survey for module in deltas(model).values()}.values()
    assert survey.n_modules == 2 * layers == len(survey.changes)
    assert survey.first_step(RATE) == pytest.approx(0.02, rel=1e-5)
    assert survey.first_step(5 * RATE) == pytest.approx(0.1, rel=1e-5)


def test_scale_is_the_formula_of_medians(ids: Tensor) -> None:
    torch.manual_seed(0)
    model = get_peft_model(tiny_llama(), QAAConfig(first_step=0.03))
    module = next(iter(deltas(model).values()))
    seen: list[Tensor] = []
    module.register_forward_hook(lambda m, args, out: seen.append(args[0].detach()))
    model(input_ids=ids)
    size = seen[0].double().square().mean(-1).sqrt().median()
    reading = module.features(seen[0]).detach().double().abs().sum(-1).median()
    assert float(module.scale) == pytest.approx(float(0.03 * size / (1e-3 * reading * 4**0.5)), rel=1e-5)
    model(input_ids=ids.flip(0) + 1)
    assert float(module.scale) == pytest.approx(float(0.03 * size / (1e-3 * reading * 4**0.5)), rel=1e-5), "once only"


def test_nothing_is_measured_without_training_and_nothing_changes(ids: Tensor) -> None:
    model = get_peft_model(tiny_llama(), QAAConfig())
    assert torch.equal(logits(model, ids), logits(tiny_llama(), ids))
    assert all(float(module.scale) == 0 for module in deltas(model).values())
    model.train()
    with torch.no_grad():
        out = model(input_ids=ids).logits
    assert torch.equal(out, logits(tiny_llama(), ids))
    assert all(float(module.scale) > 0 for module in deltas(model).values())


@pytest.mark.parametrize("source", SOURCES)
def test_a_trained_adapter_comes_back_with_its_sizes(source: str, ids: Tensor, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = get_peft_model(tiny_llama(), QAAConfig(source=source, up_bias=True, task_type="CAUSAL_LM"))
    first_step(model, ids, rate=1e-2)
    model.save_pretrained(tmp_path)
    assert all(name.rsplit(".", 1)[1] != "scale" for name, p in model.named_parameters() if p.requires_grad)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(name.endswith(".scale") for name in stored) == 4
    for low in (False, True):
        loaded = PeftModel.from_pretrained(tiny_llama(), tmp_path, low_cpu_mem_usage=low, is_trainable=True)
        loaded.train()(input_ids=ids.flip(1), labels=ids)  # training goes on without another measurement
        assert torch.equal(logits(loaded, ids), logits(model, ids))


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_sizes_and_gradients(reentrant: bool, ids: Tensor) -> None:
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = get_peft_model(tiny_llama(), QAAConfig()).train()
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model(input_ids=ids, labels=ids).loss.backward()
        modules = deltas(model).values()
        found.append(([float(m.scale) for m in modules], [m.up.grad for m in modules]))
    assert found[0][0] == found[1][0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other)


def test_a_zero_hidden_state_waits_for_one_that_is_not() -> None:
    module = next(iter(deltas(get_peft_model(tiny_llama(), QAAConfig())).values()))
    module(torch.zeros(3, 32))
    assert float(module.scale) == 0
    module(torch.ones(3, 32))
    assert float(module.scale) > 0


@pytest.mark.parametrize("preset", ["paper", "text", "recommended"])
def test_a_fixed_scale_that_breaks_a_model_warns_once_and_says_what_to_do(preset: str) -> None:
    ids = torch.randint(97, (2, 24), generator=torch.Generator().manual_seed(0))
    deep, config = llama(24, 0.02), QAAConfig(preset=preset)
    model = get_peft_model(deep, config)
    with pytest.warns(UserWarning, match=rf"preset '{preset}' \(scale .*use preset 'measured', or a learning") as seen:
        model(input_ids=ids, labels=ids).loss.backward()
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(input_ids=ids, labels=ids)
