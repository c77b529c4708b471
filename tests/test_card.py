"""The card beside an adapter: true to its file, written once, beside what others wrote, with code that runs."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from qpeft.card import BEGIN, END, stored_numbers, write_card
from qpeft.errors import ExportError
from qpeft.method import METHODS, of_kind
from qpeft.qpa import QPAConfig, QPAOptimizer, save_adapter
from qpeft.testing import ADAPTER_OPTIONS, NEED_TASKS, VANILLA_FAILURES, adapter_config
from qpeft.tuners import QAAConfig
from qpeft.tuners.known import UNMERGEABLE
from tiny_models import tiny_llama


def rows(folder: Path) -> dict[str, str]:
    """The table of the card."""
    lines = (folder / "README.md").read_text("utf-8").split(BEGIN)[1].split(END)[0].splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {cell[0]: cell[1] for cell in cells if len(cell) == 2}


def qaa(base_folder: Path, folder: Path, **options: Any) -> Any:
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    model = get_peft_model(base, QAAConfig(task_type="CAUSAL_LM", init_weights=False, **options))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("source", ["circuit", "frozen"])
def test_card_says_what_the_file_holds(source: str, base_folder: Path, tmp_path: Path) -> None:
    qaa(base_folder, tmp_path, preset="paper", source=source)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    assert rows(tmp_path) == {
        "method": "`QAA`, preset `paper`",
        "base model": f"`{base_folder}`",
        "numbers in the file": f"{sum(t.numel() for t in stored.values()):,}",
        "can be merged into the base model": "no",
    }


def test_code_of_the_card_loads_the_adapter(base_folder: Path, ids: Tensor, tmp_path: Path) -> None:
    model = qaa(base_folder, tmp_path)
    code = (tmp_path / "README.md").read_text("utf-8").split(BEGIN)[1].split("```python\n")[1].split("```")[0]
    assert code.startswith("import qpeft")
    names: dict[str, Any] = {}
    exec(code.replace("FOLDER_OF_THIS_FILE", str(tmp_path)), names)
    with torch.no_grad():
        assert torch.equal(names["model"](input_ids=ids).logits, model.eval()(input_ids=ids).logits)


def test_second_save_renews_the_section_and_keeps_the_rest(base_folder: Path, tmp_path: Path) -> None:
    model = qaa(base_folder, tmp_path)
    card = tmp_path / "README.md"
    written = card.read_text("utf-8")
    assert written.startswith("---\n"), "peft's own header comes first"
    card.write_text(f"{written}\n    indented words of mine\n", encoding="utf-8")
    model.save_pretrained(tmp_path)
    again = card.read_text("utf-8")
    assert again.count(BEGIN) == again.count(END) == again.count("## How to load") == 1
    assert f"{END}\n\n    indented words of mine" in again
    assert peft.PeftConfig.from_pretrained(tmp_path).peft_type == "QAA"
    write_card(tmp_path)
    assert card.read_text("utf-8") == again
    write_card(tmp_path, {"validation perplexity": 12.34567, "mean ROUGE-L": 13.55})
    assert rows(tmp_path)["validation perplexity"] == "12.35"
    write_card(tmp_path)
    assert card.read_text("utf-8") == again


def test_named_adapters_have_their_own_cards(tmp_path: Path) -> None:
    model = get_peft_model(tiny_llama(), QAAConfig())
    model.add_adapter("second", QAAConfig(preset="text"))
    model.save_pretrained(tmp_path)
    assert rows(tmp_path)["method"] == "`QAA`, preset `measured`"
    assert rows(tmp_path / "second")["method"] == "`QAA`, preset `text`"


def test_card_of_a_lora_that_qpa_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=64, depth=2), lr=1e-2)
    save_adapter(model, tmp_path / "adapter", optimizer)
    card = rows(tmp_path / "adapter")
    assert card["method"] == "`LORA`"
    assert card["trained by"].startswith("QPA, preset `recommended`")
    assert card["numbers QPA trained"] == f"{optimizer.generator.n_trainable:,}"
    assert card["numbers in the file"] == f"{sum(p.numel() for _, p in named):,}"
    assert card["can be merged into the base model"] == "yes"
    text = (tmp_path / "adapter" / "README.md").read_text("utf-8")
    assert "qpeft is not needed" in text
    assert "import qpeft" not in text


def nudge(model: Any) -> None:
    """Move everything that is trained, so that the adapter does something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


