"""QPA over every adapter type of the installed peft, and the contract itself."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from qpeft.testing import (
    ADAPTER_OPTIONS,
    NEED_TASKS,
    TOLERANCES,
    VANILLA_FAILURES,
    adapter_config,
    check_adapter_under_qpa,
)
from qpeft.testing.contract import logits, steps
from tiny_models import tiny_llama

TYPES = sorted(getattr(t, "value", str(t)) for t in peft.PEFT_TYPE_TO_CONFIG_MAPPING)
# What vanilla peft itself warns about.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_every_type_of_peft_is_covered() -> None:
    assert len(TYPES) >= 45
    assert sorted([*ADAPTER_OPTIONS, *VANILLA_FAILURES]) == TYPES


@pytest.mark.parametrize("peft_type", [t for t in TYPES if t in ADAPTER_OPTIONS])
def test_contract(peft_type: str, ids: torch.Tensor, tmp_path: Path) -> None:
    if peft_type == "ADAMSS":
        pytest.importorskip("sklearn")
    batch = {"input_ids": ids}
    if peft_type in NEED_TASKS:
        batch["task_ids"] = torch.zeros(2, dtype=torch.long)
    check_adapter_under_qpa(
        tiny_llama, adapter_config(peft_type), batch, tmp_path, tolerance=TOLERANCES.get(peft_type, 0.0)
    )


def test_xlora_fails_in_vanilla_peft_too(ids: torch.Tensor, tmp_path: Path) -> None:
    """Trained, saved and loaded by peft and AdamW alone: the logits are not those that were trained."""
    lora = peft.get_peft_model(tiny_llama(), adapter_config("LORA"))
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in (p for n, p in lora.named_parameters() if "lora_B" in n):
                parameter.normal_()
        lora.save_pretrained(tmp_path / name)
    experts = {"0": str(tmp_path / "first"), "1": str(tmp_path / "second")}
    config = peft.XLoraConfig(task_type="CAUSAL_LM", hidden_size=32, xlora_depth=1, adapters=experts)

    def base() -> Any:
        model = tiny_llama()
        model.config.use_cache = False
        return model

    model, batch = peft.get_peft_model(base(), config), {"input_ids": ids}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = steps(model, optimizer, batch, 3)
    assert losses[-1] < losses[0]
    model.save_pretrained(tmp_path / "xlora")
    loaded = peft.PeftModel.from_pretrained(base(), str(tmp_path / "xlora"))
    assert not torch.allclose(logits(loaded, batch), logits(model, batch), atol=1e-3), (
        "vanilla peft reloads X-LoRA now: move it from VANILLA_FAILURES to ADAPTER_OPTIONS"
    )


def test_the_contract_can_fail(ids: torch.Tensor, tmp_path: Path) -> None:
    calls = iter(range(100))

    def moving_base() -> Any:
        model = tiny_llama()
        with torch.no_grad():
            model.lm_head.weight.add_(next(calls))
        return model

    with pytest.raises(AssertionError, match="changed the adapter before training"):
        check_adapter_under_qpa(moving_base, adapter_config("LORA"), {"input_ids": ids}, tmp_path)
