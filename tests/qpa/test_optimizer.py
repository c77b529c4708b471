"""QPAOptimizer against Eq. 3 written out by hand, and what a trainer relies on."""

import copy
import math
from typing import Any

import peft
import pytest
import torch

from qpeft.errors import ConfigError, ModelError
from qpeft.qpa import SOURCES, Generator, QPAConfig, QPAOptimizer
from qpeft.qpa.optimizer import INNER, with_state
from qpeft.quantum import Execution
from tiny_models import tiny_llama


def adapted(**options: Any) -> tuple[Any, list[tuple[str, torch.nn.Parameter]]]:
    torch.manual_seed(1)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **options)
    model = peft.get_peft_model(tiny_llama(), config)
    return model, [(n, p) for n, p in model.named_parameters() if p.requires_grad]


def backward(model: Any, ids: torch.Tensor) -> float:
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    return float(loss.detach())


def test_one_step_is_equation_3(ids: torch.Tensor) -> None:
    """dL/d(theta, b) = (da/d(theta, b))^T dL/da, with the Jacobian written out row by row."""
    model, named = adapted()
    config = QPAConfig(n_mlp=64, depth=1, scale=0.5, block_scale=False)
    optimizer = QPAOptimizer(named, config, lr=0.25, inner="sgd")
    generator = Generator(optimizer.plan.m, config)
    weights = dict(generator.named_parameters())

    def a(values: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.func.functional_call(generator, dict(zip(weights, values, strict=True)), ())

    jacobian = torch.autograd.functional.jacobian(lambda *v: a(v), tuple(weights.values()))
    start = torch.cat([p.detach().flatten() for _, p in named])
    backward(model, ids)
    dl_da = torch.cat([p.grad.flatten() for _, p in named])
    moved = tuple(
        w - 0.25 * torch.einsum("m,m...->...", 0.5 * dl_da, j) for w, j in zip(weights.values(), jacobian, strict=True)
    )
    expected = start + 0.5 * (a(moved) - a(tuple(weights.values())))
    optimizer.step()
    found = torch.cat([p.detach().flatten() for _, p in named])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert not torch.equal(found, start)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_starts_at_identity_and_learns(source: str, ids: torch.Tensor) -> None:
    model, named = adapted()
    before = [p.detach().clone() for _, p in named]
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=32, source=source), lr=3e-2)
    assert all(torch.equal(b, p) for b, (_, p) in zip(before, named, strict=True))
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        losses.append(backward(model, ids))
        optimizer.step()
    assert losses[-1] < losses[0]


def test_frozen_angles_stay_and_trained_ones_move(ids: torch.Tensor) -> None:
    for source, moves in (("circuit", True), ("frozen", False)):
        model, named = adapted()
        optimizer = QPAOptimizer(named, QPAConfig(n_mlp=32, source=source), lr=3e-2)
        angles = next(p for n, p in optimizer.generator.named_parameters() if n.endswith("angles"))
        before = angles.detach().clone()
        for _ in range(2):  # B is zero at first, so A gets no gradient, B does
            optimizer.zero_grad()
            backward(model, ids)
            optimizer.step()
        assert torch.equal(before, angles) is not moves


def test_generated_start_overwrites_the_adapter_as_released() -> None:
    _, named = adapted()
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=64, preset="released"), lr=1e-3)
    up = next(p for n, p in named if "lora_B" in n)
    first = optimizer._evaluate()[: up.numel()]
    torch.testing.assert_close(up.detach().flatten(), first.detach())  # up-projections come first
    assert up.abs().sum() > 0


def test_gradient_accumulation_costs_one_evaluation(ids: torch.Tensor) -> None:
    model, named = adapted()
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=32), lr=1e-2)
    for _ in range(3):
        for _ in range(4):
            backward(model, ids)
        optimizer.step()
        optimizer.zero_grad()
    assert optimizer.generator.executions == 1 + 3


