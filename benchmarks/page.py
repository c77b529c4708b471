"""docs/benchmarks.md from the JSON of the suite: tables, targets, and what was skipped."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qpeft.records import write_atomically

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
HEAD = """# Benchmarks

Written by `python benchmarks/suite.py` from `benchmarks/results/`; do not edit. Contestants take turns in one process
(peers of other environments in a second one that sleeps meanwhile), a turn is the fastest of three calls in processor
seconds, and every ratio is formed within its turn: median [quartiles]. One thread.

Peers are optional. PennyLane comes with the extra `pennylane`. For the others make an environment of their own and
name its interpreter:

```
python -m venv peers
peers/bin/pip install torch torchvision torchquantum "qiskit<1" "qiskit-aer<0.14" "qiskit-ibm-runtime<0.21"
peers/bin/pip install "setuptools<80"
peers/bin/pip install --no-deps deepquantum svgwrite "bayesian-optimization<2" tensorcircuit-ng tensornetwork-ng
QPEFT_PEER_PYTHON=peers/bin/python python benchmarks/suite.py --only circuit
```

TorchQuantum on the registry is 0.1.8 of 2024 and asks for tensorflow, too; `--no-deps` and its imports one by one do.
"""


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table, all columns but the first to the right."""
    names = list(head)
    lines = ["| " + " | ".join(names) + " |", "|:---|" + "---:|" * (len(names) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def spread(three: list[float], digits: int = 1) -> str:
    """Median [quartiles]."""
    low, middle, high = (f"{value:.{digits}f}" for value in three)
    return f"{middle} [{low}, {high}]"


def circuit(body: dict[str, Any]) -> str:
    """Peers, growth, roofline."""
    peers = [
        [
            *(row["peer"], row["n_qubits"], row["depth"], f"{row['ours_ms']:.2f}", f"{row['peer_ms']:.2f}"),
            *(spread(row["ratio"]), f"{row['gradient_difference']:.0e}"),
        ]
        if "ratio" in row
        else [row["peer"], row["n_qubits"], row["depth"], "", "", f"skipped: {row['skipped']}", ""]
        for row in body["peers"]
    ]
    machine = body["machine"]
    roof = [
        [
            f"N = {row['n_qubits']}, L = {row['depth']}",
            spread(grown["ms"], 2),
            f"{row['mflop']:.3g}",
            f"{row['mb']:.3g}",
            f"{row['needed_ms']:.2g}",
            f"{row['multiple']:.0f}",
        ]
        for row, grown in zip(body["roofline"], body["growth"], strict=True)
    ]
    return "\n\n".join(
        [
            "## QPA's circuit: forward and backward of RY + CNOT layers",
            table(["peer", "N", "L", "ours, ms", "peer, ms", "peer over ours", "gradients differ by"], peers),
            "lightning.qubit has no adjoint gradient of probabilities; all differentiate the mean of Z on qubit 0.",
            f"This machine copies {machine['cache_gb_s']:.0f} GB/s in cache, {machine['memory_gb_s']:.0f} in memory, "
            f"and multiplies matrices at {machine['gemm_gflop_s']:.0f} GFLOP/s. Against the larger of both needs:",
            table(["circuit", "ms", "MFLOP", "MB", "needed, ms", "multiple"], roof),
            exponents(body["exponents"]),
        ]
    )


def exponents(fits: list[dict[str, Any]]) -> str:
    """Growth fitted, beside arithmetic."""
    return table(
        ["growth", "fitted", "arithmetic alone"],
        ([fit["of"], f"{fit['fitted']:.2f}", f"{fit['theory']:.2f}"] for fit in fits),
    )


def layer(body: dict[str, Any]) -> str:
    """QAA."""
    rows = [
        [f"{row['ansatz']}, depth {row['depth']}", row["d"], row["tokens"], spread(row["ms"]), f"{row['kept_mb']:.1f}"]
        for row in body["rows"]
    ]
    shares = [f"* {name}: {spread([100 * q for q in share])} %" for name, share in body["shares"].items()]
    return "\n\n".join(
        [
            "## QAA's layer: forward and backward",
            table(["circuit", "d", "tokens", "ms", "MB kept"], rows),
            exponents(body["exponents"]),
            "As a share of one block of GPT-Neo-125M, 256 tokens, forward and backward with frozen weights:",
            "\n".join(shares),
        ]
    )


def memory(body: dict[str, Any]) -> str:
    """Peaks and the command line."""
    circuits = [
        [
            f"N = {row['n_qubits']}, L = {row['depth']}",
            f"{row['peak_mb']:.0f}",
            f"{row['added_mb']:.0f}",
            f"{row['seconds']:.1f}",
        ]
        for row in body["circuits"]
    ]
    generators = [
        [
            *(f"{row['m']:,}, n_mlp = {row['n_mlp']}, {row['preset']}", f"{row['trainable']:,}"),
            *(f"{row['added_mb']:.0f}", f"{row['over_m']:.1f}", f"{row['forward_s']:.2f}", f"{row['vjp_s']:.2f}"),
        ]
        for row in body["generators"]
    ]
    start = body["command_line"]
    return "\n\n".join(
        [
            "## Memory, each in a fresh process",
            table(["circuit", "peak, MB", "added, MB", "s, compiling included"], circuits),
            table(["m numbers", "trained", "added, MB", "times m", "generation, s", "VJP, s"], generators),
            "## Command line",
            "\n".join(f"* {name}: {value:.1f} s" if value else f"* {name}: failed" for name, value in start.items()),
        ]
    )


def write() -> None:
    """The page, of the parts there are."""
    parts = [HEAD]
    for name, section in (("circuit", circuit), ("layer", layer), ("memory", memory)):
        path = RESULTS / f"{name}.json"
        if path.exists():
            body = json.loads(path.read_text("utf-8"))
            about = ", ".join(f"{key} {value}" for key, value in body["environment"].items())
            parts += [section(body), f"({about}{', quick' if body['quick'] else ''})"]
    parts.append(
        "Steps of whole models over LoRA's: README and tour, from `step.json` and `qaa.json` of the same suite."
    )
    write_atomically(ROOT / "docs" / "benchmarks.md", "\n\n".join(part.strip() for part in parts) + "\n")
