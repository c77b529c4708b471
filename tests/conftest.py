"""Shared pieces of the tests: a tiny base model, token ids, the folder of real texts where there is one."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from tiny_models import save_tiny_base, save_tiny_texts, tiny_llama

# CI also runs the core as if no extra were installed.
if os.environ.get("QPEFT_WITHOUT_EXTRAS"):
    extras = (
        "pennylane qiskit qiskit_aer sklearn trl bitsandbytes sacrebleu rouge_score bert_score matplotlib tensorboard"
    )
    sys.modules |= dict.fromkeys([*extras.split(), "gguf", "triton"])  # type: ignore[arg-type]
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # is read when Triton is imported, by whomever
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Workers side by side would otherwise fight for the cores; results do not depend on the number of threads.
torch.set_num_threads(1)


@pytest.fixture
def llama() -> Any:
    return tiny_llama()


@pytest.fixture
def ids() -> torch.Tensor:
    """Token ids (2, 12)."""
    return torch.randint(2, 97, (2, 12), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real texts, QPEFT_DATA or shared/data beside the checkout; skipped without."""
    folder = Path(os.environ.get("QPEFT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real texts are absent; set QPEFT_DATA to their folder")
    return folder
