"""The papers' real recipes on the true architectures: random weights, two steps, the published counts."""

from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM

from qpeft.recipes import load_recipe
from qpeft.recipes.papers import published
from qpeft.training.run import train_run
from tiny_models import save_tiny_base

NEO = {"attention_types": [[["global", "local"], 6]], "num_layers": 12, "hidden_size": 768, "num_heads": 12}
QUICK = ["train.steps=2", "data.max_length=32", "train.checkpoint_steps=0", "data.format=text", "learning_rates=[]"]
# Table 2's own counts: LoRA r = 4, DoRA r = 32 with magnitudes as long as the vocabulary, 512 positions, b = d / 4.
TABLE2 = {"lora": 204_100, "qpa-lora": 106_264, "dora": 1_683_057, "pt": 393_216, "qpa-pt": 72_552, "ffa": 294_912}


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("gpt2"), GPT2LMHeadModel(GPT2Config()))


@pytest.fixture(scope="module")
def gpt_neo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = GPTNeoForCausalLM(GPTNeoConfig(**NEO, max_position_embeddings=2048))
    return save_tiny_base(tmp_path_factory.mktemp("gpt-neo"), model)


def trained(recipe: str, label: str, model: Path, texts: Path, folder: Path) -> Any:
    """The record of two steps of one row of a recipe, on a local model and texts."""
    settings = [f"model.name={model}", f"data.name={texts}", "eval.generation=null", *QUICK]
    run = next(run for run in load_recipe(recipe, settings).runs if run.label == label)
    short = run.train.model_copy(update={"steps": 2, "warmup_steps": 0})
    return train_run(run.model_copy(update={"train": short}), folder)


@pytest.mark.parametrize("label", TABLE2)
def test_table_2_of_qpa_on_gpt_2(label: str, gpt2: Path, texts: Path, tmp_path: Path) -> None:
    record = trained("qpa-table2-gpt2", label, gpt2, texts, tmp_path)
    assert record.train_info.num_trainable_params == TABLE2[label]
    assert len(record.curve) >= 1 or record.train_info.step_time_median > 0
    if label == "qpa-lora":
        assert record.quantum.n_qubits == 7
        counts = {n.row: n.value for n in published("qpa-headline") if n.column == "trainable numbers"}
        assert record.train_info.num_trainable_params == int(counts["QPA LoRA, GPT-2"])


@pytest.mark.parametrize(("label", "count"), [("qaa-paper", 123_000), ("qaa-text", 184_560)])
def test_table_3_of_qaa_on_gpt_neo(label: str, count: int, gpt_neo: Path, texts: Path, tmp_path: Path) -> None:
    record = trained("qaa-table3-gpt-neo", label, gpt_neo, texts, tmp_path)
    assert record.train_info.num_trainable_params == count
    assert record.train_info.num_total_params - count == 125_198_592
    assert record.quantum.n_qubits == 10
