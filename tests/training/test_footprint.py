"""Footprints: sizes of files and of optimizer states are exact, memory is near what a step allocates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig

from qpeft.qpa import QPAOptimizer, save_adapter
from qpeft.records import MethodSpec, RunSpec
from qpeft.training.estimate import empty_model, estimate_run
from qpeft.training.footprint import KEPT, blocks_of
from qpeft.training.methods import METHODS, Built, build_method
from qpeft.training.models import load_base
from tiny_families import tiny_family, tiny_gemma3
from tiny_methods import EXAMPLES, LORA
from tiny_models import save_tiny_base

MakeSpec = Callable[..., RunSpec]
PROMPTS = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING")
HEAD = {"r": 2, "target_modules": ["lm_head"]}
TYPES: list[dict[str, Any]] = [
    *({"peft_type": kind, "num_virtual_tokens": 3} for kind in PROMPTS),
    {"peft_type": "LORA", **HEAD},
    {"peft_type": "LORA", "r": 2, "target_modules": "all-linear", "use_dora": True, "fan_in_fan_out": True},
    {"peft_type": "IA3", "target_modules": ["c_attn"], "feedforward_modules": [], "fan_in_fan_out": True},
]


def test_every_method_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(METHODS)


def built_for(spec: RunSpec) -> tuple[Built, Any]:
    base = load_base(spec.model)
    return build_method(base.model, spec.method, 0), base


def optimizer_of(built: Built, spec: RunSpec) -> Any:
    cls, options = built.optimizer(spec.train)
    return cls(**{"params": [p for _, p in built.named_trainable()], **options})


def step(built: Built, rows: int, tokens: int) -> None:
    ids = torch.full((rows, tokens), 2)
    built.model.train()(input_ids=ids, labels=ids, attention_mask=torch.ones_like(ids)).loss.backward()


def held(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("base", "full")])
def test_the_adapters_file_has_the_estimated_size(name: str, make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(EXAMPLES[name])
    built, _ = built_for(spec)
    save_adapter(built.model, tmp_path / "adapter")
    size = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    assert estimate_run(spec).file_bytes == size


@pytest.mark.parametrize("options", TYPES, ids=lambda options: options["peft_type"])
def test_files_of_other_methods_of_peft(options: dict[str, Any], tmp_path: Path) -> None:
    """On a GPT-2, whose head is tied."""
    folder = save_tiny_base(tmp_path / "gpt2", tiny_family("gpt2", vocab_size=257, pad_token_id=0))
    method = MethodSpec(name="peft", options=options)
    spec = RunSpec.model_validate({"label": "row", "model": {"name": str(folder)}, "method": method})
    built, _ = built_for(spec)
    save_adapter(built.model, tmp_path / "adapter")
    size = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    found = estimate_run(spec)
    assert found.file_bytes == size
    assert found.memory.parameters == held(built.model.parameters())


def test_a_method_that_computes_while_it_is_saved_has_no_size_before(make_spec: MakeSpec) -> None:
    options = {"peft_type": "CPT", "cpt_token_ids": [1, 2], "cpt_mask": [1, 1], "cpt_tokens_type_mask": [1, 1]}
    found = estimate_run(make_spec({"name": "peft", "options": options}))
    assert (found.file_bytes, found.trained_numbers) == (None, 2 * 32)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_whole_models_file(family: str, tmp_path: Path) -> None:
    folder = save_tiny_base(tmp_path / "base", tiny_family(family))
    spec = RunSpec.model_validate({"label": "row", "model": {"name": str(folder)}, "method": {"name": "full"}})
    assert estimate_run(spec).file_bytes == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "base"])
def test_gradients_and_optimizer_states(name: str, dtype: Any, make_spec: MakeSpec) -> None:
    spec = make_spec(EXAMPLES[name])
    spec = spec.model_copy(update={"model": spec.model.model_copy(update={"dtype": dtype})})
    memory = estimate_run(spec).memory
    built, _ = built_for(spec)
    optimizer = optimizer_of(built, spec)
    step(built, 1, 8)
    own = optimizer.generator.parameters() if isinstance(optimizer, QPAOptimizer) else ()
    gradients = held(p.grad for _, p in built.named_trainable()) + held(p for p in own if p.requires_grad)
    assert memory.gradients == gradients
    assert memory.parameters == held(built.model.parameters())
    optimizer.step()
    states = optimizer.inner.state if isinstance(optimizer, QPAOptimizer) else optimizer.state
    moments = [t for state in states.values() for key, t in state.items() if key != "step"]
    assert memory.optimizer == held(moments) > 0


def test_sgd_keeps_no_state(make_spec: MakeSpec) -> None:
    spec = make_spec(LORA, train={"optimizer": "sgd"})
    assert estimate_run(spec).memory.optimizer == 0


def test_what_a_generator_holds(make_spec: MakeSpec) -> None:
    """Its tensors and the four vectors of m exactly; what its graph keeps within a factor."""
    spec = make_spec({"name": "qpa", "options": {"n_mlp": 4, "depth": 8}, "over": LORA})
    optimizer = optimizer_of(built_for(spec)[0], spec)
    generator = optimizer.generator
    tensors = held([*generator.parameters(), *generator.buffers()])
    tensors += held([optimizer.offset, optimizer.factors, optimizer.written, optimizer._vector])
    own = {t.untyped_storage()._cdata for t in (*generator.parameters(), *generator.buffers())}
    graph: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        graph[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        generator()
    kept = sum(storage.nbytes() for place, storage in graph.items() if place not in own)
    estimate = estimate_run(spec).memory.generator
    assert kept / 2 < estimate - tensors < 2 * kept


def allocated(built: Built, spec: RunSpec) -> int:
    """Bytes of tensors at the peak of two training steps, the model's own excluded, counted by the allocator."""
    rows, tokens = spec.train.batch_size, spec.data.max_length
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        if built.trained:
            optimizer = optimizer_of(built, spec)
            for _ in range(2):
                step(built, rows, tokens)
                optimizer.step()
                optimizer.zero_grad()
        else:
            ids = torch.full((rows, tokens), 2)
            with torch.no_grad():
                built.model(input_ids=ids, labels=ids)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


