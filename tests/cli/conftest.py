"""The command line in this process, and a user's folders: a tiny model, a few texts, one finished run."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from qpeft.cli import run
from qpeft.records import RunSpec


class Answer(NamedTuple):
    """What a command line came back with."""

    code: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command line, given as one text or as its words, and catch what it prints."""

    def ask(*words: object) -> Answer:
        capsys.readouterr()
        arguments = str(words[0]).split() if len(words) == 1 else [str(word) for word in words]
        code = run(arguments)
        return Answer(code, *capsys.readouterr())

    return ask


@pytest.fixture(scope="session")
def finished(base_folder: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run, of the base model."""
    from qpeft.training.run import train_run

    spec = RunSpec.model_validate(
        {
            "label": "base",
            "method": {"name": "base"},
            "model": {"name": str(base_folder)},
            "data": {"name": str(texts), "format": "text", "max_length": 32},
        }
    )
    folder = tmp_path_factory.mktemp("runs")
    train_run(spec, folder / spec.folder())
    return folder


@pytest.fixture
def recipe(base_folder: Path, texts: Path, tmp_path: Path) -> Path:
    """A recipe of the base model and one LoRA on the tiny folders."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"title: tiny\nmodel: {{name: '{base_folder}'}}\n"
        f"data: {{name: '{texts}', format: text, max_length: 32}}\n"
        "train: {steps: 2, batch_size: 2}\nseeds: [0]\nmethods:\n  base: {name: base}\n"
        "  lora: {name: lora, r: 2, target_modules: [q_proj]}\n",
        encoding="utf-8",
    )
    return path
