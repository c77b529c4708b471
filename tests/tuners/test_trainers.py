"""Our methods in the trainers people use: transformers.Trainer and TRL's SFTTrainer train, resume and reload them."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import qpeft
from tiny_models import tiny_llama, tiny_tokenizer

CONFIGS: dict[str, Any] = {
    "qaa": lambda: qpeft.QAAConfig(task_type="CAUSAL_LM"),
    "sora": lambda: qpeft.SoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    "core": lambda: qpeft.CoreConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    "ffa": lambda: qpeft.FFAConfig(bottleneck=4, task_type="CAUSAL_LM"),
    "headprefix": lambda: qpeft.HeadPrefixConfig(num_positions=16, task_type="CAUSAL_LM"),
}
LINES = [f"the {word} bell rang {count} times" for word, count in zip("abcdefgh", range(2, 10), strict=True)]


def base() -> Any:
    return tiny_llama(len(tiny_tokenizer()))


def callbacks(name: str) -> list[Any]:
    ours = {"core": qpeft.CoreCallback, "qaa": lambda: qpeft.QAAMonitor(every=1), "sora": qpeft.SoraCallback}
    return [ours[name]()] if name in ours else []


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(3, 19)[None]
    with torch.no_grad():
        out: torch.Tensor = model.eval()(input_ids=ids).logits
    return out


def check_run(make: Any, folder: Path) -> None:
    """Six steps at once equal three, a checkpoint, and three more; the checkpoint reloads in peft."""
    whole = make(folder / "whole")
    whole.train()
    assert whole.state.global_step == 6
    before = logits(base())
    assert not torch.allclose(logits(whole.model), before), "nothing was learnt"
    again = make(folder / "again")
    again.train(resume_from_checkpoint=str(folder / "whole" / "checkpoint-3"))
    assert torch.equal(logits(again.model), logits(whole.model)), "a resumed run ends elsewhere"
    loaded = peft.PeftModel.from_pretrained(base(), str(folder / "whole" / "checkpoint-6"))
    assert torch.equal(logits(loaded), logits(whole.model)), "the checkpoint computes something else"


@pytest.mark.parametrize("name", list(CONFIGS))
def test_transformers_trainer(name: str, tmp_path: Path) -> None:
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    tokenizer = tiny_tokenizer()

    def make(folder: Path) -> Any:
        torch.manual_seed(0)
        arguments = TrainingArguments(
            str(folder),
            max_steps=6,
            save_steps=3,
            learning_rate=5e-2,
            per_device_train_batch_size=2,
            report_to="none",
            use_cpu=True,
            dataloader_pin_memory=False,
            disable_tqdm=True,
        )
        return Trainer(
            peft.get_peft_model(base(), CONFIGS[name]()),
            arguments,
            train_dataset=[tokenizer(line) for line in LINES],
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
            callbacks=callbacks(name),
        )

    check_run(make, tmp_path)


@pytest.mark.filterwarnings("ignore")  # TRL's own
@pytest.mark.parametrize("name", list(CONFIGS))
def test_trl_sft_trainer(name: str, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    def make(folder: Path) -> Any:
        torch.manual_seed(0)
        arguments = trl.SFTConfig(
            str(folder),
            max_steps=6,
            save_steps=3,
            learning_rate=5e-2,
            per_device_train_batch_size=2,
            report_to="none",
            use_cpu=True,
            bf16=False,
            max_length=32,
            dataloader_pin_memory=False,
            disable_tqdm=True,
        )
        return trl.SFTTrainer(
            base(),
            args=arguments,
            train_dataset=Dataset.from_dict({"text": LINES}),
            processing_class=tiny_tokenizer(),
            peft_config=CONFIGS[name](),
            callbacks=callbacks(name),
        )

    check_run(make, tmp_path)
