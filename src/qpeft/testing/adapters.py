"""One small config for every adapter type of peft, and each of ours, on a Llama-style model of width 32."""

from typing import Any

import peft

LINEAR = {"target_modules": ["q_proj", "v_proj"]}
MLP = {"target_modules": ["up_proj", "down_proj"]}
# Type -> options that fit a model with hidden size 32, 2 layers, 2 heads.
ADAPTER_OPTIONS: dict[str, dict[str, Any]] = {
    "LORA": {"r": 4, **LINEAR},
    "ADALORA": {"init_r": 4, "target_r": 2, "total_step": 100, **LINEAR},
    "ADAMSS": {"r": 4, "num_subspaces": 2, **LINEAR},
    "ADAPTION_PROMPT": {"adapter_len": 4, "adapter_layers": 2},
    "BEFT": {"target_modules": ["v_proj"]},
    "BOFT": {"boft_block_size": 4, **LINEAR},
    "C3A": {"block_size": 8, **LINEAR},
    "CARTRIDGE": {"num_virtual_tokens": 4},
    "CORE": {"r": 4, "basis": "weight", **LINEAR},
    "CPT": {"cpt_token_ids": [2, 3, 4, 5], "cpt_mask": [1, 1, 1, 1], "cpt_tokens_type_mask": [1, 2, 3, 4]},
    "DEFT": {"r": 4, **LINEAR},
    "DELORA": {"r": 4, **LINEAR},
    "FFA": {"reduction": 8},
    "FOURIERFT": {"n_frequency": 50, **LINEAR},
    "FROD": LINEAR,
    "GLORA": {"r": 4, **LINEAR},
    "GRALORA": {"r": 4, "gralora_k": 2, **LINEAR},
    "HEADPREFIX": {"num_positions": 16},
    "HIRA": {"r": 4, **LINEAR},
    "HRA": {"r": 4, **LINEAR},
    "IA3": {"target_modules": ["v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "LILY": {"r": 4, **LINEAR},
    "LN_TUNING": {"target_modules": ["input_layernorm", "post_attention_layernorm"]},
    "LOHA": {"r": 4, **LINEAR},
    "LOKR": {"r": 4, **LINEAR},
    "MISS": {"r": 4, **LINEAR},
    "MULTITASK_PROMPT_TUNING": {"num_virtual_tokens": 4, "num_tasks": 1},
    "OFT": {"oft_block_size": 8, **LINEAR},
    "OSF": {"effective_rank": 8, **LINEAR},
    "PEANUT": {"r": 4, **LINEAR},
    "POLY": {"r": 4, "n_tasks": 1, "n_skills": 2, **LINEAR},
    "PREFIX_TUNING": {"num_virtual_tokens": 4},
    "PROMPT_TUNING": {"num_virtual_tokens": 4},
    "PSOFT": {"r": 4, **LINEAR},
    "PVERA": {"r": 8, **LINEAR},
    "P_TUNING": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "QAA": {},
    "RANDLORA": {"r": 4, **LINEAR},
    "ROAD": {"group_size": 8, **LINEAR},
    "SHADOW": {"r": 4, "target_modules": ["layers.0", "layers.1"]},
    "SHIRA": {"r": 4, **LINEAR},
    "SORA": {"r": 4, **LINEAR},
    "SUPERTUNING": {"sparsity": 0.9, **LINEAR},
    "TINYLORA": {"r": 2, "u": 8, **LINEAR},
    "TRAINABLE_TOKENS": {"token_indices": [3, 4, 5], "target_modules": ["embed_tokens"]},
    "UNILORA": {"r": 4, "theta_d_length": 64, **LINEAR},
    "VBLORA": {"r": 4, "num_vectors": 16, "vector_length": 8, **LINEAR},
    "VERA": {"r": 8, **LINEAR},
    "WAVEFT": {"n_frequency": 50, **LINEAR},
}
# Types whose forward needs to know the task of each row.
NEED_TASKS = ("MULTITASK_PROMPT_TUNING", "POLY")
# Largest difference of a logit after saving and loading, where it is not bit for bit: CPT re-normalises its prompt
# at every forward, which moves the last bit.
TOLERANCES = {"CPT": 1e-6}
# Types that vanilla peft 0.21 itself cannot train and reload here; a test keeps this list true.
VANILLA_FAILURES: dict[str, str] = {
    "XLORA": "needs trained LoRA adapters on disk, and its reload fails in vanilla peft",
}


def adapter_config(peft_type: str) -> Any:
    """The small config of a type."""
    known = {getattr(t, "value", str(t)): c for t, c in peft.PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    return known[peft_type](task_type="CAUSAL_LM", **ADAPTER_OPTIONS[peft_type])
