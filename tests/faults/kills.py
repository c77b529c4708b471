"""Kills: every run that is killed and started again ends as one that is left alone, bit for bit.

``count`` kills at random moments (some by SIGINT and SIGTERM), and ``count`` right before, or in the middle of, one
operation on a file: the kind of operation is drawn first, so that rare ones are not missed. A third of the runs are
killed again on their way.
"""

import json
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from qpeft.training.checkpoints import checkpoints, faults

from .children import Child, call, warm_up
from .deaths import Deaths

LORA = "{name: lora, r: 2, target_modules: [q_proj, v_proj], lora_dropout: 0.1}"
METHODS = {
    "lora": (LORA, "exact"),
    "full": ("{name: full}", "exact"),
    "qaa": ("{name: qaa, depth: 1}", "exact"),
    "sora": ("{name: sora, r: 2, target_modules: [q_proj]}", "exact"),
    "qpa": (f"{{name: qpa, n_mlp: 32, depth: 1, over: {LORA}}}", "exact"),
    "shots": (f"{{name: qpa, n_mlp: 32, depth: 1, preset: released, over: {LORA}}}", "sampled:shots=20x"),
    "refresh": (f"{{name: qpa, n_mlp: 32, depth: 1, over: {LORA}}}", "sampled:shots=20x"),
}
GRADIENTS = {"shots": "shift", "refresh": "surrogate:refresh=3"}
STEPS, WORKERS = 9, 4
# Epochs of two steps, logged points of three, checkpoints every fourth: nothing falls together.
SETTINGS = ("batch_size=2", "gradient_accumulation=2", "log_steps=3", "checkpoint_steps=4", "scheduler=constant")
# What a break may change: times, memory, and what was spent.
FREE = {
    "run_info": ("created_at", "total_time"),
    "train_info": (
        "accelerator_memory_max",
        "accelerator_memory_reserved_avg",
        "accelerator_memory_reserved_99th",
        "process_memory_max",
        "train_time",
        "step_time_median",
        "optimizer_time_median",
        "metrics",
    ),
    "quantum": ("executions_spent", "shots_spent"),
}


@dataclass
class Whole:
    """A run that was left alone."""

    folder: Path
    seconds: float
    operations: list[str]


@dataclass
class Bench:
    """Base, texts, one untouched run a method, and what was found so far."""

    place: Path
    wholes: dict[str, Whole] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def start(self, method: str, out: Path, log: Path, at: int = 0) -> Child:
        spec, backend = METHODS[method]
        words = ["train", "--method", spec, "--model", str(self.place / "base"), "--data", str(self.place / "texts")]
        words += ["--steps", str(STEPS), "--learning-rate", "1e-2", "--out", str(out)]
        for setting in ("data.format=text", "data.max_length=32", "data.train_rows=7", "data.eval_rows=4"):
            words += ["--set", setting]
        for setting in SETTINGS:
            words += ["--set", f"train.{setting}"]
        if backend != "exact":
            words += ["--backend", backend, "--gradient", GRADIENTS[method]]

        def work() -> int:
            from qpeft.cli import run

            Deaths(out, log, at).install()
            return run(words)

        return call(work, log.with_suffix(".said"))

    def whole(self, method: str) -> Whole:
        """The run of a method that is left alone."""
        if method not in self.wholes:
            out, log = self.place / f"whole-{method}", self.place / f"whole-{method}.log"
            began = time.monotonic()
            child = self.start(method, out, log)
            if child.wait(300) != 0:
                raise RuntimeError(child.said())
            operations = [line for line in log.read_text().splitlines() if line.startswith("op ")]
            self.wholes[method] = Whole(out, time.monotonic() - began, operations)
        return self.wholes[method]


def run(count: int, seed: int, folder: Path) -> int:
    """Do the campaign, in several processes; the number of runs with a fault."""
    from tests.tiny_models import save_tiny_base, save_tiny_texts

    warm_up()
    bench = Bench(folder)
    save_tiny_base(folder / "base")
    save_tiny_texts(folder / "texts")
    for method in METHODS:
        bench.whole(method)
    trials = [(kind, number) for number in range(count) for kind in ("random", "aimed")]
    shares = [
        partial(share, bench, trials[place::WORKERS], seed, folder / f"{place}.json") for place in range(WORKERS)
    ]
    workers = [call(work, folder / f"{place}.said") for place, work in enumerate(shares)]
    counts: Counter[str] = Counter()
    while any(worker.poll() is None for worker in workers):
        time.sleep(1)
    for place, worker in enumerate(workers):
        print(worker.said(), end="")
        counts.update(json.loads((folder / f"{place}.json").read_text()))
    for name, times in sorted(counts.items()):
        print(f"  {name}: {times}")
    return counts["faults"]


