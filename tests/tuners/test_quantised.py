"""Our methods on bases in 8 and 4 bit, where the library that quantises is installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import qpeft
from tiny_models import tiny_llama

pytestmark = pytest.mark.filterwarnings("ignore")  # the quantising libraries' own
CONFIGS: dict[str, Any] = {
    "qaa": lambda: qpeft.QAAConfig(task_type="CAUSAL_LM"),
    "qaa parallel": lambda: qpeft.QAAConfig(insertion="parallel", target_modules=["q_proj"], task_type="CAUSAL_LM"),
    "sora": lambda: qpeft.SoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    "ffa": lambda: qpeft.FFAConfig(bottleneck=4, task_type="CAUSAL_LM"),
    "headprefix": lambda: qpeft.HeadPrefixConfig(num_positions=16, task_type="CAUSAL_LM"),
}


def bits_and_bytes(**options: Any) -> Any:
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(**options)


def torchao() -> Any:
    quantization = pytest.importorskip("torchao.quantization")
    from transformers import TorchAoConfig

    return TorchAoConfig(quantization.Int8WeightOnlyConfig())


def quanto() -> Any:
    pytest.importorskip("optimum.quanto")
    from transformers import QuantoConfig

    return QuantoConfig(weights="int8")


BASES: dict[str, Callable[[], Any]] = {
    "bitsandbytes 8 bit": lambda: bits_and_bytes(load_in_8bit=True),
    "bitsandbytes 4 bit": lambda: bits_and_bytes(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32),
    "torchao 8 bit": torchao,
    "quanto 8 bit": quanto,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    tiny_llama(hidden_size=64, intermediate_size=64).save_pretrained(path)
    return path


@pytest.mark.parametrize("bits", list(BASES))
@pytest.mark.parametrize("name", list(CONFIGS))
def test_trains_saves_and_reloads(name: str, bits: str, folder: Path, ids: torch.Tensor, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    def base() -> Any:
        return AutoModelForCausalLM.from_pretrained(folder, quantization_config=BASES[bits](), dtype=torch.float32)

    def wrapped() -> Any:
        torch.manual_seed(0)
        return peft.get_peft_model(base(), CONFIGS[name]())

    with torch.no_grad():
        start, plain = wrapped().eval()(input_ids=ids).logits, base().eval()(input_ids=ids).logits
    assert torch.equal(start, plain), "the start is not the base model"
    model = wrapped().train()  # never evaluated before: bitsandbytes then packs 4-bit weights, and no gradient passes
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-2)
    losses = []
    for _ in range(8):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(base(), str(tmp_path)).eval()
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


def test_merging_into_a_quantised_base_is_refused(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    config = bits_and_bytes(load_in_8bit=True)
    base = AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.float32)
    model = peft.get_peft_model(base, CONFIGS["sora"]())
    with pytest.raises(qpeft.errors.ModelError, match="without quantisation"):
        model.merge_and_unload()
