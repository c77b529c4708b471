"""Tiny random models, equal at each call."""

from pathlib import Path
from typing import Any

import torch


def tiny_llama(vocabulary: int = 97, **overrides: Any) -> Any:
    """A random Llama-style model of a few thousand numbers; equal at each call."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=vocabulary,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        **{"tie_word_embeddings": False, **sizes, **overrides},
    )
    return LlamaForCausalLM(config)


def tiny_tokenizer() -> Any:
    """A byte-level BPE tokenizer without merges: one token a byte, and an end token that also pads."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE(vocab={token: place for place, token in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>")


def save_tiny_base(folder: Path, model: Any = None) -> Path:
    """Write a model, by default the tiny Llama, with the tiny tokenizer, as a user's model folder."""
    tokenizer = tiny_tokenizer()
    (model or tiny_llama(len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_texts(folder: Path) -> Path:
    """Write a folder of a few short lines for training, validation and test."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"the {word} bell rang {count} times" for word, count in zip("abcdef", range(2, 8), strict=True)]
    for split, part in (("train", lines), ("valid", lines[:2]), ("test", lines[2:5])):
        (folder / f"{split}.txt").write_text("\n".join(part) + "\n", encoding="utf-8")
    return folder