def share(bench: Bench, trials: list[tuple[str, int]], seed: int, counts: Path) -> int:
    """One process's part of the trials; each draws from a seed of its own, so that it can be made again alone."""
    for kind, number in trials:
        method = list(METHODS)[number % len(METHODS)]
        out = counts.parent / f"{kind}-{number}"
        found = trial(bench, kind, method, out, random.Random(f"{seed} {kind} {number}"))
        bench.counts[f"{kind} trials"] += 1
        bench.counts["faults"] += bool(found)
        if found:
            print(f"FAULT {kind} {number} {method}: {'; '.join(found)}", flush=True)
        counts.write_text(json.dumps(bench.counts))
    return 0


def trial(bench: Bench, kind: str, method: str, out: Path, draw: random.Random) -> list[str]:
    """Kill a run, once or more often, let it end, compare; what is wrong with it."""
    whole, found = bench.whole(method), []
    logs: list[Path] = []
    code: int | None = -signal.SIGKILL
    while code in (-signal.SIGKILL, -signal.SIGTERM, 130):
        good = best(out)
        last = bool(logs) and (len(logs) > 3 or draw.random() < 2 / 3)
        logs.append(out.with_name(f"{out.name}-{len(logs)}.log"))
        at = aim(whole, draw) if kind == "aimed" and not last else 0
        moment = draw.random() * whole.seconds if kind == "random" and not last else None
        child = bench.start(method, out, logs[-1], at)
        code, by = ended(child, moment, draw)
        found += session(logs[-1], good)
        if code in (-signal.SIGKILL, -signal.SIGTERM, 130):
            bench.counts[f"{kind} kills"] += 1
            bench.counts[f"ended by {by.name} with {code}"] += 1
            found += stopped(logs[-1], out, by) if code == 130 else []
    if code != 0:
        bench.counts["bricked"] += 1
        found.append(f"exit code {code}: {child.said()[-300:]!r}")
    found = found or compared(whole.folder, out, logs)
    for path in () if found else (out, *logs):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return found


def aim(whole: Whole, draw: random.Random) -> int:
    """The number of an operation; rare kinds are drawn as often as common ones."""
    kind = draw.choice(sorted(set(whole.operations)))
    return draw.choice([number for number, operation in enumerate(whole.operations, 1) if operation == kind])


def ended(child: Child, moment: float | None, draw: random.Random) -> tuple[int | None, signal.Signals]:
    """Wait for a child; where a moment is given, send it a signal then. The exit code and the signal."""
    if moment is None:
        return child.wait(300), signal.SIGKILL
    by = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    end = time.monotonic() + moment
    while time.monotonic() < end and child.poll() is None:
        time.sleep(0.002)
    child.kill(by)
    return child.wait(300), by


def best(out: Path) -> int:
    """The step of the last checkpoint that can be used; 0 without."""
    usable = [path for path in checkpoints(out / "checkpoints") if not faults(path)]
    return int(usable[-1].name.rpartition("-")[2]) if usable else 0


def lines(log: Path, name: str) -> list[int]:
    """The numbers a session wrote down under a name."""
    words = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [int(line[1]) for line in words if line and line[0] == name]


def session(log: Path, good: int) -> list[str]:
    """What is wrong with the steps of one session that began at the checkpoint of step ``good``."""
    steps = lines(log, "step")
    begun = sorted(set(steps))
    if begun and begun != list(range(good + 1, good + 1 + len(begun))):
        return [f"a checkpoint of step {good} was there, and the steps were {begun}"]
    if begun and begun[-1] > STEPS:
        return [f"step {begun[-1]} of {STEPS} was made"]
    return []


def stopped(log: Path, out: Path, by: signal.Signals) -> list[str]:
    """What is wrong after a signal that can be caught: nothing that was done may be lost."""
    done = lines(log, "did")
    if done and best(out) != done[-1]:
        return [f"{by.name} came, {done[-1]} steps were done, and the last checkpoint is of step {best(out)}"]
    return []


def compared(whole: Path, out: Path, logs: list[Path]) -> list[str]:
    """What a run that was killed has other than the one left alone."""
    found = []
    names = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (whole, out)]
    if names[0] != names[1]:
        found.append(f"other files: {sorted(names[0] ^ names[1])}")
    for name in sorted(names[0] & names[1]):
        bytes_ = [(folder / name).read_bytes() for folder in (whole, out) if (folder / name).is_file()]
        if name != "record.json" and len(set(bytes_)) > 1:
            found.append(f"{name} has other bytes")
    first, second = (json.loads((folder / "record.json").read_text()) for folder in (whole, out))
    asked = sum(sum(lines(log, "circuits")) for log in logs)
    if asked and second["quantum"]["executions_spent"] != asked:
        found.append(f"{asked} circuits were asked for, {second['quantum']['executions_spent']} recorded as spent")
    found += differences(bound(first), bound(second))
    return found


def bound(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what a break may change."""
    for section, keys in FREE.items():
        for key in keys:
            (record.get(section) or {}).pop(key, None)
    return record


def differences(first: Any, second: Any, name: str = "") -> list[str]:
    """Where two records differ, by the names of fields."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = sorted({*first, *second})
        return [text for key in keys for text in differences(first.get(key), second.get(key), f"{name}.{key}")]
    return [] if first == second else [f"record{name}: {first} without a break, {second} with"]
