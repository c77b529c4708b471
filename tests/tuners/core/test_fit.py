"""The basis of the gradients: autograd's own gradient, parts, quantised weights, and what is left as it was."""

from typing import Any

import peft
import pytest
import torch
from torch import nn

import qpeft
from qpeft.errors import ModelError
from qpeft.tuners.core.basis import singular_vectors
from qpeft.tuners.core.fit import summed_gradients, untouched
from qpeft.tuners.core.layer import core_layers

FAMILIES = ["llama", "gpt2", "gemma"]


def batches(count: int) -> list[dict[str, torch.Tensor]]:
    torch.manual_seed(2)
    found = [torch.randint(2, 90, (2, 9)) for _ in range(count)]
    return [{"input_ids": ids, "labels": ids} for ids in found]


def unfitted(base: Any, **options: Any) -> Any:
    torch.manual_seed(11)
    config = qpeft.CoreConfig(task_type="CAUSAL_LM", **{"r": 4, "target_modules": "all-linear", **options})
    return peft.get_peft_model(base, config)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_is_autograds(make_base: Any, family: str) -> None:
    base, rows = make_base(family), batches(3)
    for batch in rows:
        batch["labels"] = batch["labels"].masked_fill(batch["labels"] < 20, -100)
        (base(**batch).loss * (batch["labels"][:, 1:] != -100).sum()).backward()
    expected = {name: p.grad for name, p in base.named_parameters()}
    model = unfitted(make_base(family))
    layers = core_layers(model, "default")
    with untouched(model):
        found = summed_gradients(model, layers, rows)
    assert found.keys() == layers.keys()
    for name, gradient in found.items():
        wanted = expected[f"{name.removeprefix('base_model.model.')}.weight"]
        wanted = wanted.T if family == "gpt2" else wanted
        torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-4)
    assert all(p.grad is None for p in model.parameters())


def test_parts_change_nothing_and_everything_is_left_as_it_was(make_base: Any) -> None:
    first, second = (unfitted(make_base("llama"), modules_to_save=["lm_head"]).train() for _ in range(2))
    first.get_submodule("base_model.model.model.layers.0").eval()
    before = [(name, p.requires_grad, p.grad) for name, p in first.named_parameters()]
    modes = [m.training for m in first.modules()]
    told = qpeft.fit_basis(first, batches(10))
    assert str(told).startswith("the basis of 14 layers was fitted")
    assert (told.batches, told.tokens, told.passes) == (8, 8 * 18, 1)
    assert "8 batches (144 tokens)" in str(told)
    assert [(name, p.requires_grad, p.grad) for name, p in first.named_parameters()] == before
    assert [m.training for m in first.modules()] == modes
    many = qpeft.fit_basis(second, iter(batches(10)), memory=10_000)
    assert many.passes == 10  # at most 2,500 numbers at a time: pairs of the square layers, the wider ones alone
    for a, b in zip(core_layers(first, "default").values(), core_layers(second, "default").values(), strict=True):
        torch.testing.assert_close(a.delta("default").U, b.delta("default").U, atol=1e-4, rtol=0)
        assert torch.equal(a.delta("default").U.T @ a.delta("default").U > 0.5, torch.eye(4) > 0)
    assert qpeft.fit_basis(first, batches(1)) is None


def test_the_basis_is_that_of_the_mean_gradient(make_base: Any) -> None:
    model, base, rows = unfitted(make_base("llama"), basis_batches=2), make_base("llama"), batches(2)
    qpeft.fit_basis(model, batches(5))
    sum(base(**batch).loss for batch in rows).backward()
    for name, layer in core_layers(model, "default").items():
        gradient = base.get_submodule(name.removeprefix("base_model.model.")).weight.grad
        left, right = singular_vectors(gradient, 4)
        found = layer.delta("default")
        torch.testing.assert_close(found.U @ found.U.T, left @ left.T, atol=1e-3, rtol=0)
        torch.testing.assert_close(found.V @ found.V.T, right @ right.T, atol=1e-3, rtol=0)


def test_a_step_in_the_basis_beats_one_in_a_random_basis(make_base: Any) -> None:
    """What the basis is for: the same number of parameters reaches a lower loss."""
    reached, batch = {}, batches(1)[0]
    for basis in ("gradient", "random"):
        model = unfitted(make_base("llama"), basis=basis, core="full")
        if basis == "gradient":
            qpeft.fit_basis(model, [batch])
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
        for _ in range(10):
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
        reached[basis] = loss.item()
    assert reached["gradient"] < reached["random"] - 0.1


class Quantised(nn.Module):
    """A linear layer of whole numbers, as quantisation libraries have it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.scale = linear.weight.detach().abs().max() / 127
        self.weight = nn.Parameter((linear.weight / self.scale).round().to(torch.int8), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (self.weight.to(x.dtype) * self.scale).T


def test_a_quantised_base_has_gradients_and_no_singular_vectors(make_base: Any) -> None:
    bases = [make_base("llama") for _ in range(2)]
    for base in bases:
        for layer in base.model.layers:
            layer.self_attn.q_proj = Quantised(layer.self_attn.q_proj)
    model = unfitted(bases[0], target_modules=["q_proj"])
    assert qpeft.fit_basis(model, batches(2)).layers == 2
    model.train()(**batches(1)[0]).loss.backward()
    with pytest.raises(ModelError, match="Quantised has none; take basis 'gradient' or 'random'"):
        unfitted(bases[1], target_modules=["q_proj"], basis="weight")
    assert not hasattr(bases[1], "peft_config")


def test_refusals(make_base: Any, ids: torch.Tensor) -> None:
    model = unfitted(make_base("llama"))
    with pytest.raises(ModelError, match=r"has none yet \(basis 'gradient'\); before training call qpeft.fit_basis"):
        model.train()(input_ids=ids, labels=ids)
    with pytest.raises(ModelError, match="at least one batch of the training data; got none"):
        qpeft.fit_basis(model, [])
    with pytest.raises(ModelError, match="returns a loss; give batches with labels"):
        qpeft.fit_basis(model, [{"input_ids": ids}])
    with pytest.raises(ModelError, match=r"a core adapter named 'other' was required; .* has default"):
        qpeft.fit_basis(model, batches(1), adapter_name="other")
    blind = {"input_ids": ids, "labels": torch.full_like(ids, -100)}
    with pytest.raises(ModelError, match=r"no gradient reaches model.layers.0.self_attn.q_proj in these batches"):
        qpeft.fit_basis(model, [blind])
    assert not any(layer.delta("default").fitted for layer in core_layers(model, "default").values())
