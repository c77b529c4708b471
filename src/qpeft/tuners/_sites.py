"""Where a delta goes, by model family: a table of the modules whose output is a sublayer's own result."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qpeft.errors import ConfigError, ModelError, nearest, require_choice

PLACEMENTS = ("attention", "feed_forward", "both", "head")


@dataclass(frozen=True)
class Sites:
    """The sites of one model family, as paths in its causal language model of transformers.

    A sublayer's result is a Tensor, or the first item of a tuple; its last dimension is the width d of the model.

    Attributes:
        layers: The list of blocks.
        attention: Below a block, the module whose output is the attention's result before the residual addition.
        feed_forward: The same for the feed-forward sublayer.
        head: The module whose output is exactly what the output head reads: the final norm in most families.
        body: The module that returns ``last_hidden_state``, which is also what the output head reads.
        other_head: ``head`` of the models of the family that lack the first.
        note: What is particular; empty where the block is ``x + attention(norm(x))``, then
            ``x + feed_forward(norm(x))``, or both on the same x.
    """

    layers: str
    attention: str
    feed_forward: str
    head: str
    body: str
    other_head: str = ""
    note: str = ""


LLAMA = Sites("model.layers", "self_attn", "mlp", "model.norm", "model")
PHI = replace(LLAMA, head="model.final_layernorm")
POST_NORM = replace(LLAMA, note="the block norms what the site gives before it adds it to the residual stream")
GRANITE = replace(LLAMA, note="the block multiplies what the site gives by residual_multiplier before it adds it")
GPT2 = Sites("transformer.h", "attn", "mlp", "transformer.ln_f", "transformer")
LAST_LINEAR = (
    "{} adds the residual inside itself, so that the site is its last linear layer: what goes parallel or before "
    "reads that layer's input"
)

SITES: dict[str, Sites] = {
    **dict.fromkeys(("gpt2", "gpt_bigcode", "gpt_neo", "gptj", "codegen"), GPT2),
    "gpt_neox": Sites("gpt_neox.layers", "attention", "mlp", "gpt_neox.final_layer_norm", "gpt_neox"),
    "opt": Sites(
        "model.decoder.layers",
        "self_attn",
        "fc2",
        "model.decoder.final_layer_norm",
        "model.decoder",
        other_head="model.decoder.project_out",
        note="no module is the feed-forward sublayer: the site is its last linear layer, whose output is "
        "(batch * T, d); OPT-350m norms after the residual addition and has no final norm: its head reads project_out",
    ),
    **dict.fromkeys(("llama", "mistral", "ministral", "qwen2", "qwen3", "gemma", "vaultgemma", "phi3"), LLAMA),
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe", "phimoe", "olmoe", "gpt_oss"), LLAMA),
    **dict.fromkeys(("olmo", "stablelm", "smollm3", "starcoder2", "cohere", "cohere2", "glm", "nemotron"), LLAMA),
    **dict.fromkeys(("arcee", "apertus", "helium", "seed_oss", "ernie4_5"), LLAMA),
    **dict.fromkeys(("phi", "persimmon"), PHI),
    **dict.fromkeys(("gemma2", "gemma3_text", "olmo2", "olmo3", "exaone4", "glm4"), POST_NORM),
    # The body is not the inner language model, which is given its masks and embeddings ready-made.
    "gemma3": replace(POST_NORM, layers="model.language_model.layers", head="model.language_model.norm"),
    "granite": GRANITE,
    "granitemoe": replace(GRANITE, feed_forward="block_sparse_moe"),
    "falcon": replace(GPT2, attention="self_attention"),
    "bloom": replace(
        GPT2,
        attention="self_attention.dense",
        feed_forward="mlp.dense_4h_to_h",
        note=LAST_LINEAR.format("each sublayer") + "; slow_but_exact with pretraining_tp above 1 passes the layer by",
    ),
    "mpt": Sites(
        "transformer.blocks",
        "attn",
        "ffn.down_proj",
        "transformer.norm_f",
        "transformer",
        note=LAST_LINEAR.format("ffn"),
    ),
}

TWO_STACKS = (
    "it has an encoder and a decoder, joined by cross-attention: two lists of blocks, and in the decoder's no single "
    "pair of attention and feed-forward"
)
RECURRENT = "its blocks have no pair of attention and feed-forward: tokens are mixed by a recurrence"
HYBRID = "its blocks differ: some or all of them mix tokens by a recurrence or a convolution, not by attention alone"
STREAMS = "its blocks carry several streams (AltUp), and no sublayer's result is simply added to one of them"
THREE_PARTS = (
    "its blocks may run experts beside the feed-forward module, scale the residual stream and add a third part to it"
)

REFUSED: dict[str, str] = {
    **dict.fromkeys(("t5", "mt5", "umt5", "longt5", "t5gemma", "switch_transformers"), TWO_STACKS),
    **dict.fromkeys(("bart", "mbart", "pegasus", "marian", "blenderbot", "led", "m2m_100", "whisper"), TWO_STACKS),
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"), RECURRENT),
    **dict.fromkeys(("jamba", "bamba", "zamba", "zamba2", "nemotron_h", "granitemoehybrid", "falcon_h1"), HYBRID),
    **dict.fromkeys(("recurrent_gemma", "lfm2", "lfm2_moe", "olmo_hybrid", "qwen3_next"), HYBRID),
    **dict.fromkeys(("qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"), HYBRID),
    **dict.fromkeys(("gemma3n", "gemma3n_text"), STREAMS),
    **dict.fromkeys(("gemma4", "gemma4_text"), THREE_PARTS),
}


def sites_of(model_type: str) -> Sites:
    """The sites of a model family.

    >>> sites_of("gpt2").attention
    'attn'

    Args:
        model_type: As in the model's config.

    Raises:
        ModelError: The family is not in the table; where it was left out on purpose the message says why.
    """
    way_on = "name modules of the model with target_modules"
    if model_type in REFUSED:
        raise ModelError(f"models of type {model_type!r} have no known sites: {REFUSED[model_type]}; {way_on}")
    if model_type not in SITES:
        raise ModelError(
            f"no sites are known for models of type {model_type!r}{nearest(model_type, SITES)}; {way_on}, or take one "
            f"of the known types: {', '.join(sorted(SITES))}"
        )
    return SITES[model_type]


def site_pattern(model_type: str, placement: str, layers: Sequence[int] | None = None) -> str:
    r"""A pattern for the whole names of the modules of a placement, as peft takes one for ``target_modules``.

    It also fits the model without its output head, whose names lack the first part.

    >>> site_pattern("gpt2", "attention", [0, 1])
    '(?:transformer\\.)?h\\.(?:0|1)\\.(?:attn)'

    Args:
        model_type: As in the model's config.
        placement: ``attention``, ``feed_forward``, ``both``, or ``head`` for what the output head reads.
        layers: Only these blocks, counted from 0; None is all.

    Raises:
        ConfigError: The placement is unknown, layers is no list of indices, or the placement has no layers.
        ModelError: The sites of the family are not known.
    """
    require_choice("placement", placement, PLACEMENTS)
    if layers is not None and (placement == "head" or not layers or any(type(i) is not int or i < 0 for i in layers)):
        raise ConfigError(
            f"the layers of a placement must be whole numbers of at least 0, and None with placement 'head', which is "
            f"one place; got {layers!r} with placement {placement!r}"
        )
    sites = sites_of(model_type)
    if placement == "head":
        return "|".join(_pattern(path) for path in (sites.head, sites.other_head) if path)
    index = r"\d+" if layers is None else f"(?:{'|'.join(map(str, layers))})"
    ends = {"attention": [sites.attention], "feed_forward": [sites.feed_forward]}
    ends["both"] = ends["attention"] + ends["feed_forward"]
    return rf"{_pattern(sites.layers)}\.{index}\.(?:{'|'.join(map(re.escape, ends[placement]))})"


def body_path(model_type: str) -> str:
    """Path of the module that returns ``last_hidden_state``.

    Args:
        model_type: As in the model's config.

    Raises:
        ModelError: The family is not in the table.
    """
    return sites_of(model_type).body


def _pattern(path: str) -> str:
    r"""``a.b.c`` as ``(?:a\.)?b\.c``."""
    first, rest = path.split(".", 1)
    return rf"(?:{re.escape(first)}\.)?{re.escape(rest)}"
