"""The embedded model: small, float32 in memory, any text round-trips, English, and its card tells the truth."""

import json
import random
import re
from hashlib import sha256
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qpeft.assets import model_folder

FOLDER = model_folder()
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the embedded model is not installed")

SENTENCES = (
    "The old man walked slowly down the road and stopped at the door of the house.",
    "You can use this function to read the file and return the number of lines.",
    "In the beginning of the century the town was a small port with a few hundred people.",
    "The agency asked the public to help improve the services that people use every day.",
    "She looked at him for a moment, and then she turned away without a word.",
    "If the value is not found, the compiler returns an error and the program stops.",
)


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(FOLDER).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
    return content


def test_the_folder_fits_in_the_package() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 12e6
    assert not [path.name for path in FOLDER.iterdir() if not path.is_file()]


def test_the_plain_call_gives_a_float32_model_with_a_head_of_its_own(model: Any) -> None:
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert head.data_ptr() != embedding.data_ptr()
    assert not torch.allclose(head, embedding, atol=0.1)


def test_tokenizer_and_model_agree(model: Any, tokenizer: Any) -> None:
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.eos_token_id == model.config.eos_token_id == model.generation_config.eos_token_id
    assert tokenizer.pad_token_id == model.config.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.model_max_length == model.config.max_position_embeddings


@given(text=st.text())
def test_any_text_round_trips(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert all(0 <= token < len(tokenizer) for token in ids)


def loss(model: Any, tokenizer: Any, text: str) -> float:
    """Nats per token of one text."""
    ids = tokenizer(tokenizer.eos_token + text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return float(model(ids, labels=ids).loss)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_english_is_likelier_than_its_words_shuffled(model: Any, tokenizer: Any, sentence: str) -> None:
    draws = random.Random(0)
    shuffled = [" ".join(draws.sample(words, len(words))) for words in [sentence.split()] * 5]
    mean = sum(loss(model, tokenizer, text) for text in shuffled) / len(shuffled)
    assert loss(model, tokenizer, sentence) < mean - 1.0


def test_the_card_is_about_these_weights(model: Any, card: dict[str, Any]) -> None:
    count = sum(parameter.numel() for parameter in model.parameters())
    assert card["parameters"] == count
    assert (
        sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest() == card["files"]["model.safetensors"]["sha256"]
    )
    stated = re.search(r"model of ([\d,]+) parameters", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert stated is not None
    assert int(stated[1].replace(",", "")) == count


def test_the_card_prints_its_perplexities(card: dict[str, Any]) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name, row in card["scores"].items() if f"{row['perplexity']:.2f}" not in page] == []
    assert "loss.svg" in page
    assert (FOLDER / "loss.svg").read_text(encoding="utf-8").startswith("<svg")


def test_the_model_beats_the_counted_ones(card: dict[str, Any]) -> None:
    perplexity = {name: row["perplexity"] for name, row in card["scores"].items()}
    assert perplexity["model"] <= perplexity["unigram"] / 3
    assert perplexity["model"] < min(value for name, value in perplexity.items() if name != "model")
