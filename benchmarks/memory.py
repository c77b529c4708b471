"""Peak memory in fresh processes: the circuit over N and L, and a generator of as many numbers as a 7B adapter has.

python benchmarks/memory.py circuit 18 128
python benchmarks/memory.py generator 33000000 2048 recommended
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from qpeft.circuits import build_ansatz
from qpeft.qpa import QPAConfig
from qpeft.qpa.generator import Generator
from qpeft.quantum import probabilities


def resident(key: str) -> float:
    """VmRSS, now, or VmHWM, the most so far, in MB."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def circuit(n_qubits: int, depth: int) -> dict[str, Any]:
    """One forward and backward, compiling included."""
    made = build_ansatz("ry_cnot", n_qubits, depth)
    angles = torch.randn(made.n_parameters).requires_grad_()
    readout = torch.randn(2**n_qubits)
    before, began = resident("VmRSS"), time.perf_counter()
    probabilities(made, angles).backward(readout)
    seconds = time.perf_counter() - began
    peak = resident("VmHWM")
    return {"n_qubits": n_qubits, "depth": depth, "peak_mb": peak, "added_mb": peak - before, "seconds": seconds}


def generator(m: int, n_mlp: int, preset: str) -> dict[str, Any]:
    """Generation and vector-Jacobian product of m numbers; the second of two, the first warms up."""
    made = Generator(m, QPAConfig(n_mlp=n_mlp, preset=preset))
    cotangent = torch.randn(m)
    before = resident("VmRSS")
    for _ in range(2):
        began = time.perf_counter()
        vector = made()
        forward = time.perf_counter() - began
        vector.backward(cotangent)
        both = time.perf_counter() - began
        del vector
    added = resident("VmHWM") - before
    row = {"m": m, "n_mlp": n_mlp, "preset": preset, "trainable": made.n_trainable, "added_mb": added}
    return {**row, "over_m": added / (4 * m / 2**20), "forward_s": forward, "vjp_s": both - forward}


def fresh(*words: object) -> dict[str, Any]:
    """The same in a new process."""
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(row, flush=True)
    return row


def first_step() -> None:
    """What ``qpeft train`` does up to its first optimizer step: imports, embedded model, QPA over LoRA, one step."""
    from qpeft.records import MethodSpec, ModelSpec, TrainSpec
    from qpeft.training.methods import build_method
    from qpeft.training.models import load_base
    from qpeft.training.studies.timing import timed_step

    lora = MethodSpec(name="lora", options={"r": 4, "target_modules": "all-linear"})
    built = build_method(
        load_base(ModelSpec(name="embedded")).model, MethodSpec(name="qpa", options={"n_mlp": 512}, over=lora), 0
    )
    kind, options = built.optimizer(TrainSpec())
    parameters = options.pop("params", [p for _, p in built.named_trainable()])
    timed_step(built.model.train(), kind(parameters, **options), torch.zeros(1, 16, dtype=torch.int64))


def command_line() -> dict[str, float | None]:
    """Seconds from a fresh interpreter to the help, and to the end of the first step."""
    seconds: dict[str, float | None] = {}
    for name, words in (("qpeft --help", ["-m", "qpeft", "--help"]), ("first step", [__file__, "first_step"])):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, *words], capture_output=True)
        seconds[name] = time.perf_counter() - began if done.returncode == 0 else None
    print(seconds, flush=True)
    return seconds


def measure(*, quick: bool) -> dict[str, Any]:
    """Circuits and generators."""
    sizes = [(14, 8), (14, 32)] if quick else [(18, 8), (18, 32), (18, 128), (20, 8), (20, 20)]
    if quick:
        generators: list[tuple[int, int, str]] = [(1_000_000, 512, "recommended")]
    else:
        generators = [(33_000_000, n, p) for p in ("recommended", "released") for n in (512, 2048)]
    return {
        "circuits": [fresh("circuit", *size) for size in sizes],
        "generators": [fresh("generator", *size) for size in generators],
        "command_line": command_line(),
    }


def main() -> None:
    """One row as JSON."""
    torch.set_num_threads(1)
    kind, *words = sys.argv[1:]
    if kind == "first_step":
        first_step()
    elif kind == "circuit":
        print(json.dumps(circuit(int(words[0]), int(words[1]))))
    else:
        print(json.dumps(generator(int(words[0]), int(words[1]), words[2])))


if __name__ == "__main__":
    main()
