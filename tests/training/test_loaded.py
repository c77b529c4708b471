"""Models whose files hold other tensors than their config asks for: refused, unless the user names the tensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qpeft.errors import ModelError
from qpeft.records import ModelSpec
from qpeft.training.models import load_base
from tiny_models import save_tiny_base, tiny_llama, tiny_tokenizer


def rewritten(folder: Path, change: "dict[str, str | None] | str") -> Path:
    """A tiny base whose tensors have another start, other names, or are gone."""
    save_tiny_base(folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    if isinstance(change, str):
        tensors = {change + name: tensor for name, tensor in tensors.items()}
    else:
        for old, new in change.items():
            tensor = tensors.pop(old)
            if new is not None:
                tensors[new] = tensor
    save_file(tensors, path, {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("start", "cause"),
    [("base_model.model.", "merge_and_unload"), ("module.", "DistributedDataParallel"), ("x.", "are not complete")],
)
def test_tensors_with_another_start_are_refused(start: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_base(str(rewritten(tmp_path / "base", start)))
    message = str(caught.value)
    count = len(tiny_llama().state_dict())
    assert f"{count} missing, which would start random (lm_head.weight, " in message
    assert f"{count} left over ({start}lm_head.weight, " in message
    assert cause in message
    assert "\n" not in message


def test_one_missing_or_spare_tensor_is_refused_and_named(tmp_path: Path) -> None:
    gone = rewritten(tmp_path / "gone", {"model.layers.1.mlp.up_proj.weight": None})
    with pytest.raises(
        ModelError, match=r"1 missing, .* random \(model\.layers\.1\.mlp\.up_proj\.weight\); 0 left over"
    ):
        load_base(str(gone))
    renamed = rewritten(tmp_path / "renamed", {"lm_head.weight": "score.weight"})
    with pytest.raises(ModelError, match=r"1 missing.*; 1 left over \(score\.weight\)"):
        load_base(ModelSpec(name=str(renamed), unfit=("lm_head.weight",)))


def test_tensors_the_user_names_may_be_missing_or_left_over_and_are_told(tmp_path: Path) -> None:
    folder = rewritten(tmp_path / "renamed", {"lm_head.weight": "score.weight"})
    base = load_base(ModelSpec(name=str(folder), unfit=("lm_head.*", "score.weight")))
    assert base.notes == [
        "missing in the model's files, started random: lm_head.weight",
        "in the model's files, not used: score.weight",
    ]


def test_tied_tensors_are_no_missing_ones(tmp_path: Path) -> None:
    model = tiny_llama(len(tiny_tokenizer()), tie_word_embeddings=True)
    folder = save_tiny_base(tmp_path / "base", model)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    base = load_base(str(folder))
    assert base.notes == []
    assert torch.equal(base.model.lm_head.weight, model.model.embed_tokens.weight)