def test_edits_in_place_are_kept(ids: torch.Tensor) -> None:
    """Some peft methods mask or rescale their tensors during training."""
    model, named = adapted()
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=32), lr=0.0)
    with torch.no_grad():
        named[0][1].mul_(0.5)
    edited = named[0][1].detach().clone()
    backward(model, ids)
    optimizer.step()
    torch.testing.assert_close(named[0][1].detach(), edited)


def test_schedulers_reach_the_generator(ids: torch.Tensor) -> None:
    model, named = adapted()
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=32, angle_learning_rate=5.0), lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    backward(model, ids)
    optimizer.step()
    scheduler.step()
    optimizer.step()
    assert [group["lr"] for group in optimizer.inner.param_groups] == [0.5, 2.5]


def test_theta_space_clipping(ids: torch.Tensor) -> None:
    def shift(limit: float) -> float:
        model, named = adapted()
        optimizer = QPAOptimizer(named, QPAConfig(n_mlp=32, max_grad_norm=limit), lr=1.0, inner="sgd")
        before = torch.nn.utils.parameters_to_vector(optimizer.generator.parameters()).detach().clone()
        backward(model, ids)
        optimizer.step()
        after = torch.nn.utils.parameters_to_vector(optimizer.generator.parameters()).detach()
        return float((after - before).norm())

    assert shift(1e-5) == pytest.approx(1e-5, rel=1e-2)
    assert shift(0.0) > 1e-4


def test_random_basis_exports_the_mean(ids: torch.Tensor) -> None:
    model, named = adapted()
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=8, preset="released"), lr=1e-3)
    backward(model, ids)
    optimizer.step()
    noisy = named[0][1].detach().clone()
    optimizer.finish()
    mean = named[0][1].detach().clone()
    assert not torch.equal(noisy, mean)
    optimizer.finish()
    assert torch.equal(mean, named[0][1].detach())


@pytest.mark.parametrize("preset", ["recommended", "released", "equations"])
def test_state_restores_the_adapter_and_continues_bitwise(preset: str, ids: torch.Tensor) -> None:
    def fresh() -> tuple[Any, list[tuple[str, torch.nn.Parameter]], QPAOptimizer]:
        model, named = adapted()
        return model, named, QPAOptimizer(named, QPAConfig(n_mlp=16, preset=preset), lr=1e-2)

    def run(model: Any, optimizer: QPAOptimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            backward(model, ids)
            optimizer.step()

    model, named, optimizer = fresh()
    run(model, optimizer, 2)
    state = torch.utils._pytree.tree_map(lambda x: x.clone() if torch.is_tensor(x) else x, optimizer.state_dict())
    run(model, optimizer, 3)
    again, named_again = adapted()
    with torch.no_grad():
        named_again[0][1].add_(1.0)  # the optimizer must not derive anything from what it finds
    resumed = QPAOptimizer(named_again, QPAConfig(n_mlp=16, preset=preset), lr=1e-2)
    resumed.load_state_dict(state)
    run(again, resumed, 3)
    assert all(torch.equal(p, q) for (_, p), (_, q) in zip(named, named_again, strict=True))


def test_bfloat16_adapters_train(ids: torch.Tensor) -> None:
    model, _ = adapted()
    model.to(torch.bfloat16)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=32), lr=3e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        losses.append(backward(model, ids))
        optimizer.step()
    assert named[0][1].dtype == torch.bfloat16
    assert losses[-1] < losses[0]


def test_released_layout_needs_names() -> None:
    _, named = adapted()
    with pytest.raises(ConfigError, match="pass named parameters"):
        QPAOptimizer([p for _, p in named], QPAConfig(n_mlp=32, preset="released"))


def test_state_of_another_optimizer_is_refused() -> None:
    _, named = adapted()
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=32))
    with pytest.raises(ConfigError, match="key 'qpa'"):
        optimizer.load_state_dict(torch.optim.AdamW([p for _, p in named]).state_dict())
    small = QPAOptimizer(named[:1], QPAConfig(n_mlp=32))
    with pytest.raises(ConfigError, match="adapter numbers"):
        optimizer.load_state_dict(small.state_dict())


