"""Step times: the whole step, the optimizer's part of it, and what old records say of it."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from qpeft.records import RECORD, RunSpec, TrainInfo
from qpeft.training import callbacks
from qpeft.training.callbacks import Silent, Watch
from qpeft.training.run import train_run

MakeSpec = Callable[..., RunSpec]
STEPS, SLEEP = 6, 0.05


def test_the_parts_of_a_step_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted clock: steps of 10 s with 2 s of the optimizer, after three slow ones."""
    watch, clock = Watch(Silent()), [0.0]
    monkeypatch.setattr(callbacks, "now", lambda: clock[0])
    state = SimpleNamespace(global_step=1, max_steps=1)
    for factor in (50, 50, 50, 1, 1, 1, 1):
        for event, seconds in (
            (watch.on_step_begin, 7.0),
            (watch.on_pre_optimizer_step, 2.0),
            (watch.on_optimizer_step, 1.0),
            (watch.on_step_end, 4.0),
        ):
            event(None, state, None)
            clock[0] += seconds * factor
    assert (watch.median(), watch.optimizer_median()) == (10.0, 2.0)


def test_the_record_says_how_long_the_optimizer_took(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An optimizer that sleeps shows in the time of the step and of its own part; a slow forward pass does not."""
    quick = train_run(make_spec(train={"steps": STEPS}), tmp_path / "quick").train_info
    assert quick.optimizer_time_median is not None
    assert 0 < quick.optimizer_time_median < quick.step_time_median
    original = torch.optim.AdamW.step

    def slow(self: Any, *rest: Any, **more: Any) -> Any:
        time.sleep(SLEEP)
        return original(self, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", slow)
        slept = train_run(make_spec(train={"steps": STEPS}), tmp_path / "slept").train_info
    assert slept.optimizer_time_median is not None
    assert SLEEP <= slept.optimizer_time_median < slept.step_time_median
    backward = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda *a, **k: (time.sleep(SLEEP), backward(*a, **k))[1])
    behind = train_run(make_spec(train={"steps": STEPS}), tmp_path / "behind").train_info
    assert behind.optimizer_time_median is not None
    assert behind.optimizer_time_median < SLEEP <= behind.step_time_median


def test_the_generator_is_part_of_the_optimizer(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qpeft.qpa.generator import Generator

    generate = Generator.forward
    monkeypatch.setattr(Generator, "forward", lambda *a, **k: (time.sleep(SLEEP), generate(*a, **k))[1])
    qpa = {
        "name": "qpa",
        "options": {"n_mlp": 16},
        "over": {"name": "lora", "options": {"target_modules": ["q_proj"]}},
    }
    info = train_run(make_spec(qpa, train={"steps": STEPS}), tmp_path / "run").train_info
    assert info.optimizer_time_median is not None
    assert SLEEP <= info.optimizer_time_median < info.step_time_median


def test_nothing_is_said_where_nothing_was_trained(make_spec: MakeSpec, tmp_path: Path) -> None:
    record = train_run(make_spec({"name": "base"}), tmp_path)
    assert record.train_info.optimizer_time_median is None
    # As in the records written before it was measured.
    assert "optimizer_time_median" not in (tmp_path / RECORD).read_text()
    old = {key: value for key, value in record.train_info.model_dump().items() if key != "optimizer_time_median"}
    assert TrainInfo.model_validate(old) == record.train_info
