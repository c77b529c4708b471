"""The thresholds of SoRA against their tables, and what a training with them reaches against scikit-learn's lasso."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer

from qpeft.tuners.sora import ProximalGates, SoraDelta, released_threshold, soft_threshold

Rows = tuple[torch.Tensor, torch.Tensor]
XI = 0.1
VALUES = [0.0, 0.5, 1.0, 1.5, 1.9, 2.0, 2.5]
SOFT = [0.0, 0.0, 0.0, 0.5, 0.9, 1.0, 1.5]
RELEASED = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.5]
THRESHOLDS = {"soft": soft_threshold, "released": released_threshold}


@pytest.mark.parametrize(("mode", "expected"), [("soft", SOFT), ("released", RELEASED)])
def test_table_at_one(mode: str, expected: list[float]) -> None:
    g, wanted = torch.tensor(VALUES), torch.tensor(expected)
    torch.testing.assert_close(THRESHOLDS[mode](g, 1.0), wanted)
    torch.testing.assert_close(THRESHOLDS[mode](-g, 1.0), -wanted)
    torch.testing.assert_close(THRESHOLDS[mode](g, torch.ones(7)), wanted)
    assert torch.equal(THRESHOLDS[mode](g, 1.0) == 0, wanted == 0)


@pytest.mark.parametrize("lam", [3e-4, 0.3, 0.0])
def test_released_is_the_three_lines_of_the_released_code(lam: float) -> None:
    g = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * 2 * max(lam, 1e-3)
    expected = g.clone()
    if lam > 0:
        expected[expected > lam] -= lam
        expected[expected < -lam] += lam
        expected[abs(expected) < lam] = 0.0
    assert torch.equal(released_threshold(g, lam), expected)


def test_soft_is_the_minimum_it_stands_for() -> None:
    """T_xi(g) minimises (u - g)^2 / 2 + xi |u|."""
    g = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = soft_threshold(g, 0.4)
    torch.testing.assert_close(u, torch.nn.functional.softshrink(g, 0.4))

    def cost(v: torch.Tensor) -> torch.Tensor:
        return (v - g) ** 2 / 2 + 0.4 * v.abs()

    assert all((cost(u) <= cost(u + step) + 1e-15).all() for step in torch.linspace(-1, 1, 21, dtype=torch.float64))


def lasso(xi: float, rows: Rows) -> torch.Tensor:
    """scikit-learn's minimum of |y - x g|^2 / (2 ROWS) + xi |g|_1."""
    solver = pytest.importorskip("sklearn.linear_model")
    x, y = (tensor.numpy() for tensor in rows)
    found = solver.Lasso(alpha=xi, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y)
    return torch.tensor(found.coef_)


def fit(make: Callable[[Any], Optimizer], model: Any, delta: SoraDelta, rows: Rows) -> torch.Tensor:
    """The gates after full gradients of the mean square and the hook."""
    optimizer = make([delta.gate])
    ProximalGates(model.peft_config["default"]).attach(optimizer, model)
    x, y = (tensor.float() for tensor in rows)
    for _ in range(1500):
        optimizer.zero_grad()
        (model(x) - y).square().mean().div(2).backward()
        optimizer.step()
    return delta.gate.detach().double()


@pytest.mark.parametrize(
    ("make", "options", "penalty"),
    [
        (lambda p: SGD(p, lr=0.1), {"prox_scale": "lr"}, XI),
        (lambda p: SGD(p, lr=0.1), {"prox_scale": "none"}, XI / 0.1),
        (lambda p: SGD(p, lr=0.02, momentum=0.9), {"prox_scale": "lr"}, 0.1 * XI),
        (lambda p: SGD(p, lr=0.02, momentum=0.9, nesterov=True), {"prox_scale": "lr"}, 0.1 * XI),
        (lambda p: AdamW(p, lr=0.01, weight_decay=0.0), {"prox_scale": "precond"}, XI),
        (lambda p: Adam(p, lr=0.01, amsgrad=True), {"prox_scale": "precond"}, XI),
    ],
    ids=["sgd", "sgd-none", "momentum", "nesterov", "adamw-precond", "amsgrad-precond"],
)
def test_reaches_the_lasso_solution(
    make: Any, options: dict[str, str], penalty: float, regression: Any, rows: Rows
) -> None:
    expected, got = lasso(penalty, rows), fit(make, *regression(**options), rows)
    assert torch.equal(got == 0, expected == 0)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_adam_with_the_scale_of_the_paper_is_a_heuristic(regression: Any, rows: Rows) -> None:
    """It settles elsewhere, with other zeros; should that change, the docs of prox.py must."""
    expected = lasso(XI, rows)
    adam = fit(lambda p: AdamW(p, lr=0.01, weight_decay=0.0), *regression(prox_scale="lr"), rows)
    assert (adam == 0).sum() < (expected == 0).sum() == 7
    assert (adam - expected).abs().max() > 0.1
    assert (fit(lambda p: Adagrad(p, lr=0.01), *regression(prox_scale="lr"), rows) == 0).sum() > 7
