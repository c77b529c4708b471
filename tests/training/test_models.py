"""Base models: loading from a folder, and untying a head so that an adapter on it can be merged."""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from qpeft.errors import ModelError
from qpeft.records import MethodSpec, ModelSpec
from qpeft.training.methods import build_method
from qpeft.training.models import fingerprint, load_base, load_tokenizer, targets_head, untie_for, untie_head
from tiny_models import save_tiny_base, tiny_llama, tiny_tokenizer


def tied(family: str) -> Any:
    """A tiny random model whose head shares the embedding's weights."""
    from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(7)
    special = {"vocab_size": 97, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "tie_word_embeddings": True}
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, **special)).eval()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    return Gemma2ForCausalLM(Gemma2Config(num_key_value_heads=1, head_dim=16, **sizes, **special)).eval()


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids).logits
    return found


def adapted_head(model: Any) -> Any:
    """LoRA on the head, as strong as after a long training."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["lm_head"], init_lora_weights=False)
    torch.manual_seed(5)
    return peft.get_peft_model(model, config)


def shared(model: Any) -> bool:
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    return bool(head.data_ptr() == embedding.data_ptr())


def test_a_folder_is_loaded_with_its_tokenizer(base_folder: Path, ids: torch.Tensor) -> None:
    base = load_base(ModelSpec(name=str(base_folder)))
    again = tiny_llama(len(tiny_tokenizer()))
    assert torch.equal(logits(base.model, ids), logits(again, ids))
    assert base.tokenizer.decode(base.tokenizer("two bells").input_ids) == "two bells"
    assert base.tokenizer.pad_token_id is not None
    assert base.info == {
        "name": str(base_folder),
        "dtype": "float32",
        "revision": None,
        "sha256": fingerprint(str(base_folder)),
        "files": {
            name: sha256((base_folder / name).read_bytes()).hexdigest()
            for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
        },
    }


def test_the_dtype_of_the_spec_is_the_dtype_of_the_weights(base_folder: Path) -> None:
    base = load_base(ModelSpec(name=str(base_folder), dtype="bfloat16"))
    assert {parameter.dtype for parameter in base.model.parameters()} == {torch.bfloat16}


def test_a_tokenizer_without_padding_pads_with_its_end_token(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    raw = tiny_tokenizer().backend_tokenizer
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>").save_pretrained(tmp_path / "no-pad")
    assert load_tokenizer(str(tmp_path / "no-pad")).pad_token == "<|end|>"
    PreTrainedTokenizerFast(tokenizer_object=raw).save_pretrained(tmp_path / "no-end")
    with pytest.raises(ModelError, match="no end token; set eos_token"):
        load_tokenizer(str(tmp_path / "no-end"))


def test_the_fingerprint_follows_the_weights(base_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(base_folder, tmp_path / "copy")
    assert fingerprint(str(copy)) == fingerprint(str(base_folder)) is not None
    model = load_base(ModelSpec(name=str(copy))).model
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    model.save_pretrained(copy)
    assert fingerprint(str(copy)) != fingerprint(str(base_folder))
    assert fingerprint("someone/model") is None


@pytest.mark.parametrize("damage", ["no-folder", "empty", "no-model", "no-tokenizer", "cut-weights", "bad-config"])
def test_a_folder_that_cannot_be_loaded_says_what_one_holds(damage: str, base_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / damage
    if damage == "empty":
        folder.mkdir()
    elif damage != "no-folder":
        shutil.copytree(base_folder, folder)
    weights = folder / "model.safetensors"
    if damage == "no-model":
        weights.unlink()
    if damage == "no-tokenizer":
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()
    if damage == "cut-weights":
        weights.write_bytes(weights.read_bytes()[:5000])
    if damage == "bad-config":
        (folder / "config.json").write_text("{")
    with pytest.raises(ModelError) as caught:
        load_base(ModelSpec(name=str(folder)))
    message = str(caught.value)
    assert message.startswith(
        "model.name must be a name of `qpeft models` (bundled, smollm2-135m), a folder with config"
    )
    assert f"got {str(folder)!r}: " in message
    assert "\n" not in message


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_untying_changes_no_logit_and_ends_the_sharing(family: str, ids: torch.Tensor, tmp_path: Path) -> None:
    model = tied(family)
    before = logits(model, ids)
    assert shared(model)
    assert untie_head(model) is True
    assert not shared(model)
    assert torch.equal(logits(model, ids), before)
    assert untie_head(model) is False
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1.5)
    after = logits(model, ids)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert not shared(again)
    assert torch.equal(logits(again, ids), after)


def test_untying_leaves_other_models_alone(ids: torch.Tensor) -> None:
    model = tiny_llama()
    head = model.lm_head.weight
    assert untie_head(model) is False
    assert model.lm_head.weight is head
    with pytest.raises(ModelError, match="LlamaModel has no output head"):
        untie_head(model.model)


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_after_untying_a_merged_head_computes_what_the_adapter_did(
    family: str, ids: torch.Tensor, tmp_path: Path
) -> None:
    model = tied(family)
    untie_head(model)
    adapted = adapted_head(model)
    wanted = logits(adapted, ids)
    assert (wanted - logits(tied(family), ids)).abs().max() > 0.1, "the adapter changes too little to test anything"
    merged = adapted.merge_and_unload(safe_merge=True)
    assert (logits(merged, ids) - wanted).abs().max() < 1e-4
    merged.save_pretrained(tmp_path)
    again = type(merged).from_pretrained(tmp_path)
    assert (logits(again, ids) - wanted).abs().max() < 1e-4


@pytest.mark.filterwarnings("ignore:Model (has|with) .tie_word_embeddings=True.:UserWarning")
@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_without_untying_peft_merges_into_the_embedding_too(family: str, ids: torch.Tensor) -> None:
    """The reason for untie_head; once this fails, peft has solved it and the function can go."""
    adapted = adapted_head(tied(family))
    wanted = logits(adapted, ids)
    merged = adapted.merge_and_unload(safe_merge=True)
    assert (logits(merged, ids) - wanted).abs().max() > 0.1


@pytest.mark.parametrize(
    ("options", "reached"),
    [
        ({"target_modules": ["lm_head"]}, True),
        ({"target_modules": ["q_proj", "lm_head"]}, True),
        ({"target_modules": "lm_head"}, True),
        ({"target_modules": r".*(q_proj|lm_head)"}, True),
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, True),
        ({"target_modules": ["q_proj"]}, False),
        ({"target_modules": ["head"]}, False),
        ({"target_modules": r".*\.q_proj"}, False),
        ({"target_modules": "all-linear"}, False),
        ({}, False),
    ],
)
def test_targets_head_agrees_with_peft(options: dict[str, Any], reached: bool) -> None:
    config = peft.LoraConfig(task_type="CAUSAL_LM", **options)
    assert targets_head(tiny_llama(), config) is reached
    if options and options["target_modules"] != ["head"]:
        wrapped = peft.get_peft_model(tiny_llama(), config)
        names = [name for name, parameter in wrapped.named_parameters() if parameter.requires_grad]
        assert any("lm_head" in name for name in names) is reached


@pytest.mark.filterwarnings("ignore:Model (has|with) .tie_word_embeddings=True.:UserWarning")
@pytest.mark.parametrize("way", ["target_modules", "modules_to_save"])
@pytest.mark.parametrize(("family", "name"), [("gpt2", "wte"), ("gemma2", "embed_tokens")])
def test_an_adapter_on_a_tied_embedding_is_untied_trained_and_merged(
    family: str, name: str, way: str, ids: torch.Tensor, tmp_path: Path
) -> None:
    linear = {"target_modules": ["c_attn" if family == "gpt2" else "q_proj"], "fan_in_fan_out": family == "gpt2"}
    config = {"target_modules": [name]} if way == "target_modules" else {**linear, "modules_to_save": [name]}
    built = build_method(tied(family), MethodSpec(name="lora", options={"r": 2, **config}), seed=1)
    assert any("untied" in note for note in built.notes)
    with torch.no_grad():
        for _, p in built.named_trainable():
            p.add_(torch.randn_like(p) * 0.3)
    wanted = logits(built.model, ids)
    assert (wanted - logits(tied(family), ids)).abs().max() > 0.1, "the adapter changes too little to test anything"
    merged = built.model.merge_and_unload(safe_merge=True)
    assert (logits(merged, ids) - wanted).abs().max() < 1e-4
    merged.save_pretrained(tmp_path)
    assert (logits(type(merged).from_pretrained(tmp_path), ids) - wanted).abs().max() < 1e-4


def test_configs_that_keep_weights_tied_are_left_alone() -> None:
    for config in (
        peft.LoraConfig(target_modules=["wte"], ensure_weight_tying=True),
        peft.TrainableTokensConfig(target_modules=["wte"], token_indices=[3]),
        peft.LoraConfig(target_modules=["c_attn"]),
    ):
        model = tied("gpt2")
        assert untie_for(model, config) is False
        assert shared(model)


def test_targets_head_of_a_config_without_targets_or_a_model_without_head() -> None:
    prefix = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    assert targets_head(tiny_llama(), prefix) is False
    assert targets_head(tiny_llama().model, peft.LoraConfig(target_modules=["lm_head"])) is False


def test_a_saved_tiny_base_is_complete(tmp_path: Path) -> None:
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in save_tiny_base(tmp_path / "base").iterdir()
    }
