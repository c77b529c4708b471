"""Made-up runs with known numbers, and one comparison of LoRA, QPA and its twins."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qpeft.records import Blocks, CurvePoint, MetaInfo, MethodSpec, Metric, Quantum, RunInfo, RunRecord, RunSpec
from qpeft.records import TrainInfo as Train

Make = Callable[..., RunRecord]
N_BLOCKS, BLOCK_TOKENS = 40, 500
LORA = MethodSpec(name="peft", options={"peft_type": "LORA", "r": 4})


def qpa(source: str) -> MethodSpec:
    return MethodSpec(name="qpa", options={"depth": 8, "n_mlp": 64, "source": source}, over=LORA)


def _quantum(method: MethodSpec) -> Quantum | None:
    if method.name != "qpa":
        return None
    return Quantum(
        n_qubits=8,
        depth=8,
        ansatz="ry",
        entangler="chain",
        source=method.options["source"],
        preset="recommended",
        n_angles=64,
        n_generated=9_000,
        n_chunks=141,
        n_mlp=64,
        circuit_executions=400,
    )


def _blocks(level: float, seed: int) -> Blocks:
    """Blocks of text that are harder or easier in the same way for every method."""
    text = np.random.default_rng(7).normal(0, 0.1, N_BLOCKS)
    own = np.random.default_rng([seed, int(level * 1e6)]).normal(0, 0.002, N_BLOCKS)
    return Blocks(split="test", nll=list(BLOCK_TOKENS * (level + text + own)), tokens=[BLOCK_TOKENS] * N_BLOCKS)


def _metrics(blocks: Blocks, purpose: str) -> list[Metric]:
    perplexity = math.exp(sum(blocks.nll) / sum(blocks.tokens))
    if purpose == "tune":
        return [Metric(name="perplexity", split="valid", value=perplexity, signature="masked, per token")]
    return [
        Metric(name="perplexity", split="test", value=perplexity, signature="masked, per token"),
        Metric(name="perplexity_padded", split="test", value=perplexity / 2, signature="padded, as the authors"),
    ]


def _train_info(trainable: int, **info: Any) -> Train:
    sizes = {"num_trainable_params": trainable, "num_adapter_params": 9_000, "num_total_params": 1_000_000}
    costs = {"train_time": 20.0, "step_time_median": 0.1, "file_size": 36_000, "train_tokens": 100_000}
    memory = {"accelerator_memory_max": 0, "process_memory_max": 800_000_000}
    return Train.model_validate({**sizes, **costs, **memory, "status": "success", **info})


def record(
    label: str, method: MethodSpec = LORA, seed: int = 0, level: float = 2.5, trainable: int = 9_000, **more: Any
) -> RunRecord:
    """One run whose test negative log-likelihood is close to ``level`` nats per token."""
    train = {"learning_rate": 0.01, **more.pop("train", {})}
    purpose = more.pop("purpose", "final")
    body = {"label": label, "method": method, "seed": seed, "purpose": purpose, "train": train}
    spec = RunSpec.model_validate(body)
    blocks = _blocks(level, seed)
    curve = [
        CurvePoint(
            step=s, loss=level + 4 * math.exp(-s / 30) + seed / 100 + 0.1 * (-1) ** (s // 5), learning_rate=0.01
        )
        for s in range(0, 200, 5)
    ]
    fields: dict[str, Any] = {
        "identity": spec.identity(),
        "seed": seed,
        "spec": spec,
        "run_info": RunInfo(
            created_at="2025-01-02T03:04:05Z",
            total_time=30.0,
            experiment_name=label,
            train_config={},
            peft_config=None,
        ),
        "train_info": _train_info(trainable, **more.pop("info", {})),
        "meta_info": MetaInfo(
            model_info={"name": "embedded"},
            dataset_info={"name": "embedded"},
            package_info={"torch": "2.13.0"},
            system_info={"cpu": "made up"},
            pytorch_info="",
        ),
        "metrics": _metrics(blocks, purpose),
        "blocks": [blocks] if purpose == "final" else [],
        "curve": curve,
        "quantum": _quantum(method),
    }
    return RunRecord.model_validate({**fields, **more})


@pytest.fixture(scope="session")
def make() -> Make:
    return record


@pytest.fixture(scope="session")
def comparison() -> list[RunRecord]:
    """Twins: frozen is as good, no circuit is clearly worse, the table is clearly better; 3 seeds."""
    out = [record("base", MethodSpec(name="frozen"), 0, 3.0, 0)]
    for seed in range(3):
        out += [
            record("LoRA", LORA, seed, 2.45),
            record("QPA", qpa("circuit"), seed, 2.50, 2_000),
            record("QPA frozen", qpa("frozen"), seed, 2.5004, 1_936),
            record("QPA none", qpa("none"), seed, 2.60, 1_900),
            record("QPA table", qpa("table"), seed, 2.48, 2_192),
        ]
    for label, method in (("LoRA", LORA), ("QPA", qpa("circuit"))):
        for i, rate in enumerate((0.003, 0.01, 0.03)):
            train = {"learning_rate": rate}
            out.append(record(label, method, 0, 2.5 + 0.1 * abs(i - 1), purpose="tune", train=train))
    return out
