"""peft's own tools can read the records: a reader written from the published layout of its method_comparison.

The keys are those that ``method_comparison/processing.py`` of huggingface/peft takes from a result file, and the types
are those it turns them into.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.records import Metric, RunRecord, TrainSpec, final_row, peft_layout, read_record
from qpeft.records.peft_layout import train_samples

Make = Callable[..., RunRecord]
RESULTS = sorted((Path(__file__).parents[2] / "results").rglob("*.record.json"))

# Holds more than before, or a name that tells seeds apart.
CHANGED = ("train_config", "metrics", "experiment_name")


def number_or_none(value: Any) -> float | None:
    """A column of floats, in which an empty cell is allowed."""
    return None if value is None else float(value)


def word_or_none(value: Any) -> str | None:
    """A column of texts, in which an empty cell is allowed."""
    assert value is None or isinstance(value, str)
    return value


def whole(value: Any) -> int:
    """A column of whole numbers, in which no cell may be empty."""
    assert isinstance(value, int)
    return value


def read_as_peft_does(body: dict[str, Any]) -> dict[str, Any]:
    """One row of peft's table from one result file; a KeyError or AssertionError where the layout is another."""
    run, train, meta = body["run_info"], body["train_info"], body["meta_info"]
    last, packages = train["metrics"][-1], meta["package_info"]
    assert train["status"] == "success", "peft skips the others"
    return {
        "experiment_name": word_or_none(run["experiment_name"]),
        "model_id": word_or_none(run["train_config"]["model_id"]),
        "peft_type": run["peft_config"]["peft_type"] if run["peft_config"] else "full-finetuning",
        "peft_branch": word_or_none(run["peft_branch"]),
        "total_time": float(run["total_time"]),
        "created_at": datetime.fromisoformat(run["created_at"]),
        "accelerator_memory_reserved_avg": whole(train["accelerator_memory_reserved_avg"]),
        "accelerator_memory_max": whole(train["accelerator_memory_max"]),
        "accelerator_memory_reserved_99th": whole(train["accelerator_memory_reserved_99th"]),
        "train_time": float(train["train_time"]),
        "file_size": whole(train["file_size"]),
        "num_trainable_params": whole(train["num_trainable_params"]),
        "num_total_params": whole(train["num_total_params"]),
        "test_accuracy": number_or_none(last["test accuracy"]),
        "train_loss": number_or_none(last["train loss"]),
        "train_samples": whole(last["train samples"]),
        "train_total_tokens": whole(last["train total tokens"]),
        **{
            name: word_or_none(packages[f"{name}-version"])
            for name in ("peft", "transformers", "datasets", "torch", "bitsandbytes")
        },
        "system_info": dict(meta["system_info"]),
        "error_msg": word_or_none(run["error_msg"]),
    }


def test_there_are_records() -> None:
    assert len(RESULTS) > 250


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}/{path.name.split('.')[0]}")
def test_every_committed_record_can_be_read(path: Path) -> None:
    record = read_record(path)
    body = json.loads(json.dumps(peft_layout(record), allow_nan=False))
    row, raw = read_as_peft_does(body), json.loads(path.read_text("utf-8"))
    assert row["model_id"] == raw["spec"]["model"]["name"]
    assert (row["peft_type"] == "full-finetuning") == (raw["spec"]["method"]["name"] in ("base", "full"))
    assert (row["train_time"], row["file_size"]) == (raw["train_info"]["train_time"], raw["train_info"]["file_size"])
    assert row["train_total_tokens"] == raw["train_info"]["train_tokens"]
    assert row["train_loss"] == (raw["curve"][-1]["loss"] if raw["curve"] else None)
    # Nothing of ours is lost or changed on the way.
    assert {key: value for key, value in body.items() if key not in ("run_info", "train_info")} == {
        key: value for key, value in raw.items() if key not in ("run_info", "train_info")
    }
    for part in ("run_info", "train_info"):
        kept = {key: value for key, value in raw[part].items() if key not in CHANGED}
        assert kept.items() <= body[part].items()


def test_no_run_takes_another_ones_place() -> None:
    """Of runs that share name, model, type and second peft keeps one; a run that several figures show is one run."""
    runs = {run.identity: run for run in map(read_record, RESULTS)}
    rows = [read_as_peft_does(peft_layout(run)) for run in runs.values()]
    keys = {tuple(row[key] for key in ("experiment_name", "model_id", "peft_type", "created_at")) for row in rows}
    assert len(keys) == len(runs) > 100


def test_the_last_row_holds_what_was_measured(make: Make) -> None:
    metrics = [
        Metric(name=name, split=split, value=value, signature="s")
        for name, split, value in (
            ("perplexity", "valid", 11.0),
            ("perplexity", "test", 12.0),
            ("token_accuracy", "test", 0.4),
        )
    ]
    dataset = {"name": "lines", "rows": {"train": 20}}
    meta = make().meta_info.model_copy(update={"dataset_info": dataset})
    assert final_row(make(metrics=metrics, meta_info=meta)) == {
        "step": 200,
        "valid perplexity": 11.0,
        "test perplexity": 12.0,
        "valid accuracy": None,
        "test accuracy": 0.4,
        "train loss": 2.5,
        "train samples": 66 * 20 + 16,  # three batches of eight an epoch, the third of four rows
        "train total tokens": 99,
        "elapsed time": 2.5,
    }


def test_what_was_not_measured_is_empty_and_never_made_up(make: Make) -> None:
    curve = [{"step": 1, "loss": float("inf"), "learning_rate": 0.1}]
    body = peft_layout(make(curve=curve))
    assert body["train_info"]["metrics"][-1]["train loss"] is None
    assert body["train_info"]["accelerator_memory_reserved_avg"] == 0, "there was no accelerator"
    info = make().train_info.model_copy(update={"accelerator_memory_max": 5})
    assert peft_layout(make(train_info=info))["train_info"]["accelerator_memory_reserved_avg"] is None
    untrained = make(train_info=make().train_info.model_copy(update={"train_tokens": 0}), curve=[])
    row = final_row(untrained)
    assert (row["step"], row["train samples"], row["train loss"]) == (0, 0, None)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(1, 5))
def test_samples_are_those_a_loader_hands_out(rows: int, steps: int, batch: int, accumulation: int) -> None:
    """Counted one batch after the other, as the Trainer goes through its loader."""
    seen = left = 0
    for _ in range(steps):
        left = left or rows
        for _ in range(accumulation):
            taken = min(batch, left)
            seen, left = seen + taken, left - taken
            if not left:
                break
    train = TrainSpec(steps=steps, batch_size=batch, gradient_accumulation=accumulation)
    assert train_samples(train, rows) == seen
