"""The layout of peft's method_comparison: what its tools read, for records that were written before they held it."""

import math
from typing import Any

from qpeft.records.record import RunRecord
from qpeft.records.spec import RunSpec, TrainSpec


def peft_layout(record: RunRecord) -> dict[str, Any]:
    """A record as JSON values with every key that the tools of peft's method_comparison read.

    New records hold these keys themselves. What an older one did not measure is None; reserved memory is 0 where
    there was no accelerator.

    Returns:
        The record's own keys with, in ``run_info`` and ``train_info``, the missing ones of peft, and a name that no
        other run has.
    """
    body = record.model_dump(mode="json")
    run, train = body["run_info"], body["train_info"]
    reserved = None if train["accelerator_memory_max"] else 0
    body["run_info"] = {
        "peft_branch": None,
        **run,
        "experiment_name": experiment_name(record.spec),
        "train_config": {"model_id": record.spec.model.name, **run["train_config"]},
    }
    body["train_info"] = {
        "accelerator_memory_reserved_avg": reserved,
        "accelerator_memory_reserved_99th": reserved,
        **train,
        "metrics": train["metrics"] or [final_row(record)],
    }
    return body


def experiment_name(spec: RunSpec) -> str:
    """A name of one run, as peft's: method, slash, experiment; with the seed, because peft shows one run a name."""
    return f"{spec.method.name}/{spec.folder()}"


def final_row(record: RunRecord) -> dict[str, Any]:
    """The row of peft's ``train_info.metrics`` that is written when a run is measured, after its last step.

    ``test accuracy`` is that of tokens, where it was measured; numbers that are not finite are None.
    """
    trained = record.train_info.train_tokens > 0
    rows = record.meta_info.dataset_info.get("rows", {}).get("train", 0)
    values = {
        "valid perplexity": record.metric("perplexity", "valid"),
        "test perplexity": record.metric("perplexity", "test"),
        "valid accuracy": record.metric("token_accuracy", "valid"),
        "test accuracy": record.metric("token_accuracy", "test"),
        "train loss": record.curve[-1].loss if record.curve else None,
    }
    return {
        "step": record.spec.train.steps if trained else 0,
        **{name: value if value is not None and math.isfinite(value) else None for name, value in values.items()},
        "train samples": train_samples(record.spec.train, rows) if trained else 0,
        "train total tokens": record.train_info.train_tokens,
        "elapsed time": record.train_info.train_time,
    }


def train_samples(train: TrainSpec, rows: int) -> int:
    """How many rows a run trained on, repetitions counted; the last batch of an epoch holds what is left.

    Args:
        train: Steps, batch size and accumulation.
        rows: Of the training split.

    >>> train_samples(TrainSpec(steps=3, batch_size=4), rows=10), train_samples(TrainSpec(steps=5, batch_size=4), 10)
    (10, 18)
    """
    batches = math.ceil(rows / train.batch_size)
    epochs, rest = divmod(train.steps, max(1, math.ceil(batches / train.gradient_accumulation)))
    return epochs * rows + min(rest * train.gradient_accumulation * train.batch_size, rows)
