"""One small example of every method, for models with q_proj and v_proj."""

from typing import Any

TARGETS = {"target_modules": ["q_proj", "v_proj"]}
LORA: dict[str, Any] = {"name": "lora", "options": {"r": 4, **TARGETS}}
EXAMPLES: dict[str, dict[str, Any]] = {
    "base": {"name": "base"},
    "full": {"name": "full"},
    "lora": LORA,
    "dora": {"name": "dora", "options": {"r": 4, **TARGETS}},
    "lora_released": {"name": "lora_released", "options": {"r": 4, **TARGETS}},
    "sora": {"name": "sora", "options": {"r": 4, **TARGETS}},
    "core": {"name": "core", "options": {"r": 4, "basis": "weight", **TARGETS}},
    "prefix": {"name": "prefix", "options": {"num_virtual_tokens": 4}},
    "head_prefix": {"name": "head_prefix", "options": {"num_positions": 16}},
    "ffa": {"name": "ffa", "options": {"bottleneck": 4}},
    "qaa": {"name": "qaa"},
    "peft": {"name": "peft", "options": {"peft_type": "VERA", "r": 4, **TARGETS}},
    "qpa": {"name": "qpa", "options": {"n_mlp": 16, "depth": 2}, "over": LORA},
}
