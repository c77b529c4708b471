"""A new record file is one that peft's tools read as it lies on disk, and its counts are what the Trainer did."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import Trainer

from qpeft.records import RECORD, RunSpec, final_row, peft_layout, read_record
from qpeft.training.run import train_run

MakeSpec = Callable[..., RunSpec]


@pytest.mark.parametrize("method", ["lora", "full", "base"])
def test_a_new_record_holds_the_keys_itself(method: str, make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(None if method == "lora" else {"name": method}, eval={"token_accuracy": True})
    record = train_run(spec, tmp_path)
    raw = json.loads((tmp_path / RECORD).read_text())
    layout = peft_layout(record)
    assert {"accelerator_memory_reserved_avg", "accelerator_memory_reserved_99th"} <= raw["train_info"].keys()
    assert raw["run_info"] == layout["run_info"]
    assert raw["run_info"]["peft_branch"] == f"v{peft.__version__}"
    assert raw["run_info"]["train_config"] == {"model_id": spec.model.name, **spec.train.model_dump()}
    # Two seeds of one method are two experiments: peft keeps one row a name and second.
    assert raw["run_info"]["experiment_name"] == f"{spec.method.name}/{spec.folder()}"
    (row,) = raw["train_info"]["metrics"]
    assert row == final_row(record) == layout["train_info"]["metrics"][-1]
    assert row["test accuracy"] == record.metric("token_accuracy")
    assert (row["step"], row["train samples"] > 0) == ((0, False) if method == "base" else (3, True))
    assert read_record(tmp_path / RECORD) == record


@pytest.mark.parametrize("parts", [{"steps": 7}, {"steps": 3, "gradient_accumulation": 3}])
def test_samples_are_the_rows_the_trainer_trained_on(
    parts: dict[str, int], make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four rows in batches of three, so that epochs end with a smaller batch."""
    seen: list[int] = []
    original = Trainer.training_step

    def counted(self: Any, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        seen.append(len(inputs["input_ids"]))
        return original(self, model, inputs, *rest, **more)

    monkeypatch.setattr(Trainer, "training_step", counted)
    spec = make_spec(train={"batch_size": 3, **parts})
    data = spec.data.model_copy(update={"train_rows": 4})
    record = train_run(spec.model_copy(update={"data": data}), tmp_path)
    assert sorted(set(seen)) == [1, 3]
    assert record.train_info.metrics[-1]["train samples"] == sum(seen)


def test_reserved_memory_is_the_mean_and_the_99th_percentile_over_steps(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps with 0, 100, ..., 900 bytes: a mean of 450, and 891 below which 99 of 100 lie."""
    from qpeft.training import callbacks

    states = iter(range(0, 1000, 100))

    class Cuda:
        is_available = staticmethod(lambda: True)
        synchronize = staticmethod(lambda: None)
        memory_reserved = staticmethod(lambda: next(states))

    class Torch:
        cuda = Cuda

    monkeypatch.setattr(callbacks, "torch", Torch)
    info = train_run(make_spec(train={"steps": 10}), tmp_path).train_info
    assert (info.accelerator_memory_reserved_avg, info.accelerator_memory_reserved_99th) == (450, 891)
    assert torch.cuda is not Cuda
