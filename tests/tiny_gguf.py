"""A tiny Llama as a .gguf file, written by the library gguf as llama.cpp's converter does."""

from pathlib import Path
from typing import Any

import numpy as np

from tiny_models import tiny_llama, tiny_tokenizer

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
TEMPLATE = "{% for message in messages %}{{ message.content }}<|end|>{% endfor %}"


def gguf_name(name: str) -> str:
    """The name of a Llama's tensor in a .gguf file."""
    stem = name.removesuffix(".weight")
    if stem in OUTER:
        return f"{OUTER[stem]}.weight"
    _, _, layer, inner = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[inner]}.weight"


def paired(weight: Any, heads: int) -> Any:
    """Rows of a query or key matrix in the order llama.cpp rotates them."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def save_tiny_gguf(
    path: Path, *, quantised: bool = False, extra: Any = None, pre: str = "gpt-2", **change: Any
) -> Any:
    """Write `tiny_llama` with `tiny_tokenizer`; the model that was written, before rounding.

    Args:
        path: The file.
        quantised: Matrices of rows of 32 numbers as Q4_1 blocks, as far as they can be; otherwise float32.
        extra: Name and array of a tensor no Llama has.
        pre: The name of the pre-tokenizer.
        change: Other values of metadata, keys with _ for a dot.
    """
    import gguf

    tokenizer = tiny_tokenizer()
    # A file needs at least one merge (no text of the tests has these letters together), and transformers adds the
    # other token where it is absent.
    tokens = [*sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__), "zq", "<|endoftext|>"]
    model = tiny_llama(len(tokens))
    config = model.config
    writer = gguf.GGUFWriter(path, change.pop("architecture", "llama"))
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in ("<|end|>", "<|endoftext|>") else 1 for token in tokens])
    writer.add_token_merges(["z q"])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_bos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for key, value in change.items():
        writer.add_string(key.replace("_", "."), value)
    for name, parameter in model.state_dict().items():
        weight = parameter.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            weight = paired(weight, config.num_attention_heads)
        kind = gguf.GGMLQuantizationType.Q4_1
        if quantised and weight.ndim == 2 and weight.shape[1] % 32 == 0:
            writer.add_tensor(gguf_name(name), gguf.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), np.ascontiguousarray(weight))
    if extra is not None:
        writer.add_tensor(*extra)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model.eval()
