"""The modules of the folder benchmarks, which is no package."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import one of them by name; their names are everyday words, so none stays behind as a module."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delenv("QPEFT_PEER_PYTHON", raising=False)

    def load(name: str) -> ModuleType:
        try:
            return import_module(name)
        finally:
            for own in FOLDER.glob("*.py"):
                sys.modules.pop(own.stem, None)

    return load
