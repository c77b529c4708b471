"""Turns: who runs when, what counts, and the numbers made of it."""

import time
from itertools import count

import pytest
import torch
from torch import nn

from qpeft.training.studies.timing import Parts, processor, quartiles, ratios, take_turns, timed_step, wall


def test_everyone_runs_once_a_turn_and_nobody_always_first() -> None:
    order: list[str] = []
    ticks: list[int] = []
    clock = count()

    def runner(name: str) -> Parts:
        order.append(name)
        return (float(next(clock)),)

    times = take_turns({name: lambda name=name: runner(name) for name in "abc"}, 3, 1, ticks.append)  # type: ignore[misc]
    assert "".join(order) == "abcbcacababc"
    assert ticks == [0, 1, 2, 3]
    assert times == {"a": [(5.0,), (7.0,), (9.0,)], "b": [(3.0,), (8.0,), (10.0,)], "c": [(4.0,), (6.0,), (11.0,)]}


def test_ratios_are_taken_turn_by_turn() -> None:
    slow_machine = [(1.0, 1.0), (10.0, 10.0), (2.0, 2.0)]
    doubled = [(2.0, 2.0), (20.0, 20.0), (6.0, 2.0)]
    assert ratios(doubled, slow_machine) == {"ratio": 2.0, "ratio_q25": 2.0, "ratio_q75": 2.0}


def test_quartiles_of_few() -> None:
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)


class Line(nn.Module):
    """A model with a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> "Line":
        self.loss = ((self.weight * input_ids - labels) ** 2).sum() + self.weight.sum()
        return self


def test_a_timed_step_is_a_step() -> None:
    model = Line()
    parts = timed_step(model, torch.optim.SGD(model.parameters(), lr=0.5), torch.ones(1))
    assert model.weight.item() == pytest.approx(0.5)
    assert model.weight.grad is None
    assert len(parts) == 3
    assert all(part > 0 for part in parts)


def test_waiting_is_no_work() -> None:
    here = torch.zeros(1)
    passed, worked = wall(here), processor(here)
    time.sleep(0.2)
    assert wall(here) - passed >= 0.2
    assert processor(here) - worked < 0.1
