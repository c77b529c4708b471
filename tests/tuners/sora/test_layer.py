"""The update of SoRA: its formula, LoRA as oracle, precision, and merging into one weight."""

from typing import Any

import peft
import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from qpeft.errors import ModelError
from qpeft.tuners.sora import SoraConfig, SoraDelta, SoraLinear


def delta_of(d_in: int = 6, d_out: int = 4, **options: Any) -> SoraDelta:
    torch.manual_seed(2)
    return SoraDelta(SoraConfig(init_weights=False, **{"r": 3, "lora_alpha": 5, **options}), d_in, d_out)


def layer_of(base: nn.Module, **options: Any) -> SoraLinear:
    layer = SoraLinear(base)
    width_in, width_out = base.weight.shape if isinstance(base, Conv1D) else base.weight.shape[::-1]
    layer.add("default", delta_of(width_in, width_out, **options), inference_mode=False)
    return layer.eval()


def test_formula() -> None:
    delta, x = delta_of(), torch.randn(2, 5, 6)
    expected = 5 / 3 * torch.einsum("btd,rd,r,or->bto", x, delta.A, delta.gate, delta.B)
    torch.testing.assert_close(delta(x), expected)
    torch.testing.assert_close(x @ delta.weight().T, expected)


def test_start() -> None:
    torch.manual_seed(0)
    delta = SoraDelta(SoraConfig(r=4000), 9, 2)
    assert torch.equal(delta.B, torch.zeros(2, 4000))
    # Kaiming-uniform with a = sqrt(5) is U(-1/sqrt(d_in), 1/sqrt(d_in)).
    assert 0.32 < delta.A.abs().max() <= 1 / 3
    assert abs(delta.gate.mean()) < 0.05
    assert abs(delta.gate.std() - 1) < 0.05
    assert torch.equal(SoraDelta(SoraConfig(gate_init="ones"), 9, 2).gate, torch.ones(8))


def test_gates_of_one_are_lora() -> None:
    delta, x = delta_of(gate_init="ones"), torch.randn(7, 6)
    base = nn.Sequential(nn.Linear(6, 4))
    lora = peft.get_peft_model(base, peft.LoraConfig(r=3, lora_alpha=5, target_modules=["0"]))
    layer = lora.base_model.model[0]
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(delta.A)
        layer.lora_B["default"].weight.copy_(delta.B)
    sora = SoraLinear(layer.base_layer)
    sora.add("default", delta, inference_mode=False)
    assert torch.equal(sora(x), lora(x))


def test_a_zero_gate_is_a_missing_rank() -> None:
    delta, x = delta_of(), torch.randn(7, 6)
    with torch.no_grad():
        delta.gate[1] = 0
    keep = [0, 2]
    expected = 5 / 3 * ((x @ delta.A[keep].T) * delta.gate[keep]) @ delta.B[:, keep].T
    torch.testing.assert_close(delta(x), expected)


def test_a_zero_gate_can_come_back() -> None:
    delta = delta_of()
    with torch.no_grad():
        delta.gate.zero_()
    delta(torch.randn(7, 6)).square().sum().backward()
    assert torch.equal(delta.gate.grad, torch.zeros(3))  # of a loss that is least at an update of zero
    delta.zero_grad()
    delta(torch.randn(7, 6)).sum().backward()
    assert (delta.gate.grad != 0).all()
    assert torch.equal(delta.A.grad, torch.zeros(3, 6))


@pytest.mark.parametrize("autocast", [False, True])
def test_float32_whatever_the_model_does(autocast: bool) -> None:
    delta, x = delta_of(), torch.randn(7, 6).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        y = delta(x)
    assert y.dtype == torch.float32
    assert torch.equal(y, delta(x.float()))
    layer = layer_of(nn.Linear(6, 4).bfloat16())
    assert layer(x).dtype == torch.bfloat16


def test_dropout_acts_in_training_only() -> None:
    delta, x = delta_of(lora_dropout=0.5), torch.ones(100, 6)
    assert not torch.equal(delta(x)[0], delta(x)[1])
    delta.eval()
    torch.testing.assert_close(delta(x), x @ delta.weight().T)


@pytest.mark.parametrize("base", [nn.Linear(6, 4), Conv1D(4, 6), nn.Linear(6, 4).double()])
def test_merge_and_unmerge(base: Any) -> None:
    before, x = base.weight.detach().clone(), torch.randn(7, 6, dtype=base.weight.dtype)
    layer = layer_of(base)
    expected = layer(x)
    layer.merge(safe_merge=True)
    assert layer.merged_adapters == ["default"]
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=0)
    assert not torch.equal(base.weight, before)
    layer.unmerge()
    torch.testing.assert_close(base.weight, before, atol=1e-5, rtol=0)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=0)


def test_safe_merge_refuses_what_is_not_finite() -> None:
    layer = layer_of(nn.Linear(6, 4))
    with torch.no_grad():
        layer.delta("default").gate[0] = float("inf")
    before = layer.base_layer.weight.detach().clone()
    with pytest.raises(ModelError, match="'default' would merge to values that are not finite"):
        layer.merge(safe_merge=True)
    assert torch.equal(layer.base_layer.weight, before)
    assert not layer.merged
