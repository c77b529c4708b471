"""A made-up record with every optional part filled in."""

from collections.abc import Callable
from typing import Any

import pytest

from qpeft.records import MethodSpec, RunRecord, RunSpec


@pytest.fixture
def spec() -> RunSpec:
    over = MethodSpec(name="lora", options={"r": 4, "target_modules": ["q_proj"]})
    return RunSpec(method=MethodSpec(name="qpa", options={"n_mlp": 64}, over=over), label="qpa")


@pytest.fixture
def make(spec: RunSpec) -> Callable[..., RunRecord]:
    """A record of the spec; keywords replace parts of it."""

    def make(**parts: Any) -> RunRecord:
        run = parts.get("spec", spec)
        body: dict[str, Any] = {
            "identity": run.identity(),
            "seed": run.seed,
            "spec": run,
            "run_info": {
                "created_at": "2025-01-02T03:04:05Z",
                "total_time": 3.5,
                "experiment_name": "qpa",
                "train_config": {"steps": 3},
                "peft_config": {"r": 4},
            },
            "train_info": {
                "accelerator_memory_max": 0,
                "process_memory_max": 1,
                "train_time": 2.5,
                "step_time_median": 0.1,
                "file_size": 100,
                "num_trainable_params": 7,
                "num_adapter_params": 70,
                "num_total_params": 700,
                "train_tokens": 99,
                "status": "success",
            },
            "meta_info": {
                "model_info": {"name": "tiny"},
                "dataset_info": {"name": "lines"},
                "package_info": {"torch-version": "2", "bitsandbytes-version": None},
                "system_info": {"cores": 2},
                "pytorch_info": "torch",
            },
            "metrics": [{"name": "perplexity", "split": "test", "value": 12.25, "signature": "ppl"}],
            "blocks": [{"split": "test", "nll": [1.5, 2.5], "tokens": [3, 4]}],
            "curve": [{"step": 1, "loss": 2.5, "learning_rate": 0.01}],
        }
        return RunRecord.model_validate({**body, **parts})

    return make