def test_nothing_to_train_is_named() -> None:
    with pytest.raises(ModelError, match="no trainable tensor"):
        QPAOptimizer([{"params": []}], QPAConfig(n_mlp=4))
    with pytest.raises(ConfigError, match="inner must be one of adamw, sgd"):
        QPAOptimizer(adapted()[1], QPAConfig(n_mlp=4), inner="lion")


@pytest.mark.parametrize("backend", ["sampled:shots=20x", "noisy:device=torino,shots=20x"])
@pytest.mark.parametrize("gradient", ["surrogate", "surrogate:refresh=2", "shift:coordinates=3"])
def test_a_run_with_shots_resumes_bitwise(backend: str, gradient: str, ids: torch.Tensor) -> None:
    """The sample of the forward pass is not in the state: it is measured again with the same seed."""

    def begin() -> tuple[torch.nn.Module, QPAOptimizer]:
        model, named = adapted()
        return model, QPAOptimizer(
            named, QPAConfig(n_mlp=32, depth=1), lr=1e-2, execution=Execution.open(backend, gradient)
        )

    def go(model: torch.nn.Module, optimizer: QPAOptimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            backward(model, ids)
            optimizer.step()

    model, whole = begin()
    go(model, whole, 2)
    state = copy.deepcopy(whole.state_dict())
    go(model, whole, 3)
    model, resumed = begin()
    resumed.load_state_dict(state)
    go(model, resumed, 3)
    assert torch.equal(resumed.written, whole.written)
    # The measurement of the state itself was made twice, and counts once: the counters are those of a whole run.
    assert whole.generator.shots_spent == resumed.generator.shots_spent > 0
    assert whole.generator.evaluated == resumed.generator.evaluated


@pytest.mark.parametrize("steps", [0, 3])
def test_the_export_after_a_resume_draws_the_shots_of_a_whole_run(steps: int, ids: torch.Tensor) -> None:
    """The released preset is evaluated once more at its end; what a resume repeats is a gradient's evaluation."""

    def begin() -> tuple[torch.nn.Module, QPAOptimizer]:
        model, named = adapted()
        config = QPAConfig(n_mlp=32, depth=1, preset="released", start="identity", layout="module")
        return model, QPAOptimizer(named, config, lr=1e-2, execution=Execution.open("sampled:shots=3x"))

    def go(model: torch.nn.Module, optimizer: QPAOptimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            backward(model, ids)
            optimizer.step()

    model, whole = begin()
    go(model, whole, 2)
    state = copy.deepcopy(whole.state_dict())
    go(model, whole, steps)
    whole.finish()
    model, resumed = begin()
    resumed.load_state_dict(state)
    go(model, resumed, steps)
    resumed.finish()
    assert torch.equal(resumed.written, whole.written)
    assert resumed.generator.executions == whole.generator.executions


def test_the_released_transform_trains_with_empty_bins(ids: torch.Tensor) -> None:
    """Its slope at p = 0 has no bound, and with few shots most states are never seen."""
    model, named = adapted()
    config = QPAConfig(n_mlp=4, preset="released", start="identity", layout="module")
    optimizer = QPAOptimizer(named, config, lr=1e-3, execution=Execution.open("sampled:shots=1x"))
    source = optimizer.generator.circuit_sources()[0]
    assert (source.executor(source.angles) == 0).float().mean() > 0.2
    for _ in range(3):
        optimizer.zero_grad()
        assert math.isfinite(backward(model, ids))
        optimizer.step()
    assert all(torch.isfinite(p).all() for p in optimizer.generator.parameters())


@pytest.mark.parametrize("inner", ["adamw", "sgd"])
def test_moments_that_are_in_place_from_the_start_change_no_step(inner: str) -> None:
    """FSDP needs them there; a lazy optimizer makes the same ones in its first step."""
    options = {"momentum": 0.9} if inner == "sgd" else {"eps": 1e-6}
    trained = []
    for make in (lambda optimizer: optimizer, with_state):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 5))
        optimizer = make(INNER[inner]([weight], lr=0.1, weight_decay=0.1, **options))
        for step in range(4):
            (weight * torch.arange(5.0) * (step + 1)).sin().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        trained.append(weight.detach())
    assert torch.equal(*trained)
