"""A tiny base model with its tokenizer and a few lines of text in folders, and specs of runs on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpeft.records import MethodSpec, RunSpec

MakeSpec = Callable[..., RunSpec]
LORA: dict[str, Any] = {"name": "lora", "options": {"r": 2, "target_modules": ["q_proj", "v_proj"]}}


@pytest.fixture(scope="session")
def make_spec(base_folder: Path, texts: Path) -> MakeSpec:
    """A run of three steps on the tiny model; keywords replace parts of the spec or of its train section."""

    def make(method: dict[str, Any] | None = None, **parts: Any) -> RunSpec:
        train = {"steps": 3, "batch_size": 2, "learning_rate": 1e-2, "log_steps": 1, **parts.pop("train", {})}
        body: dict[str, Any] = {
            "method": MethodSpec.model_validate(method or LORA),
            "label": "row",
            "model": {"name": str(base_folder)},
            "data": {"name": str(texts), "format": "text", "max_length": 32},
            "train": train,
        }
        return RunSpec.model_validate({**body, **parts})

    return make
