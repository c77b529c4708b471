"""Every count of Tables 8 and 9 of arXiv:2410.09846 and of its text, from the real models' dimensions."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GemmaConfig, GPT2Config

from qpeft.circuits import n_chunks, qubits_for_chunks
from qpeft.qpa import Generator, QPAConfig
from qpeft.training.models import untie_head

GPT2, XL, GEMMA = (768, 50257), (1600, 50257), (2048, 256000)


def lora_numbers(model: tuple[int, int], rank: int) -> int:
    return rank * sum(model)


@pytest.mark.parametrize(
    ("model", "published"),
    [
        (GPT2, [51025, 102050, 204100, 408200, 816400, 1632800]),
        (GEMMA, [258048, 516096, 1032192, 2064384, 4128768, 8257536]),
    ],
)
def test_lora_rows(model: tuple[int, int], published: list[int]) -> None:
    assert [lora_numbers(model, 2**k) for k in range(6)] == published


# n_mlp, qubits, chunks, trainable numbers
TABLE_8 = [
    (256, 10, 798, 47248), (512, 9, 399, 55656), (1024, 8, 200, 72512), (2048, 7, 100, 106264),
    (4096, 6, 50, 173808), (8192, 5, 25, 308936),
]  # fmt: skip
TABLE_9 = [
    (1024, 10, 1008, 72592), (4096, 8, 252, 173888), (8192, 7, 126, 309016), (16258, 6, 64, 575154),
    (32768, 5, 32, 1119944), (65536, 4, 16, 2201248),
]  # fmt: skip
TEXT = [
    (512 * 768, 1024, 9, 384, 72552),  # prompt tuning of GPT-2, 18.45 %
    (lora_numbers(XL, 4), 512, 9, 406, 55656),
    (lora_numbers(XL, 4), 1024, 8, 203, 72512),
    (lora_numbers(XL, 4), 2048, 7, 102, 106264),
]
ROWS = [
    *((lora_numbers(GPT2, 4), *row) for row in TABLE_8),
    *((lora_numbers(GEMMA, 4), *row) for row in TABLE_9),
    *TEXT,
]


@pytest.mark.parametrize("preset", ["equations", "released"])
@pytest.mark.parametrize(("m", "n_mlp", "qubits", "chunks", "published"), ROWS)
def test_qpa_rows(m: int, n_mlp: int, qubits: int, chunks: int, published: int, preset: str) -> None:
    generator = Generator(m, QPAConfig(n_mlp=n_mlp, preset=preset))
    assert generator.n_qubits == qubits == qubits_for_chunks(m, n_mlp)
    assert n_chunks(m, n_mlp) == chunks
    assert generator.n_trainable == published
    assert generator.n_angles == 8 * qubits


def test_prompt_tuning_row_and_head_sizes() -> None:
    assert 512 * 768 == 393216
    assert 768 * 50257 == 38597376
    assert 2048 * 256000 == 524288000


def test_affine_mapping_collapses_to_18432() -> None:
    generator = Generator(lora_numbers(GPT2, 4), QPAConfig(n_mlp=2048, preset="released"))
    assert generator.n_effective == 18432 + 56
    assert Generator(204100, QPAConfig(n_mlp=2048, preset="released", activation="gelu")).n_effective == 106264


@pytest.mark.parametrize(
    ("config", "m"),
    [
        (GPT2Config(), 204100),
        (GPT2Config(n_embd=1600, n_layer=48, n_head=25), 207428),
        (GemmaConfig(hidden_size=2048, intermediate_size=16384, num_hidden_layers=18, num_attention_heads=8), 1032192),
    ],
    ids=["gpt2", "gpt2-xl", "gemma"],
)
def test_real_models_give_the_same_m(config: object, m: int) -> None:
    """The head of the real architecture, untied, carries exactly m LoRA numbers; built without memory."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        assert untie_head(model)
        wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["lm_head"]))
    assert sum(p.numel() for p in wrapped.parameters() if p.requires_grad) == m
