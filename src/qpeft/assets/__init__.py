"""What ships inside the package: the embedded language model and the demo texts; no network, no torch."""

from pathlib import Path


def model_folder() -> Path:
    """The folder of the embedded model: config, weights, tokenizer and card."""
    return Path(__file__).parent / "model"
