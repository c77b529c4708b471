"""SoraCallback in transformers' Trainer: the step is attached, the schedule runs, a resumed run continues bitwise."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import Trainer, TrainingArguments

from qpeft.tuners.sora import ProximalGates, SoraConfig, parameter_groups, soft_threshold
from qpeft.tuners.sora.callback import SoraCallback
from tiny_models import tiny_llama

SCHEDULE = {"schedule": "list", "schedule_values": [0.0, 0.02, 0.3]}


class Watched(SoraCallback):
    """Notes the penalty of each optimizer step."""

    def __init__(self, adapter_name: str = "default") -> None:
        super().__init__(adapter_name)
        self.used: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        assert self.proximal is not None
        self.used.append(self.proximal.xi)


def trainer(folder: Path, callback: SoraCallback | None, restore: bool = False, **options: Any) -> Trainer:
    torch.manual_seed(4)
    model = peft.get_peft_model(tiny_llama(), SoraConfig(task_type="CAUSAL_LM", r=4, **options))
    rows = torch.randint(2, 97, (8, 10), generator=torch.Generator().manual_seed(0))
    args = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=3,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        save_steps=6,
        save_strategy="steps",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
        restore_callback_states_from_checkpoint=restore,
    )
    data = [{"input_ids": row, "labels": row} for row in rows]
    return Trainer(model=model, args=args, train_dataset=data, callbacks=[callback] if callback else None)


def gates(run: Trainer) -> torch.Tensor:
    return torch.cat([p.detach() for name, p in run.model.named_parameters() if name.endswith(".gate")])


@pytest.mark.parametrize(
    ("unit", "every", "expected"),
    [("epoch", 1, 4 * [0.0] + 4 * [0.02] + 4 * [0.3]), ("step", 3, 3 * [0.0] + 3 * [0.02] + 6 * [0.3])],
)
@pytest.mark.parametrize("restore", [False, True])
def test_resumed_run_continues_bitwise(
    unit: str, every: int, expected: list[float], restore: bool, tmp_path: Path
) -> None:
    options: dict[str, Any] = {**SCHEDULE, "schedule_unit": unit, "schedule_every": every}
    watched = Watched()
    whole = trainer(tmp_path / "run", watched, **options)
    whole.train()
    assert watched.used == expected
    assert (gates(whole) == 0).sum() > 4
    again = trainer(tmp_path / "run", Watched(), restore, **options)
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-6"))
    resumed = next(c for c in again.callback_handler.callbacks if isinstance(c, Watched))
    assert resumed.used == expected[6:]
    for (name, a), (_, b) in zip(whole.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_the_hook_ends_with_the_training(tmp_path: Path) -> None:
    callback = SoraCallback()
    run = trainer(tmp_path, callback, prox_lambda=0.05)
    run.train()
    before = gates(run)
    inner = run.optimizer.optimizer
    assert not inner._optimizer_step_post_hooks
    for group in inner.param_groups:
        group["lr"], group["weight_decay"] = 0.0, 0.0
    for p in run.model.parameters():
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    inner.step()
    assert torch.equal(gates(run), before)
    ProximalGates(run.model.peft_config["default"]).attach(run.optimizer, run.model)
    inner.step()
    assert torch.equal(gates(run), soft_threshold(before, 0.05))


def test_without_the_callback_nothing_becomes_zero_and_a_second_training_starts_anew(tmp_path: Path) -> None:
    plain = trainer(tmp_path / "plain", None, prox_lambda=0.3)
    plain.train()
    assert (gates(plain) != 0).all()
    callback = Watched()
    run = trainer(tmp_path / "run", callback, **SCHEDULE)
    run.train()
    run.train()
    assert callback.used == 2 * (4 * [0.0] + 4 * [0.02] + 4 * [0.3])


def test_a_checkpoint_made_without_the_callback_can_be_resumed_with_it(tmp_path: Path) -> None:
    trainer(tmp_path, None).train()
    run = trainer(tmp_path, SoraCallback(), prox_lambda=0.3)
    run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert (gates(run) == 0).any()


def test_own_optimizer_with_groups(tmp_path: Path) -> None:
    run = trainer(tmp_path, SoraCallback(), prox_lambda=0.05)
    run.optimizer = torch.optim.AdamW(parameter_groups(run.model, 0.1), lr=1e-2)
    run.train()
    assert (gates(run) == 0).any()
