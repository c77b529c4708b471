"""Pairs: two processes with the same --out, seconds apart, and a third after them; every record is that of a lone run.

In turn two trainings, a training whose holder is killed, two comparisons, and a folder that a process on another
machine holds: one that lives, or one that died.
"""

import json
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

from .children import Child, call, warm_up

METHOD = "{name: lora, r: 2, target_modules: [q_proj, v_proj], lora_dropout: 0.1}"
KINDS = ("train", "killed", "compare", "far")
STEPS = 60
RECIPE = """title: pair
model: {{name: '{base}'}}
data: {{name: '{texts}', format: text, max_length: 32}}
train: {{steps: 15, batch_size: 2, checkpoint_steps: 5}}
seeds: [0, 1]
learning_rates: [0.001, 0.01]
methods:
  base: {{name: base}}
  lora: {{name: lora, r: 2, target_modules: [q_proj], lora_dropout: 0.1}}
"""
# What depends on the moment and the machine's load.
TIMED = ("time", "memory", "created_at")


def run(count: int, seed: int, folder: Path) -> int:
    """Do the campaign; the number of trials with a fault."""
    from tests.tiny_models import save_tiny_base, save_tiny_texts

    warm_up()
    base, texts = save_tiny_base(folder / "base"), save_tiny_texts(folder / "texts")
    (folder / "pair.yaml").write_text(RECIPE.format(base=base, texts=texts), encoding="utf-8")
    lone = {kind: alone(folder, kind) for kind in ("train", "compare")}
    draw, counts, faults = random.Random(seed), Counter[str](), 0
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        out = folder / f"{number}-{kind}"
        found = trial(folder, out, kind, draw, counts, lone["compare" if kind == "compare" else "train"])
        faults += bool(found)
        for text in found:
            print(f"FAULT {number} {kind}: {text}", flush=True)
        if not found:
            shutil.rmtree(out, ignore_errors=True)
    for what, times in sorted(counts.items()):
        print(f"  {what}: {times}")
    return faults


def words(folder: Path, kind: str, out: Path) -> list[str]:
    """The command line of a kind."""
    if kind == "compare":
        return ["compare", str(folder / "pair.yaml"), "--out", str(out)]
    line = ["train", "--method", METHOD, "--model", str(folder / "base"), "--data", str(folder / "texts")]
    line += ["--steps", str(STEPS), "--out", str(out)]
    for setting in ("data.format=text", "data.max_length=32", "train.batch_size=2", "train.checkpoint_steps=10"):
        line += ["--set", setting]
    return line


def start(folder: Path, kind: str, out: Path, log: Path) -> Child:
    """One process; on a holder of another machine it waits a second instead of half a minute."""

    def work() -> int:
        from qpeft.cli import run
        from qpeft.records import lock

        lock.WATCH = 1.0
        return run(words(folder, kind, out))

    return call(work, log)


def alone(folder: Path, kind: str) -> dict[str, Any]:
    """What a process without another one leaves."""
    out = folder / f"alone-{kind}"
    child = start(folder, kind, out, folder / f"alone-{kind}.log")
    if child.wait(300) != 0:
        raise RuntimeError(child.said())
    return results(out)


def trial(
    folder: Path, out: Path, kind: str, draw: random.Random, counts: Counter[str], wanted: dict[str, Any]
) -> list[str]:
    """Two processes and a third; what is wrong, in words."""
    log, found = folder / out.name, list[str]()
    if kind == "far":
        found += far_holder(out, alive=draw.random() < 0.5, log=log, folder=folder, counts=counts)
    first = start(folder, kind, out, log.with_suffix(".1"))
    time.sleep(draw.uniform(0.0, 3.0))
    if kind == "killed":
        counts["killed while at work" if first.poll() is None else "killed too late"] += 1
        first.kill()
    second = start(folder, kind, out, log.with_suffix(".2"))
    codes = [first.wait(300), second.wait(300)]
    counts[f"{kind}: codes {codes}"] += 1
    found += judged(kind, out, [first, second], counts)
    third = start(folder, kind, out, log.with_suffix(".3"))
    if third.wait(300) != 0:
        found.append(f"the third ended with {third.code}: {third.said()[-300:]}")
    found += differences(wanted, results(out))
    left = [str(path.relative_to(out)) for path in out.rglob("*") if ".lock" in path.name or path.name == "error.txt"]
    return found + ([f"left behind: {left}"] if left else [])


def judged(kind: str, out: Path, pair: list[Child], counts: Counter[str]) -> list[str]:
    """Whether exit codes and messages are right: one of two did the run, the other was told who."""
    found = []
    for number, child in enumerate(pair):
        other, said = pair[1 - number], child.said()
        if "Traceback" in said:
            found.append(f"a traceback: {said[-300:]}")
        if child.code == 1 and kind in ("train", "far"):
            counts["second starts that named the holder"] += 1
            if f"is in use by process {other.pid} on {os.uname().nodename} since 20" not in said:
                found.append(f"code 1, and the holder {other.pid} is not named: {said[-300:]}")
        elif child.code != 0 and not (kind == "killed" and number == 0 and child.code == -9):
            found.append(f"process {number + 1} ended with {child.code}: {said[-300:]}")
    if all(child.code != 0 for child in pair):
        found.append("no process ended with 0")
    return found


def far_holder(out: Path, *, alive: bool, log: Path, folder: Path, counts: Counter[str]) -> list[str]:
    """A folder held by a process of another machine; one that lives is respected, and then it dies, too."""
    from qpeft.records import LOCK
    from qpeft.records.lock import Holder

    out.mkdir()
    holder = Holder(
        token="0123456789abcdef", pid=4321, host="node-7", machine="node-7 boot 1", started="9", since="2026-01-01"
    )
    path, found = out / LOCK, list[str]()
    path.write_text(holder.model_dump_json())
    if alive:
        counts["starts beside a living holder on another machine"] += 1
        child = start(folder, "train", out, log.with_suffix(".0"))
        if child.wait(300) != 1 or "is in use by process 4321 on node-7 since 2026-01-01" not in child.said():
            found.append(f"a living holder on another machine was passed over: {child.code} {child.said()[-300:]}")
    counts["dead holders on another machine taken over"] += 1
    silent = time.time() - 1000
    os.utime(path, (silent, silent))
    return found


def results(out: Path) -> dict[str, Any]:
    """The records below a folder without what is timed, and the bytes of the adapters, by place."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("record.json")):
        place = str(path.parent.relative_to(out))
        found[f"{place}/record"] = untimed(json.loads(path.read_text("utf-8")))
        for file in sorted((path.parent / "adapter").glob("adapter_*")):
            found[f"{place}/{file.name}"] = file.read_bytes()
    return found


def untimed(value: Any) -> Any:
    """A record without times, memory, and the name of its folder."""
    if isinstance(value, dict):
        return {
            key: untimed(part)
            for key, part in value.items()
            if not any(word in key for word in TIMED) and key != "experiment_name"
        }
    return [untimed(part) for part in value] if isinstance(value, list) else value


def differences(wanted: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """Records or adapters that are missing, that nobody asked for, or that differ from a lone run's."""
    found = [f"missing: {place}" for place in sorted(wanted.keys() - got.keys())]
    found += [f"one too many: {place}" for place in sorted(got.keys() - wanted.keys())]
    return found + [f"differs: {place}" for place in sorted(wanted.keys() & got.keys()) if wanted[place] != got[place]]
