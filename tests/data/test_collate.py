"""Batches: padding, labels, and what the loss of a model and of Trainer sees."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from qpeft.data.collate import Collate, collate_for, features
from qpeft.data.rows import Row
from qpeft.errors import ConfigError, DataError
from qpeft.records.spec import DataSpec

ROWS = [Row([5, 6, 7, 0], [False, False, True, True]), Row([8, 0], [True, True])]


def tiny() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=400, max_position_embeddings=64, **shape))


def test_masked_batch() -> None:
    batch = Collate(1, 16, "masked")(features(ROWS))
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0], [8, 0, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, 7, 0], [8, 0, -100, -100]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_padded_batch_counts_everything() -> None:
    batch = Collate(0, 6, "padded")(features(ROWS))
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0, 0, 0], [8, 0, 0, 0, 0, 0]]
    assert torch.equal(batch["labels"], batch["input_ids"])
    assert batch["attention_mask"].sum(1).tolist() == [4, 2]


@pytest.mark.parametrize("loss", ["masked", "padded"])
def test_rows_are_cut_to_max_length(loss: Any) -> None:
    assert Collate(0, 3, loss)(features(ROWS))["input_ids"].shape == (2, 3)


def test_masked_loss_ignores_what_padding_holds() -> None:
    model = tiny().eval()
    losses = [model(**Collate(pad, 16, "masked")(features(ROWS))).loss.item() for pad in (0, 1, 399)]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)
    # two labels of the first row, one of the second (its first token is never predicted)
    logits = [model(torch.tensor([row.ids])).logits[0] for row in ROWS]
    picked = [(logits[0][1], 7), (logits[0][2], 0), (logits[1][0], 0)]
    by_hand = sum(-torch.log_softmax(scores, 0)[token].item() for scores, token in picked) / 3
    assert losses[0] == pytest.approx(by_hand, abs=1e-5)


def test_collate_for_a_spec(tokenizer: Any) -> None:
    assert collate_for(DataSpec(max_length=32), tokenizer) == Collate(tokenizer.pad_token_id, 32, "masked")
    assert collate_for(DataSpec(loss="padded"), tokenizer) == Collate(tokenizer.eos_token_id, 128, "padded")


def test_faults() -> None:
    with pytest.raises(ConfigError, match="loss must be one of masked, padded; got 'mask'; nearest: masked"):
        Collate(0, 8, "mask")  # type: ignore[arg-type]

    class Endless:
        eos_token_id = pad_token_id = None

    with pytest.raises(DataError, match="must have an end token"):
        collate_for(DataSpec(), Endless())


@pytest.mark.parametrize("loss", ["masked", "padded"])
def test_trainer_takes_the_collator_and_the_features(tmp_path: Path, loss: Any) -> None:
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=1e-2,
        report_to="none",
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(tiny(), arguments, data_collator=Collate(0, 8, loss), train_dataset=features(ROWS * 4))
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[1] < losses[0] == pytest.approx(torch.tensor(400.0).log().item(), abs=0.2)
