"""The QPA circuit: forward and backward against peers, growth with N and L, distance from the machine's limits.

Peers of another environment run in a process of the interpreter QPEFT_PEER_PYTHON; see docs/benchmarks.md.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import log2
from pathlib import Path
from statistics import linear_regression
from typing import Any

import torch
from torch import Tensor

from qpeft.circuits import build_ansatz
from qpeft.quantum import probabilities
from qpeft.quantum.engine.compiling import qubit_groups
from qpeft.training.studies.timing import quartiles, take_turns

HERE = Path(__file__).parent
PEERS = ("torchquantum", "default.qubit", "lightning.qubit", "deepquantum", "tensorcircuit")
# Calls a turn: the first ones of a process that has slept find cold caches, and of a short call they are much.
CALLS = 7
OWN = ("default.qubit", "lightning.qubit")  # of our own environment
Run = Callable[[], Tensor]


def ours(n_qubits: int, depth: int) -> tuple[Run, Tensor, Tensor]:
    """Gradient of <Z on qubit 0>, which every peer can take, its angles and its readout."""
    circuit = build_ansatz("ry_cnot", n_qubits, depth)
    angles = torch.randn(circuit.n_parameters, generator=torch.Generator().manual_seed(n_qubits)).requires_grad_()
    readout = torch.ones(2**n_qubits)
    readout[2 ** (n_qubits - 1) :] = -1
    return lambda: torch.autograd.grad(probabilities(circuit, angles), angles, readout)[0], angles, readout


def timed(run: Callable[[], object], calls: int = 3) -> tuple[float, ...]:
    """Processor seconds of the fastest of some calls.

    Wall time would flatter whoever is short enough to fit between two turns of the scheduler on a busy machine.
    """
    return (min(once(run) for _ in range(calls)),)


def once(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


class Worker:
    """A process of peers that answers one question at a time, and does nothing in between."""

    def __init__(self, python: str) -> None:
        command = [python, str(HERE / "peer_worker.py")]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self.process = subprocess.Popen(
            command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True, env=environment
        )

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        """The answer to one task, or what went wrong."""
        if self.process.stdin is None or self.process.stdout is None:
            return {"error": "no pipe"}
        try:
            print(json.dumps(task), file=self.process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(self.process.stdout.readline() or '{"error": "the process ended"}')
        except BrokenPipeError:
            return {"error": "the process ended"}
        return answer

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def milliseconds(taken: Sequence[tuple[float, ...]]) -> list[float]:
    """Lower quartile, median and upper quartile."""
    return [1e3 * q for q in quartiles([t[0] for t in taken])]


def against(run: Callable[[], object], worker: Worker, task: dict[str, Any], turns: int) -> dict[str, Any]:
    """Ours and a peer in turns: both medians, and the ratio with quartiles."""

    def ask() -> tuple[float, ...]:
        return (min(worker.ask(task)["seconds"] for _ in range(CALLS)),)

    times = take_turns({"ours": partial(timed, run, CALLS), "peer": ask}, turns, 1)
    ratios = quartiles([b[0] / a[0] for a, b in zip(times["ours"], times["peer"], strict=True)])
    return {**{f"{name}_ms": milliseconds(taken)[1] for name, taken in times.items()}, "ratio": ratios}


def against_peers(sizes: list[tuple[int, int]], turns: int) -> dict[str, Any]:
    """For each (N, L) and peer: both times, the ratio with quartiles, the largest difference of the gradients."""
    other = os.environ.get("QPEFT_PEER_PYTHON")
    workers = {True: Worker(sys.executable), False: Worker(other) if other else None}
    rows = []
    for n_qubits, depth in sizes:
        run, angles, readout = ours(n_qubits, depth)
        for peer in PEERS:
            worker = workers[peer in OWN]
            row: dict[str, Any] = {"n_qubits": n_qubits, "depth": depth, "peer": peer}
            if worker is None:
                rows.append({**row, "skipped": "set QPEFT_PEER_PYTHON to an interpreter that has it"})
                continue
            task = {**row, "angles": angles.tolist(), "readout": readout.tolist()}
            first = worker.ask(task)
            if "error" in first:
                rows.append({**row, "skipped": first["error"]})
                continue
            row |= against(run, worker, task, turns)
            error = (run() - torch.tensor(first["gradient"])).abs().max().item()
            rows.append({**row, "gradient_difference": error})
            low, middle, high = row["ratio"]
            print(f"N={n_qubits} L={depth} {peer}: {middle:.1f} [{low:.1f}, {high:.1f}]", flush=True)
    versions: dict[str, Any] = {}
    for worker in workers.values():
        if worker:
            versions |= worker.ask({"peer": "versions"})
            worker.close()
    return {"peers": rows, "versions": versions}


def growth(sizes: list[tuple[int, int]], turns: int) -> list[dict[str, Any]]:
    """Milliseconds of forward and backward over N and L, sizes taking turns."""
    runs = {f"{n} {depth}": partial(timed, ours(n, depth)[0]) for n, depth in sizes}
    times = take_turns(runs, turns, 1)
    return [{"n_qubits": n, "depth": depth, "ms": milliseconds(times[f"{n} {depth}"])} for n, depth in sizes]


def exponents(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Slopes of log time in log L, and of log2 time in N, beside what arithmetic alone would give."""
    fits = []
    for n_qubits in sorted({row["n_qubits"] for row in rows}):
        points = [(log2(row["depth"]), log2(row["ms"][1])) for row in rows if row["n_qubits"] == n_qubits]
        if len(points) > 2:
            slope = linear_regression(*zip(*points, strict=True)).slope
            fits.append({"of": f"time in L, N = {n_qubits}", "fitted": slope, "theory": 1.0})
    large = [row for row in rows if row["n_qubits"] >= 14 and row["depth"] == 8]
    if len(large) > 2:
        work = [log2(sum(2 ** (row["n_qubits"] + size) for size in qubit_groups(row["n_qubits"]))) for row in large]
        places = [float(row["n_qubits"]) for row in large]
        slope = linear_regression(places, [log2(row["ms"][1]) for row in large]).slope
        theory = linear_regression(places, work).slope
        fits.append({"of": "log2 time a qubit, N >= 14", "fitted": slope, "theory": theory})
    return fits


