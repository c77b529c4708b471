"""Writers of recipe files."""

from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = """\
title: small
train:
  steps: 5
  learning_rate: 1e-3
methods:
  base: {name: base}
  lora: {name: lora, r: 4}
"""
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a recipe file and return its path as the user would type it."""

    def write(text: str = SMALL, name: str = "mine.yaml") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write
