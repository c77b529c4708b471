"""QAAMonitor under transformers' Trainer: what it reads, when, what it says, and that it leaves no hook."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor
from transformers import Trainer, TrainerState, TrainingArguments

from qpeft.errors import ConfigError
from qpeft.tuners import QAAConfig, QAADelta
from qpeft.tuners.qaa.monitor import QAAMonitor, Reading
from tiny_models import tiny_llama


def train(monitor: QAAMonitor, folder: Path, ids: Tensor, adapter: QAAConfig, **options: Any) -> Any:
    """Train QAA on one batch; returns the model."""
    torch.manual_seed(0)
    model = get_peft_model(tiny_llama(), adapter)
    arguments = TrainingArguments(
        output_dir=str(folder),
        **{"max_steps": 9, "learning_rate": 1e-2, **options},
        per_device_train_batch_size=2,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    rows = [{"input_ids": row, "labels": row} for row in ids]
    Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=[monitor]).train()
    return model


def hooks(model: Any) -> int:
    return sum(len(module._forward_hooks) for module in model.modules() if isinstance(module, QAADelta))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[QAAMonitor, Any]:
    monitor = QAAMonitor(every=3)
    ids = torch.randint(2, 97, (2, 12), generator=torch.Generator().manual_seed(3))
    folder, healthy = tmp_path_factory.mktemp("run"), QAAConfig(placement="head", scale=25.0)
    return monitor, train(monitor, folder, ids, healthy, eval_strategy="steps", eval_steps=2)


def test_readings_every_few_steps(watched: tuple[QAAMonitor, Any]) -> None:
    monitor, _ = watched
    assert [reading.step for reading in monitor.readings] == [0, 3, 6]
    for reading in monitor.readings:
        assert reading.state_norm == pytest.approx((1, 1), abs=1e-5)
        assert -1 - 1e-6 <= reading.z_range[0] < reading.z_range[1] <= 1 + 1e-6
    ratios = [reading.update_ratio for reading in monitor.readings]
    assert ratios[0] == 0
    assert all(ratio > 0 for ratio in ratios[1:])


def test_losses_and_their_slope(watched: tuple[QAAMonitor, Any]) -> None:
    monitor, _ = watched
    assert [step for step, _ in monitor.losses] == list(range(1, 10))
    assert monitor.losses[-1][1] < monitor.losses[0][1]
    assert monitor.slope() < 0
    assert monitor.warnings == []


def test_summary_is_the_last_reading(watched: tuple[QAAMonitor, Any]) -> None:
    monitor, _ = watched
    last = monitor.readings[-1]
    assert monitor.summary() == (
        f"QAA at step 6: norm of embedded states 1.0000 to 1.0000, z from {last.z_range[0]:.3f} to "
        f"{last.z_range[1]:.3f}, update over hidden state {last.update_ratio:.3f}, slope of the loss "
        f"{monitor.slope():.5f} nat per step, first step foretold to change them by {monitor.first_step:.2g}"
    )
    assert QAAMonitor().summary() == ""


def test_no_hook_stays(watched: tuple[QAAMonitor, Any]) -> None:
    _, model = watched
    assert hooks(model) == 0


def test_ratio_is_that_of_the_norms(ids: Tensor) -> None:
    """One look by hand at a model whose updates are known."""
    torch.manual_seed(0)
    model = get_peft_model(tiny_llama(), QAAConfig(init_weights=False, target_modules=["mlp"]))
    monitor, expected = QAAMonitor(every=1), []

    def measure(module: QAADelta, args: tuple[Tensor], update: Tensor) -> None:
        expected.append((update.norm(dim=-1) / args[0].norm(dim=-1)).mean().item())

    for module in model.modules():
        if isinstance(module, QAADelta):
            module.register_forward_hook(measure)
    state = type("State", (), {"global_step": 0})
    monitor.on_train_begin(None, state, None, model=model)
    monitor.on_step_begin(None, state, None)
    model(input_ids=ids)
    state.global_step = 1
    monitor.on_step_end(None, state, None)
    model(input_ids=ids)  # an evaluation between steps is not looked at
    monitor.on_train_end(None, state, None, model=model)
    (reading,) = monitor.readings
    assert reading.update_ratio == pytest.approx(sum(expected[:2]) / 2, rel=1e-5)


def test_a_look_changes_nothing(ids: Tensor, tmp_path: Path) -> None:
    first, second = QAAMonitor(every=1), QAAMonitor(every=1000)
    models = [train(monitor, tmp_path, ids, QAAConfig(), max_steps=3) for monitor in (first, second)]
    assert first.losses == second.losses
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_every_micro_batch_of_a_step_is_in_one_reading(ids: Tensor, tmp_path: Path) -> None:
    monitor = QAAMonitor(every=2)
    train(monitor, tmp_path, ids.repeat(4, 1), QAAConfig(), max_steps=3, gradient_accumulation_steps=2)
    assert [reading.step for reading in monitor.readings] == [0, 2]


def test_a_planted_plateau_and_a_planted_flood(ids: Tensor, tmp_path: Path) -> None:
    still = QAAMonitor(every=3)
    train(still, tmp_path, ids, QAAConfig(), learning_rate=0.0)
    assert [warning.split(":")[0] for warning in still.warnings] == ["plateau"]
    told: list[str] = []
    loud = QAAMonitor(every=3, tell=told.append)
    train(loud, tmp_path, ids, QAAConfig(scale=1e4))
    assert told == loud.warnings[:1]
    assert "(scale 10000): the first step of Adam at a learning rate of" in told[0]
    assert "drowning" in [warning.split(":")[0] for warning in loud.warnings]
    assert loud.readings[-1].update_ratio > 1


def test_a_model_without_qaa_is_watched_in_vain(ids: Tensor, tmp_path: Path) -> None:
    from peft import LoraConfig

    monitor = QAAMonitor()
    train(monitor, tmp_path, ids, LoraConfig(target_modules=["q_proj"]), max_steps=2)
    assert monitor.readings == []
    assert len(monitor.losses) == 2


def test_a_training_that_broke_off_leaves_no_hook_behind_the_next(ids: Tensor) -> None:
    model, monitor = get_peft_model(tiny_llama(), QAAConfig()), QAAMonitor(every=1)
    state = type("State", (), {"global_step": 0})
    monitor.on_train_begin(None, state, None, model=model)
    monitor.on_train_begin(None, state, None, model=model)
    assert hooks(model) == 4
    monitor.on_train_end(None, state, None, model=model)
    assert hooks(model) == 0


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_steps_between_readings_are_checked(every: Any) -> None:
    with pytest.raises(ConfigError, match=f"every must be a whole number of at least 1, .*; got {every}"):
        QAAMonitor(every=every)


def test_what_was_seen_goes_through_a_checkpoint() -> None:
    seen, model = QAAMonitor(), torch.nn.Linear(1, 1)
    seen.readings = [Reading(0, (0.5, 1.0), (-0.25, 0.125), 0.1), Reading(3, (1.0, 1.0), (0.0, 0.5), 0.3)]
    seen.losses = [(2, 3.5), (4, 3.0)]
    kept = json.loads(json.dumps({"QAAMonitor": seen.state()}))
    again, fresh = QAAMonitor(), QAAMonitor()
    again.on_train_begin(None, TrainerState(global_step=4, stateful_callbacks=dict(kept)), None, model=model)
    assert (again.readings, again.losses, again.summary()) == (seen.readings, seen.losses, seen.summary())
    fresh.on_train_begin(None, TrainerState(global_step=0, stateful_callbacks=dict(kept)), None, model=model)
    assert fresh.readings == []