def merges(model: Any, batch: dict[str, Tensor], base: Any) -> bool:
    """Whether the merged model computes what the model with its adapter computes."""
    with torch.no_grad():
        expected = model.eval()(**batch).logits
        assert not torch.allclose(expected[:, -12:], base.eval()(input_ids=batch["input_ids"]).logits, atol=1e-5)
        try:
            merged = model.merge_and_unload()
        except (AttributeError, NotImplementedError, ValueError):
            return False
        return torch.allclose(merged.eval()(input_ids=batch["input_ids"]).logits, expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("peft_type", ADAPTER_OPTIONS)
def test_what_the_card_says_of_merging_is_true(peft_type: str, ids: Tensor) -> None:
    if peft_type == "ADAMSS":
        pytest.importorskip("sklearn")
    # BEFT trains the biases of layers that have some.
    base: dict[str, Any] = {"attention_bias": True} if peft_type == "BEFT" else {}
    torch.manual_seed(0)
    model = get_peft_model(tiny_llama(**base), adapter_config(peft_type))
    batch = {"input_ids": ids}
    if peft_type == "QAA":
        model(**batch)  # whose updates are sized by the first training batch
    nudge(model)
    if peft_type in NEED_TASKS:
        batch["task_ids"] = torch.zeros(2, dtype=torch.long)
    assert merges(model, batch, tiny_llama(**base)) == (not of_kind(peft_type).unmergeable)


@pytest.mark.filterwarnings("ignore")
def test_merging_xlora_gives_something_else(ids: Tensor, tmp_path: Path) -> None:
    for seed in range(2):
        torch.manual_seed(seed)
        lora = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
        lora.save_pretrained(tmp_path / str(seed))
    base = tiny_llama()
    base.config.use_cache = False
    experts = {str(seed): str(tmp_path / str(seed)) for seed in range(2)}
    config = peft.XLoraConfig(task_type="CAUSAL_LM", hidden_size=32, xlora_depth=1, adapters=experts)
    assert not merges(get_peft_model(base, config), {"input_ids": ids}, tiny_llama())
    assert of_kind("XLORA").unmergeable


def test_sets_name_types_that_exist() -> None:
    assert {*ADAPTER_OPTIONS, *VANILLA_FAILURES} >= UNMERGEABLE.keys()
    homes = {t.value: c.__module__.split(".")[0] for t, c in peft.PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    assert {row.kind for row in METHODS.values() if row.provider == "qpeft"} == {
        peft_type for peft_type, home in homes.items() if home == "qpeft"
    }


def test_numbers_are_counted_from_the_header(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(3, 5), "b": torch.zeros(7, dtype=torch.bfloat16), "c": torch.zeros(())}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert stored_numbers(tmp_path / "x.safetensors") == 15 + 7 + 1
    assert stored_numbers(tmp_path / "absent.safetensors") == 0


@pytest.mark.parametrize("content", [b"", b"abc", b"\x05\x00\x00\x00\x00\x00\x00\x00{{{{{", b"\xff" * 16])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (tmp_path / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(ExportError, match=r"adapter_model\.safetensors must be a safetensors file"):
        write_card(tmp_path)
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_a_folder_without_an_adapter_is_named(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "adapter_config.json").write_text(content)
    with pytest.raises(ExportError, match=r"adapter_config\.json must describe the adapter"):
        write_card(tmp_path)
    assert not (tmp_path / "README.md").exists()


def test_a_card_without_marks_is_kept_whole(base_folder: Path, tmp_path: Path) -> None:
    model = qaa(base_folder, tmp_path)
    card = tmp_path / "README.md"
    card.write_text("# Mine\n\nwords\n", encoding="utf-8")
    write_card(tmp_path)
    assert card.read_text("utf-8").startswith(f"# Mine\n\nwords\n\n{BEGIN}\n")
    assert not list(tmp_path.glob(".README*"))
    assert isinstance(PeftModel.from_pretrained(model.unload(), tmp_path), PeftModel)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("circuit", "a circuit and a mapping generated"),
        ("hash", "a random signed hash generated"),
        ("frozen", "with `frozen` in the circuit's place"),
    ],
)
def test_the_card_says_what_generated_the_numbers(source: str, words: str, tmp_path: Path) -> None:
    model = peft.get_peft_model(tiny_llama(), peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    save_adapter(model, tmp_path / "adapter", QPAOptimizer(named, QPAConfig(n_mlp=16, source=source)))
    assert words in (tmp_path / "adapter" / "README.md").read_text("utf-8")
