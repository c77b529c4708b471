"""Pruning: an ordinary LoRA that computes the same, counts, and a file that peft loads alone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from qpeft.errors import ExportError, ModelError
from qpeft.tuners.sora import SoraConfig, SoraLinear, prune, sparsity
from tiny_models import tiny_llama

VANILLA = """
import sys
sys.modules["qpeft"] = None
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
ids = torch.load(sys.argv[1] + "/ids.pt")
for family in ("llama", "gpt2"):
    folder = sys.argv[1] + "/" + family
    base = AutoModelForCausalLM.from_pretrained(folder + "/base")
    model = PeftModel.from_pretrained(base, folder + "/adapter").eval()
    torch.save(model(input_ids=ids).logits.detach(), folder + "/logits.pt")
"""


def silence(model: Any, ending: str) -> None:
    """Make every gate of the modules with this ending zero."""
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, SoraLinear) and name.endswith(ending):
                module.delta("default").gate.zero_()


def ranks_of(lora: Any) -> dict[str, int]:
    """Module name to rank of its LoRA."""
    layers = [(name, m) for name, m in lora.base_model.model.named_modules() if isinstance(m, LoraLayer)]
    return {name: m.r["default"] for name, m in layers}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("targets", [None, "all-linear"])
def test_logits_counts_and_places(trained: Any, logits: Any, family: str, targets: str | None) -> None:
    model = trained(family, r=5, target_modules=targets)
    if targets:
        silence(model, "mlp.down_proj" if family == "llama" else "mlp.c_proj")
    before, found = logits(model), sparsity(model)
    lora = prune(model)
    assert type(lora) is peft.PeftModelForCausalLM
    assert lora.peft_config["default"].peft_type == "LORA"
    torch.testing.assert_close(logits(lora), before, atol=1e-5, rtol=0)
    numbers = sum(p.numel() for p in lora.parameters() if p.requires_grad)
    assert numbers == found.n_parameters < sum(m.r * m.width for m in found.modules.values())
    assert ranks_of(lora) == {name: module.kept for name, module in found.modules.items() if module.kept}
    assert not any(isinstance(module, SoraLinear) for module in lora.modules())


def test_sparsity_counts(trained: Any) -> None:
    model = trained("gpt2", r=5, target_modules="all-linear")
    found = sparsity(model)
    gates = {n: p for n, p in model.named_parameters() if n.endswith(".gate")}
    assert found.total == sum(p.numel() for p in gates.values()) == 5 * 8
    assert found.kept == sum(int(np.count_nonzero(p.detach())) for p in gates.values())
    assert set(found.modules) == {n.removeprefix("base_model.model.").split(".sora_")[0] for n in gates}
    attention = found.modules["transformer.h.0.attn.c_attn"]
    assert (attention.kept, attention.r, attention.width) == (4, 5, 24 + 72)
    assert found.n_parameters == sum(m.kept * m.width for m in found.modules.values())


def test_scaling_stays(trained: Any) -> None:
    lora = prune(trained(r=8, lora_alpha=12))
    scalings = [m.scaling["default"] for m in lora.modules() if isinstance(m, LoraLayer)]
    assert len(scalings) == 4
    assert all(abs(scaling - 12 / 8) < 1e-15 for scaling in scalings)


def test_without_zeros_nothing_is_written_twice(trained: Any, logits: Any) -> None:
    model = trained(zeros=False)
    before = logits(model)
    lora = prune(model)
    assert lora.peft_config["default"].rank_pattern == lora.peft_config["default"].alpha_pattern == {}
    torch.testing.assert_close(logits(lora), before, atol=1e-5, rtol=0)


def test_pruned_lora_trains_merges_and_keeps_mode(trained: Any, logits: Any, ids: torch.Tensor) -> None:
    model = trained().train()
    lora = prune(model)
    assert lora.training
    assert all(m.training for m in lora.modules() if isinstance(m, nn.Linear))
    lora(input_ids=ids, labels=ids).loss.backward()
    assert all(p.grad is not None for p in lora.parameters() if p.requires_grad)
    before = logits(lora)
    torch.testing.assert_close(logits(lora.merge_and_unload()), before, atol=1e-5, rtol=0)


def test_files_load_in_peft_alone(
    trained: Any, make_base: Any, logits: Any, ids: torch.Tensor, tmp_path: Path
) -> None:
    # The head of GPT-2 shares its weight, so that it cannot be saved as a whole.
    expected = {}
    for family, silenced, saved in (("llama", "self_attn.o_proj", ["lm_head"]), ("gpt2", "attn.c_proj", None)):
        make_base(family).save_pretrained(tmp_path / family / "base")
        model = trained(family, r=3, target_modules="all-linear", modules_to_save=saved)
        silence(model, silenced)
        if saved:
            with torch.no_grad():
                model.base_model.model.lm_head.modules_to_save["default"].weight.add_(0.1)
        before = logits(model)
        lora = prune(model)
        torch.testing.assert_close(logits(lora), before, atol=1e-5, rtol=0)
        lora.save_pretrained(tmp_path / family / "adapter")
        config = json.loads((tmp_path / family / "adapter" / "adapter_config.json").read_text("utf-8"))
        assert config["peft_type"] == "LORA"
        expected[family] = logits(lora)
    torch.save(ids, tmp_path / "ids.pt")
    subprocess.run([sys.executable, "-c", VANILLA, str(tmp_path)], check=True, capture_output=True, timeout=300)
    for family, values in expected.items():
        assert torch.equal(torch.load(tmp_path / family / "logits.pt"), values)


def test_a_name_of_its_own_and_other_adapters(trained: Any, logits: Any) -> None:
    model = trained()
    model.add_adapter("sparse", SoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["o_proj"], init_weights=False))
    model.set_adapter("sparse")
    before = logits(model)
    lora = prune(model, "sparse")
    assert list(lora.peft_config) == ["sparse"]
    assert sorted(lora.targeted_module_names) == [f"model.layers.{i}.self_attn.o_proj" for i in (0, 1)]
    torch.testing.assert_close(logits(lora), before, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_base(logits: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = SoraConfig(task_type="CAUSAL_LM", init_weights=False)
    model = peft.get_peft_model(tiny_llama().to(dtype), config)
    before = logits(model)
    lora = prune(model)
    # SoRA rounds its update to the model's precision before adding it, LoRA the sum.
    torch.testing.assert_close(logits(lora), before, atol=2e-2, rtol=0)
    assert all(p.dtype == torch.float32 for p in lora.parameters() if p.requires_grad)


class Nested(nn.Module):
    """Two layers, the name of one being the end of the other's."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(4, 4)
        self.block = nn.ModuleDict({"proj": nn.Linear(4, 4)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block["proj"](self.proj(x))


def nested(zero: str | None) -> Any:
    torch.manual_seed(3)
    model = peft.get_peft_model(Nested(), SoraConfig(r=4, target_modules=["proj"], init_weights=False))
    with torch.no_grad():
        model.base_model.model.proj.delta("default").gate[:1] = 0
        model.base_model.model.block["proj"].delta("default").gate[:2] = 0
        for name, module in model.base_model.model.named_modules():
            if name == zero:
                module.delta("default").gate.zero_()
    return model


@pytest.mark.parametrize("zero", [None, "proj"])
def test_names_that_end_alike_keep_their_ranks(zero: str | None) -> None:
    model, x = nested(zero), torch.randn(3, 4)
    before = model(x)
    lora = prune(model)
    torch.testing.assert_close(lora(x), before, atol=1e-5, rtol=0)
    assert ranks_of(lora) == ({"proj": 3, "block.proj": 2} if zero is None else {"block.proj": 2})


def test_refusals_leave_the_model_as_it_was(trained: Any, make_base: Any, logits: Any) -> None:
    model = nested("block.proj")
    with pytest.raises(ExportError, match=r"would put a LoRA on block.proj too"):
        prune(model)
    model = trained()
    silence(model, "_proj")
    before = logits(model)
    with pytest.raises(
        ExportError, match="all gates of the adapter are zero, so nothing is left to save; train with a"
    ):
        prune(model)
    assert torch.equal(logits(model), before)
    assert sparsity(model).kept == 0
    model = trained()
    model.merge_adapter()
    with pytest.raises(ModelError, match=r"merged into the base model; call unmerge_adapter\(\) first"):
        prune(model)
    with pytest.raises(ModelError, match="SoRA adapter named 'default' was required"):
        prune(make_base("llama"))
    inside = make_base("llama")
    inside.add_adapter(SoraConfig())
    with pytest.raises(ModelError, match="prune needs the peft model that holds the adapter; got a LlamaForCausalLM"):
        prune(inside)
