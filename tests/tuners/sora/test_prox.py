"""The proximal step as a hook: which gates it touches, when, by how much, and its schedule."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from qpeft.errors import ConfigError, ModelError
from qpeft.tuners.sora import (
    ProximalGates,
    SoraConfig,
    SoraDelta,
    parameter_groups,
    released_threshold,
    soft_threshold,
    sparsity,
)

GATES, XI = 16, 0.1
Build = Callable[..., tuple[Any, SoraDelta]]
THRESHOLDS = {"soft": soft_threshold, "released": released_threshold}


def step(optimizer: Optimizer, model: Any) -> None:
    optimizer.zero_grad()
    model(torch.ones(2, GATES)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("mode", ["soft", "released"])
@pytest.mark.parametrize("scale", ["none", "lr"])
def test_one_step_is_the_optimizer_then_the_threshold(mode: str, scale: str, regression: Build) -> None:
    (plain, bare), (model, delta) = regression(), regression(prox_mode=mode, prox_scale=scale)
    step(SGD([bare.gate], lr=1e-3), plain)
    optimizer = SGD([delta.gate], lr=1e-3)
    ProximalGates(model.peft_config["default"]).attach(optimizer, model)
    step(optimizer, model)
    expected = THRESHOLDS[mode](bare.gate.detach(), XI * (1e-3 if scale == "lr" else 1))
    assert torch.equal(delta.gate.detach(), expected)
    assert not torch.equal(expected, bare.gate.detach())


def test_each_group_has_its_own_rate(trained: Any, ids: torch.Tensor) -> None:
    model = trained(prox_lambda=1.0, prox_scale="lr")
    gates = [p for n, p in model.named_parameters() if n.endswith(".gate")]
    before = [gate.detach().clone() for gate in gates]
    optimizer = SGD([{"params": gates[:2], "lr": 0.2}, {"params": gates[2:], "lr": 0.0}], lr=1.0)
    ProximalGates(model.peft_config["default"]).attach(optimizer, model)
    for gate in gates:
        gate.grad = torch.zeros_like(gate)
    optimizer.step()
    for place, (gate, old) in enumerate(zip(gates, before, strict=True)):
        assert torch.equal(gate.detach(), soft_threshold(old, 0.2) if place < 2 else old)


def test_only_gates_with_a_step_are_touched(regression: Build) -> None:
    model, delta = regression()
    other = nn.Parameter(torch.full((3,), 1e-3))
    optimizer = SGD([delta.gate, delta.A, delta.B, other], lr=0.0)
    proximal = ProximalGates(model.peft_config["default"])
    handle = proximal.attach(optimizer, model)
    before = [p.detach().clone() for p in (delta.gate, delta.A, delta.B, other)]
    optimizer.step()  # without gradients
    assert torch.equal(delta.gate.detach(), before[0])
    for p in (delta.gate, delta.A, delta.B, other):
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert torch.equal(delta.gate.detach(), soft_threshold(before[0], XI))
    for p, old in zip((delta.A, delta.B, other), before[1:], strict=True):
        assert torch.equal(p.detach(), old)
    handle.remove()
    now = delta.gate.detach().clone()
    optimizer.step()
    assert torch.equal(delta.gate.detach(), now)


def test_attaching_twice_thresholds_once(regression: Build) -> None:
    model, delta = regression()
    optimizer, config = SGD([delta.gate], lr=0.0), model.peft_config["default"]
    proximal = ProximalGates(config)
    proximal.attach(optimizer, model)
    proximal.attach(optimizer, model)
    with pytest.raises(ConfigError, match="a second would double the threshold"):
        ProximalGates(config).attach(optimizer, model)
    before = delta.gate.detach().clone()
    step(optimizer, model)
    assert torch.equal(delta.gate.detach(), soft_threshold(before, XI))
    proximal.detach()
    ProximalGates(config).attach(optimizer, model)


def test_two_adapters_have_a_step_each(regression: Build) -> None:
    model, delta = regression()
    model.add_adapter("second", SoraConfig(target_modules=["lin"], prox_lambda=0.5))
    second = model.base_model.model.lin.delta("second")
    optimizer = SGD([delta.gate, second.gate], lr=0.0)
    for name in ("default", "second"):
        ProximalGates(model.peft_config[name]).attach(optimizer, model, name)
    before = [delta.gate.detach().clone(), second.gate.detach().clone()]
    delta.gate.grad, second.gate.grad = torch.zeros(GATES), torch.zeros(8)
    optimizer.step()
    assert torch.equal(delta.gate.detach(), soft_threshold(before[0], XI))
    assert torch.equal(second.gate.detach(), soft_threshold(before[1], 0.5))


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_overflowed_has_no_threshold(fused: bool, regression: Build) -> None:
    model, delta = regression()
    optimizer, scaler = AdamW([delta.gate], lr=1e-3, fused=fused), torch.amp.GradScaler("cpu", init_scale=4.0)
    proximal = ProximalGates(model.peft_config["default"])
    proximal.attach(optimizer, model)
    for finite in (False, True):
        before = delta.gate.detach().clone()
        optimizer.zero_grad()
        scaler.scale(model(torch.ones(2, GATES)).sum() * (1.0 if finite else float("inf"))).backward()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(delta.gate.detach(), before) is not finite
    assert proximal.steps == 1


def test_inside_the_wrapper_of_accelerate(regression: Build) -> None:
    accelerate = pytest.importorskip("accelerate")
    model, delta = regression()
    optimizer = accelerate.Accelerator(cpu=True).prepare(SGD([delta.gate], lr=0.0))
    ProximalGates(model.peft_config["default"]).attach(optimizer, model)
    before = delta.gate.detach().clone()
    step(optimizer, model)
    assert torch.equal(delta.gate.detach(), soft_threshold(before, XI))


def test_once_a_step_of_many_evaluations(regression: Build, rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    model, delta = regression()
    optimizer = torch.optim.LBFGS([delta.gate], max_iter=5)
    proximal = ProximalGates(model.peft_config["default"])
    proximal.attach(optimizer, model)
    x, y = (tensor.float() for tensor in rows)
    calls = []

    def closure() -> torch.Tensor:
        calls.append(1)
        optimizer.zero_grad()
        loss: torch.Tensor = (model(x) - y).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert len(calls) > 1 == proximal.steps


def test_precond_asks_for_adam_and_spares_gates_without_gradient(regression: Build) -> None:
    model, delta = regression(prox_scale="precond")
    optimizer: Optimizer = SGD([delta.gate], lr=0.1)
    proximal = ProximalGates(model.peft_config["default"])
    proximal.attach(optimizer, model)
    with pytest.raises(ConfigError, match="'precond' needs an optimizer of Adam's kind"):
        step(optimizer, model)
    optimizer = AdamW([delta.gate], lr=0.1, weight_decay=0.0)
    proximal.attach(optimizer, model)
    before = delta.gate.detach().clone()
    delta.gate.grad = torch.zeros(GATES)
    optimizer.step()
    assert torch.equal(delta.gate.detach(), before)


def test_precond_is_the_step_of_adam_in_its_own_metric(regression: Build) -> None:
    """After one step the denominator is |dL/dg| + eps, so the threshold is lr xi / |dL/dg|."""
    model, delta = regression(prox_scale="precond")
    optimizer = Adam([delta.gate], lr=0.01)
    ProximalGates(model.peft_config["default"]).attach(optimizer, model)
    gradient = torch.linspace(0.5, 2, GATES)
    before, delta.gate.grad = delta.gate.detach().clone(), gradient
    optimizer.step()
    expected = soft_threshold(before - 0.01, 0.01 * XI / gradient)
    torch.testing.assert_close(delta.gate.detach(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("unit", "expected"), [("step", [1, 1, 2, 2, 3, 3, 3]), ("epoch", [1, 1, 1, 1, 2, 2, 2])])
def test_schedule_and_its_state(unit: str, expected: list[float], regression: Build) -> None:
    options = {"schedule": "list", "schedule_values": [1.0, 2.0, 3.0], "schedule_every": 2, "schedule_unit": unit}

    def prepare() -> tuple[Any, Optimizer, ProximalGates]:
        model, delta = regression(**options)
        proximal, optimizer = ProximalGates(model.peft_config["default"]), SGD([delta.gate], lr=1e-4)
        proximal.attach(optimizer, model)
        return model, optimizer, proximal

    model, optimizer, proximal = prepare()
    used = []
    for done in range(7):
        proximal.epoch = done // 2
        used.append(proximal.xi)
        step(optimizer, model)
        if done == 4:
            saved, middle = proximal.state_dict(), model.state_dict()
            middle = {key: value.clone() for key, value in middle.items()}
    assert used == expected
    again, optimizer, resumed = prepare()
    again.load_state_dict(middle)
    resumed.load_state_dict(saved)
    for done in (5, 6):
        resumed.epoch = done // 2
        step(optimizer, again)
    assert resumed.state_dict() == proximal.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    with pytest.raises(ConfigError, match=r"with steps and epoch was required; got \['lr'\]"):
        resumed.load_state_dict({"lr": 1})


def test_gates_have_no_weight_decay(regression: Build) -> None:
    model, delta = regression()
    rest, gates = parameter_groups(model, 0.1)
    assert gates["params"] == [delta.gate]
    assert gates["weight_decay"] == 0.0
    assert {id(p) for p in rest["params"]} == {id(delta.A), id(delta.B)}
    assert rest["weight_decay"] == 0.1
    before = delta.gate.detach().clone()
    optimizer = AdamW([rest, gates], lr=0.1)
    delta.gate.grad, delta.A.grad = torch.zeros(GATES), torch.zeros(GATES, GATES)
    optimizer.step()
    assert torch.equal(delta.gate.detach(), before)
    torch.testing.assert_close(delta.A.detach(), 0.99 * torch.eye(GATES))


def test_messages(make_base: Any, regression: Build) -> None:
    model, delta = regression()
    proximal = ProximalGates(model.peft_config["default"])
    with pytest.raises(ConfigError, match="hold the gates of adapter 'default'; it holds none of 1; build it after"):
        proximal.attach(SGD([delta.A], lr=0.1), model)
    with pytest.raises(ConfigError, match=r"a torch.optim.Optimizer was required, which can be hooked; got str"):
        proximal.attach("adam", model)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="a SoRA adapter named 'other' was required; PeftModel has default; wrap it"):
        proximal.attach(SGD([delta.gate], lr=0.1), model, "other")
    with pytest.raises(ModelError, match="LlamaForCausalLM has none"):
        sparsity(make_base("llama"))