def limits() -> dict[str, float]:
    """This machine's copy bandwidth, in cache and in memory, and its matrix product rate, one thread."""

    def best(run: Callable[[], object]) -> float:
        return min(timed(run)[0] for _ in range(7))

    small, large, square = torch.randn(1 << 15), torch.randn(1 << 24), torch.randn(1024, 1024)
    outs = torch.empty_like(small), torch.empty_like(large), torch.empty_like(square)
    return {
        "cache_gb_s": 8 * small.numel() / best(lambda: outs[0].copy_(small)) / 1e9,
        "memory_gb_s": 8 * large.numel() / best(lambda: outs[1].copy_(large)) / 1e9,
        "gemm_gflop_s": 2 * 1024**3 / best(lambda: torch.mm(square, square, out=outs[2])) / 1e9,
    }


def roofline(rows: list[dict[str, Any]], machine: dict[str, float]) -> list[dict[str, Any]]:
    """What the circuit needs at least, and our multiple of it.

    A rotation takes 3 flops an amplitude; forward, the backward of the state and the gradient are three passes. A
    pass over a layer reads and writes the state once. Calls cost nothing in this count, and are all at small N.
    """
    lines = []
    for row in rows:
        amplitudes = 2 ** row["n_qubits"]
        flops = 3 * 3 * row["depth"] * row["n_qubits"] * amplitudes
        moved = 3 * row["depth"] * 2 * 4 * amplitudes
        bandwidth = machine["cache_gb_s" if 4 * amplitudes < 1 << 18 else "memory_gb_s"]
        needed = 1e3 * max(flops / machine["gemm_gflop_s"], moved / bandwidth) / 1e9
        size = {key: row[key] for key in ("n_qubits", "depth")}
        lines.append(
            {**size, "mflop": flops / 1e6, "mb": moved / 1e6, "needed_ms": needed, "multiple": row["ms"][1] / needed}
        )
    return lines


def measure(*, quick: bool) -> dict[str, Any]:
    """Everything about the circuit."""
    torch.set_num_threads(1)
    peers = [(5, 8), (9, 8)] if quick else [(5, 8), (7, 8), (9, 8), (11, 8), (16, 8)]
    depths = [(8, depth) for depth in (1, 4, 16)] if quick else [(8, depth) for depth in (1, 2, 4, 8, 16, 32, 64)]
    sizes = [(n, 8) for n in ((4, 10, 14) if quick else (4, 6, 10, 12, 14, 16, 18, 20))]
    grown = growth(depths + sizes, 3 if quick else 7)
    machine = limits()
    return {
        **against_peers(peers, 3 if quick else 9),
        "growth": grown,
        "exponents": exponents(grown),
        "machine": machine,
        "roofline": roofline(grown, machine),
    }