MEASURED: dict[str, dict[str, Any]] = {
    "base": {"name": "base"},
    "full": {"name": "full"},
    "lora": {"name": "lora", "options": {"r": 4, "target_modules": "all-linear"}},
    "dora": {"name": "dora", "options": {"r": 4, "target_modules": "all-linear"}},
    "last layer": {"name": "lora", "options": {"r": 4, "layers_to_transform": [3], "target_modules": ["v_proj"]}},
    "head": {"name": "lora", "options": HEAD},
    "prefix": {"name": "prefix", "options": {"num_virtual_tokens": 16}},
    "head_prefix": {"name": "head_prefix", "options": {"num_positions": 128}},
    "ffa": {"name": "ffa", "options": {"bottleneck": 8}},
    "qaa": {"name": "qaa"},
    "qpa": {
        "name": "qpa",
        "options": {"n_mlp": 512},
        "over": {"name": "lora", "options": {"r": 4, "target_modules": "all-linear"}},
    },
}


@pytest.mark.parametrize("case", list(MEASURED))
def test_memory_is_within_a_factor_of_one_and_a_half(case: str) -> None:
    """On the embedded model, against what the allocator hands out in a step."""
    body = {"label": "row", "method": MEASURED[case], "data": {"max_length": 128}, "train": {"batch_size": 2}}
    spec = RunSpec.model_validate(body)
    memory = estimate_run(spec).memory
    peak = allocated(built_for(spec)[0], spec)
    assert 1 / 1.5 < (memory.total - memory.parameters) / peak < 1.5


FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 64},
    "opt": {"ffn_dim": 512, "word_embed_proj_dim": 128},
    "qwen3": {"intermediate_size": 384, "head_dim": 32},
    "gemma2": {"intermediate_size": 384, "head_dim": 32},
    "gpt_neox": {"intermediate_size": 512},
}


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
@pytest.mark.parametrize("family", list(FAMILIES))
def test_memory_of_other_families_is_within_a_factor_of_two(family: str, tmp_path: Path) -> None:
    """GPT-2 keeps the most for its size, OPT the least."""
    model = tiny_family(family, hidden_size=128, num_hidden_layers=4, **FAMILIES[family])
    model.config.save_pretrained(tmp_path / family)
    method = {"name": "lora", "options": {"r": 4, "target_modules": "all-linear"}}
    body = {"label": "row", "method": method, "data": {"max_length": 64}, "train": {"batch_size": 4}}
    spec = RunSpec.model_validate({**body, "model": {"name": str(tmp_path / family)}})
    memory = estimate_run(spec).memory
    peak = allocated(build_method(model, spec.method, 0), spec)
    assert 1 / 2 < (memory.total - memory.parameters) / peak < 2


def test_more_rows_tokens_and_trained_blocks_take_more_memory(make_spec: MakeSpec) -> None:
    def activations(method: dict[str, Any], **train: Any) -> int:
        return estimate_run(make_spec(method, train=train)).memory.activations

    everywhere = activations(LORA)
    assert activations(LORA, batch_size=4) == 2 * everywhere
    assert activations(LORA, precision="bf16") * 2 == everywhere
    assert activations({**LORA, "options": {**LORA["options"], "layers_to_transform": [1]}}) * 2 == everywhere
    assert activations({"name": "lora", "options": HEAD}) == 0
    assert activations({"name": "prefix", "options": {"num_virtual_tokens": 4}}) == everywhere
    prompt = {"name": "peft", "options": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 32}}
    assert activations(prompt) == 2 * everywhere, "32 virtual tokens before rows of 32"
    assert everywhere / 2 < activations(LORA, gradient_checkpointing=True) < everywhere


def test_only_the_chosen_experts_count(tmp_path: Path) -> None:
    """Doubling the experts changes nothing, doubling how many of them a token uses does."""
    kept = []
    for number, (experts, chosen) in enumerate([(4, 1), (8, 1), (8, 2)]):
        model = tiny_family("mixtral", num_local_experts=experts, num_experts_per_tok=chosen)
        model.config.save_pretrained(tmp_path / str(number))
        spec = RunSpec.model_validate({"label": "row", "model": {"name": str(tmp_path / str(number))}, "method": LORA})
        kept.append(blocks_of(empty_model(spec.model))[0][1])
    router = KEPT * 4
    assert kept[1] == kept[0] + router
    expert = KEPT * 3 * 48
    assert kept[2] == kept[1] + expert


def test_the_blocks_of_a_model_inside_a_larger_one() -> None:
    """Gemma 3 sees, too: the language model's blocks are the larger ones."""
    blocks = blocks_of(tiny_gemma3())
    assert {type(block).__name__ for block, _ in blocks} == {"Gemma3DecoderLayer"}


# Peaks of whole processes on two cores with torch 2.13: LoRA r 4 on every linear of SmolLM2-135M-Instruct, MiB.
PEAKS = {(4, 128, "float32"): 2614, (4, 128, "bfloat16"): 1941, (8, 256, "bfloat16"): 5189}


@pytest.mark.parametrize("case", PEAKS, ids=lambda case: f"{case[0]}x{case[1]}-{case[2]}")
def test_a_process_on_the_cpu_is_within_a_factor_of_a_third(case: tuple[int, int, str], tmp_path: Path) -> None:
    """Measured once: a process of its own for each would take minutes here."""
    rows, tokens, dtype = case
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    config = LlamaConfig(**shape, num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True)
    config.save_pretrained(tmp_path)
    spec = RunSpec.model_validate(
        {
            "label": "row",
            "method": {"name": "lora", "options": {"r": 4, "target_modules": "all-linear"}},
            "model": {"name": str(tmp_path), "dtype": dtype},
            "data": {"max_length": tokens},
            "train": {"batch_size": rows},
            "eval": {"batch_size": 1},
        }
    )
    told = estimate_run(spec)
    assert told.base_numbers == 134_515_008
    assert 1 / 1.3 < told.memory.process / 2**20 / PEAKS[case] < 1.3
