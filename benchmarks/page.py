"""docs/benchmarks.md from the JSON of the suite: tables, targets, and what was skipped."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import goals
from qpeft.records import write_atomically

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
HEAD = """# Benchmarks

Written by `python benchmarks/suite.py` from `benchmarks/results/`; do not edit. Contestants take turns in one process
(peers of other environments in a second one that sleeps meanwhile), a turn is the fastest of three calls (of seven
against peers) in processor seconds, and every ratio is formed within its turn: median [quartiles]. One thread.

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
            "lightning.qubit has no adjoint gradient of probabilities; all differentiate the mean of Z on qubit 0. "
            f"Peers: {', '.join(f'{name} {version}' for name, version in body['versions'].items())}.",
            f"This machine copies {machine['cache_gb_s']:.0f} GB/s in cache, {machine['memory_gb_s']:.0f} in memory, "
            f"and multiplies matrices at {machine['gemm_gflop_s']:.0f} GFLOP/s. Against the larger of both needs:",
            table(["circuit", "ms", "MFLOP", "MB", "needed, ms", "multiple"], roof),
            "Up to about 12 qubits the time is that of calls into torch, some 60 for 8 layers, whatever their size.",
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


def forms(body: dict[str, Any]) -> str:
    """Where the forms of QAA's circuit cross."""
    rows = [
        [
            *(f"d = {row['d']}", row["tokens"], row["depth"]),
            *(f"{row['ms'][form][1]:.1f}" for form in ("factored", "dense", "single gates")),
            *(row["chosen"], f"{row['excess']:.2f}"),
        ]
        for row in body["rows"]
    ]
    head = ["width", "tokens", "depth", "factors, ms", "dense, ms", "single gates, ms", "chosen", "over the fastest"]
    return "\n\n".join(
        [
            "## QAA's circuit in three forms",
            "RY + CNOT layers, forward and backward. A rule on the number of multiplications chooses between factors "
            f"and a dense matrix; at worst it took {body['worst']:.2f} times as long as the fastest form.",
            table(head, rows),
        ]
    )


def generator(body: dict[str, Any]) -> str:
    """The released structure, and 7B."""
    rows = [
        [
            *(f"n_mlp = {row['n_mlp']}", row["n_qubits"], f"{row['ours_ms']:.2f}", f"{row['peer_ms']:.2f}"),
            spread(row["ratio"]),
        ]
        if "ratio" in row
        else [f"n_mlp = {row.get('n_mlp', '')}", "", "", "", f"skipped: {row['skipped']}"]
        for row in body["released"]
    ]
    parts = [
        "## QPA's generator",
        "Against the structure of the released code (gate by gate on TorchQuantum, random basis rows, linear layers "
        "in a row), 204,100 numbers as for GPT-2's head; that code does this in every forward of the adapter, qpeft "
        "once an optimizer step:",
        table(["preset released", "qubits", "ours, ms", "theirs, ms", "theirs over ours"], rows),
    ]
    large = body["seven_b"]
    if large:
        took = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in large["measured_s"].items())
        parts.append(
            f"Of a step at the width of Llama-2-7B, estimated from measured parts ({took}; {large['tokens']} tokens, "
            f"float32, one thread, weights frozen and random; 32 layers make {large['step_s']:.0f} s), generating "
            f"{large['m']:,} numbers and their gradient is {100 * large['share']:.1f} %. More tokens make it less."
        )
    return "\n\n".join(parts)


def gpu(body: dict[str, Any]) -> str:
    """The fused kernels and steps on a GPU."""
    if "skipped" in body:
        return f"## On a GPU\n\nNot measured: {body['skipped']}."
    pair = ["torch, ms", "Triton, ms", "torch over Triton"]
    circuits = [[f"N = {row['n_qubits']}, L = {row['depth']}", *timings(row)] for row in body["circuits"]]
    layers = [
        [f"{row['ansatz']}, depth {row['depth']}", row["d"], row["tokens"], *timings(row)] for row in body["layers"]
    ]
    steps = [
        [row["model"], row["method"], row["tokens"], f"{row['step_ms']:.1f}", f"{row['ratio']:.3f}"]
        for row in body["steps"]
    ]
    return "\n\n".join(
        [
            f"## On a GPU: {body['device']}",
            table(["QPA's circuit", *pair], circuits),
            table(["QAA's layer", "d", "tokens", *pair], layers),
            table(["bfloat16 model, random weights", "method", "tokens", "step, ms", "over LoRA's"], steps),
        ]
    )


def timings(row: dict[str, Any]) -> list[str]:
    """Both kernels and their ratio."""
    return [f"{row['torch_ms']:.3f}", f"{row['triton_ms']:.3f}", spread(row["ratio"])]


SECTIONS = {
    **{"circuit": circuit, "layer": layer, "forms": forms},
    **{"generator": generator, "memory": memory, "gpu": gpu},
}


def committed() -> dict[str, Any]:
    """Every result by its name."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def goal_table() -> str:
    """What the engine was built to, and what was measured."""
    return table(["what", "goal", "measured", ""], goals.rows(committed()))


def text() -> str:
    """The page, of the parts there are."""
    bodies = committed()
    parts = [HEAD, goal_table()]
    for name, section in SECTIONS.items():
        if name in bodies:
            body = bodies[name]
            about = ", ".join(f"{key} {value}" for key, value in body["environment"].items())
            parts += [section(body), f"({about}{', quick' if body['quick'] else ''})"]
    parts.append(
        "Steps of whole models over LoRA's: README and tour, from `step.json` and `qaa.json` of the same suite."
    )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def write() -> None:
    """Into docs."""
    write_atomically(ROOT / "docs" / "benchmarks.md", text())
