"""What a record says of the machine: enough to tell which processor's kernels rounded."""

from pathlib import Path

import pytest
import torch

from qpeft.training import environment


def test_the_processor_is_named_with_family_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 167\nmodel name\t: Some: Xeon\n\nprocessor\t: 1\n"
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)
    assert environment.processor() == "Some: Xeon (family 6, model 167)"


def test_without_a_table_the_system_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Path, encoding: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert environment.processor() == "arm"


def test_a_record_names_processor_and_kernels() -> None:
    found = environment.system_info()
    assert found["kernels"] == torch.backends.cpu.get_cpu_capability()
    assert found["processor"] == environment.processor()
