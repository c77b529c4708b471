"""The contract of a tuner: what peft, transformers and their users expect of a method, one function a promise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from qpeft.testing import computing, handling
from qpeft.testing.promises import check
from qpeft.testing.trial import Trial

# Each works alone on a Trial and raises AssertionError where its promise is broken.
PARTS: dict[str, Callable[[Trial], None]] = {
    "identity": computing.identity,
    "training": computing.training,
    "saving": handling.saving,
    "transformers calls": handling.transformers_calls,
    "disabling": handling.disabling,
    "two adapters": handling.two_adapters,
    "checkpointing": computing.checkpointing,
    "generation": computing.generation,
    "generation without cache": computing.generation_without_cache,
    "bfloat16": computing.bfloat16,
    "merging": handling.merging,
    "modules_to_save": handling.modules_to_save,
    "target_modules": handling.target_modules,
}


def check_tuner(make_model: Callable[[], Any], config: Any, batch: dict[str, Tensor], folder: Path) -> None:
    """Try every promise of ``PARTS`` on a tuner and tell all that are broken.

    ::

        def test_my_tuner(tmp_path):
            check_tuner(make_tiny_llama, MyConfig(task_type="CAUSAL_LM"), {"input_ids": ids}, tmp_path)

    The fresh process imports the package that the config's class lives in, which must make the type known to peft.

    Args:
        make_model: Builds the same base model at each call: a small causal language model of transformers, float32.
        config: The tuner's peft config, with ``task_type="CAUSAL_LM"``.
        batch: ``input_ids`` (B, T); ``attention_mask`` (B, T) where some rows are padded on the left.
        folder: An empty folder.

    Raises:
        AssertionError: One line for each broken promise.
    """
    check(PARTS, Trial(make_model, config, batch, folder))
