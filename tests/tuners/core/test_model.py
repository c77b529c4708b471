"""core as a peft tuner: identity, files, merging, and a LoRA that peft alone loads."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import nn

import qpeft
from qpeft.errors import ExportError, ModelError
from qpeft.testing import PARTS, Trial
from qpeft.tuners.core.config import CORES
from qpeft.tuners.core.layer import CoreLinear
from tiny_models import tiny_llama

FAMILIES = ["llama", "gpt2", "gemma"]
VANILLA = """
import sys
sys.modules["qpeft"] = None
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
ids = torch.load(sys.argv[1] + "/ids.pt")
for family in ("llama", "gpt2", "gemma"):
    folder = sys.argv[1] + "/" + family
    base = AutoModelForCausalLM.from_pretrained(folder + "/base")
    model = PeftModel.from_pretrained(base, folder + "/adapter").eval()
    torch.save(model(input_ids=ids).logits.detach(), folder + "/logits.pt")
    merged = model.merge_and_unload()
    torch.save(merged(input_ids=ids).logits.detach(), folder + "/merged.pt")
"""
pytestmark = pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:fan_in_fan_out is set")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("core", CORES)
def test_starts_as_the_base_and_reloads_bitwise(
    trained: Any, make_base: Any, logits: Any, family: str, core: str, tmp_path: Path
) -> None:
    fresh = trained(family, core=core, init_weights=True)
    assert torch.equal(logits(fresh), logits(make_base(family)))
    model = trained(family, core=core)
    before = logits(model)
    assert not torch.equal(before, logits(make_base(family)))
    model.save_pretrained(str(tmp_path))
    for low_memory in (False, True):
        again = peft.PeftModel.from_pretrained(make_base(family), str(tmp_path), low_cpu_mem_usage=low_memory)
        assert torch.equal(logits(again), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_merging_and_peft_alone_compute_the_same(
    trained: Any, make_base: Any, logits: Any, family: str, ids: torch.Tensor, tmp_path: Path
) -> None:
    merged = trained(family)
    before = logits(merged)
    merged.merge_adapter(safe_merge=True)
    torch.testing.assert_close(logits(merged), before, atol=1e-5, rtol=1e-4)
    merged.unmerge_adapter()
    torch.testing.assert_close(logits(merged), before, atol=1e-5, rtol=1e-4)
    whole = trained(family).merge_and_unload()
    assert [type(m) for m in whole.modules()] == [type(m) for m in make_base(family).modules()]
    torch.testing.assert_close(logits(whole), before, atol=1e-5, rtol=1e-4)
    lora = qpeft.core_as_lora(trained(family))
    assert lora.peft_config["default"].peft_type == "LORA"
    torch.testing.assert_close(logits(lora), before, atol=1e-5, rtol=1e-4)


def test_files_load_in_peft_alone(
    trained: Any, make_base: Any, logits: Any, ids: torch.Tensor, tmp_path: Path
) -> None:
    expected = {}
    for family in FAMILIES:
        make_base(family).save_pretrained(tmp_path / family / "base")
        model = trained(family, core="gates", modules_to_save=["lm_head"] if family == "llama" else None)
        expected[family] = logits(model)
        qpeft.core_as_lora(model).save_pretrained(tmp_path / family / "adapter")
    torch.save(ids, tmp_path / "ids.pt")
    subprocess.run([sys.executable, "-c", VANILLA, str(tmp_path)], check=True, capture_output=True, timeout=300)
    for family, values in expected.items():
        for file in ("logits.pt", "merged.pt"):
            torch.testing.assert_close(torch.load(tmp_path / family / file), values, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "gemma"])
def test_a_tied_head_is_untied_first(trained: Any, make_base: Any, logits: Any, family: str) -> None:
    with pytest.raises(ModelError, match=r"lm_head shares its weight with another module .*clone"):
        trained(family, target_modules=["lm_head"]).merge_adapter()
    base = make_base(family)
    plain = logits(base)
    assert qpeft.untie_head(base)
    model = trained(base=base, target_modules=["lm_head"])
    before = logits(model)
    assert not torch.equal(before, plain)
    torch.testing.assert_close(logits(model.merge_and_unload()), before, atol=1e-5, rtol=1e-4)


def test_pefts_own_conversion_finds_the_same_rank(trained: Any, logits: Any) -> None:
    model = trained("llama", core="full", r=3)
    config, state = peft.convert_to_lora(model, rank=3)
    lora = peft.get_peft_model(tiny_llama(), config)
    peft.set_peft_model_state_dict(lora, state)
    torch.testing.assert_close(logits(lora), logits(model), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("part", [name for name in PARTS if name != "saving"])
@pytest.mark.filterwarnings("ignore")
def test_the_contract_with_a_fitted_basis(part: str, ids: torch.Tensor, tmp_path: Path) -> None:
    def start(base: Any, config: Any) -> tuple[Any, torch.optim.Optimizer]:
        model = peft.get_peft_model(base, qpeft.CoreConfig(**config))
        qpeft.fit_basis(model, [{"input_ids": ids, "labels": ids}])
        return model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)

    if part in ("modules_to_save", "target_modules", "transformers calls", "two adapters"):
        pytest.skip("these make configs of their own: tests/testing/test_tuner.py tries them with basis 'weight'")
    PARTS[part](Trial(tiny_llama, {"r": 4, "task_type": "CAUSAL_LM"}, {"input_ids": ids}, tmp_path, start))


def test_wrong_places_leave_the_base_untouched(make_base: Any, logits: Any) -> None:
    for options, message in (
        ({"r": 33, "basis": "random"}, r"r must be at most the smaller width .*q_proj maps 32 to 32, got r = 33"),
        ({"target_modules": ["norm"]}, "core needs linear layers; model.norm is a LlamaRMSNorm"),
    ):
        base = make_base("llama")
        before = logits(base)
        with pytest.raises(ModelError, match=message):
            peft.get_peft_model(base, qpeft.CoreConfig(**options))
        assert not any(isinstance(m, CoreLinear) for m in base.modules())
        assert torch.equal(logits(base), before)


class Clash(nn.Module):
    """A base whose numbers peft would take for the adapter's."""

    def __init__(self) -> None:
        super().__init__()
        self.score_head = nn.Linear(4, 4)


def test_names_that_peft_would_mistake() -> None:
    with pytest.raises(ModelError, match=r"'core_' in their names, and the base model has score_head.weight"):
        peft.get_peft_model(Clash(), qpeft.CoreConfig(r=2, target_modules=["score_head"]))


def test_a_lora_needs_names_of_its_own(logits: Any) -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj = nn.Linear(4, 4)
            self.block = nn.ModuleDict({"proj": nn.Linear(4, 4)})

    config = qpeft.CoreConfig(r=2, basis="random", target_modules="proj")
    with pytest.raises(ExportError, match=r"would put a LoRA on block.proj too"):
        qpeft.core_as_lora(peft.get_peft_model(Nested(), config))
