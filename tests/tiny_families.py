"""One tiny random causal language model for every family whose sites are known, equal at each call."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
# What configs in the style of GPT-2 and of Llama, mixtures of experts, and single families ask for besides.
GPT2 = {"n_positions": 64}
ROTARY = {"n_positions": 64, "rotary_dim": 4}
LLAMA = {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 64}
WIDE = {"intermediate_size": 48, "max_position_embeddings": 64}
HEAD = {**LLAMA, "head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
MIXTRAL = {**LLAMA, **LOCAL_EXPERTS}
MORE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("gpt2", "gpt_bigcode"), GPT2),
    **dict.fromkeys(("gptj", "codegen"), ROTARY),
    "gpt_neo": {"max_position_embeddings": 64, "attention_types": [[["global", "local"], 1]]},
    **dict.fromkeys(("gpt_neox", "persimmon"), WIDE),
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64},
    **dict.fromkeys(("llama", "mistral", "qwen2", "phi", "phi3", "stablelm", "starcoder2", "cohere"), LLAMA),
    **dict.fromkeys(("olmo", "olmo2", "olmo3", "granite", "arcee", "apertus", "exaone4"), LLAMA),
    **dict.fromkeys(("gemma", "vaultgemma", "gemma2", "gemma3_text", "qwen3", "ministral", "smollm3"), HEAD),
    **dict.fromkeys(("cohere2", "glm", "glm4", "nemotron", "helium", "seed_oss", "ernie4_5"), HEAD),
    **dict.fromkeys(("mixtral", "phimoe", "granitemoe"), MIXTRAL),
    "gpt_oss": {**HEAD, **LOCAL_EXPERTS},
    "olmoe": {**LLAMA, "num_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**LLAMA, **EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3_moe": {**HEAD, **EXPERTS},
    "falcon": {},
    "bloom": {},
    "mpt": {"max_seq_len": 64},
}


def tiny_family(model_type: str, **overrides: Any) -> Any:
    """A random model of two layers, 32 wide, without dropout; overrides are keys of its config."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(7)
    config = AutoConfig.for_model(model_type, **{**SIZES, **MORE.get(model_type, {}), **overrides})
    for key, value in config.to_dict().items():
        if "drop" in key and isinstance(value, float):
            setattr(config, key, 0.0)
    return AutoModelForCausalLM.from_config(config)


def tiny_gemma3(**overrides: Any) -> Any:
    """The Gemma 3 that also sees: a language model inside a larger one; overrides are keys of the former's config."""
    text = {**SIZES, **HEAD, **overrides}
    sight = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"image_token_index": 2, "boi_token_index": 3, "eoi_token_index": 4, "mm_tokens_per_image": 4}
    vision = {**sight, "image_size": 8, "patch_size": 4}
    special = {key: SIZES[key] for key in ("pad_token_id", "bos_token_id", "eos_token_id")}
    return tiny_family("gemma3", text_config=text, vision_config=vision, **tokens, **special)


FAMILIES: dict[str, Callable[..., Any]] = {
    **{name: partial(tiny_family, name) for name in MORE},
    "gemma3": tiny_gemma3,
}
