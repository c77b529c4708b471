"""Tiny random models, equal at each call."""

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
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        **{**sizes, **overrides},
    )
    return LlamaForCausalLM(config)
