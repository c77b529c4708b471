"""The benchmarks themselves: what each measures runs at a small size, and what is not at hand is skipped in words."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GPT2Config

Benchmark = Callable[[str], Any]


def test_forms_agree_and_the_rule_is_near_the_best(benchmark: Benchmark) -> None:
    runs, dense = benchmark("forms").contestants(2, 24, 40)  # raises where gradients differ
    assert set(runs) == {"factored", "dense", "single gates"}
    assert dense


def test_what_is_not_at_hand_is_said(benchmark: Benchmark) -> None:
    (row,) = benchmark("generator").against_released((512,), 1)
    assert "QPEFT_PEER_PYTHON" in row["skipped"]
    if not torch.cuda.is_available():
        assert benchmark("gpu").measure(quick=True) == {"skipped": "no GPU here"}


@pytest.mark.filterwarnings("ignore")  # of peft and transformers on GPT-2
@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU the benchmark itself is run")
def test_the_benchmark_for_gpus_runs(benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Triton's interpreter, so that the first run on a GPU is not its first run."""
    pytest.importorskip("triton")
    gpu = benchmark("gpu")
    monkeypatch.setattr(gpu, "BURST", 1)
    assert gpu.circuit(3, 1, "cpu", 1)["gradients_apart"] < 1e-5
    assert gpu.layer("rx_cnot", 1, 5, 2, "cpu", 1)["gradients_apart"] < 1e-5
    config = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50, n_positions=16)
    rows = gpu.steps("tiny", config, (1, 8), "cpu", 2)
    assert [row["method"] for row in rows] == ["lora", "qpa", "qpa, triton", "qaa"]
    assert rows[0]["ratio"] == 1


def test_the_page_is_what_the_committed_numbers_say(benchmark: Benchmark) -> None:
    page = benchmark("page")
    assert (page.ROOT / "docs" / "benchmarks.md").read_text("utf-8") == page.text()
