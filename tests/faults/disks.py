"""Disks that fill up or refuse: a clear error, nothing half-written; with room the same command ends the same."""

import json
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.faults import inputs
from tests.faults.children import Child, command, warm_up


def run(count: int, seed: int, folder: Path) -> int:
    """Fill disks at ``count`` moments of a training, a comparison and an export; returns the number of faults."""
    warm_up()
    fixtures = inputs.prepare(folder / "fixtures")
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    if not mounted(disk, "size=8m"):
        print("no disk can be mounted here (it takes root): nothing was tried")
        return 0
    subprocess.run(["umount", disk], check=True)
    works = {
        "train": [
            "train",
            str(fixtures.recipe),
            "--method",
            "qpa",
            "--steps",
            "4",
            "--set",
            "train.checkpoint_steps=1",
        ],
        "compare": ["compare", str(fixtures.recipe), "--only", "base", "--only", "lora"],
        "export": ["export", str(fixtures.runs / "qpa"), "--merge"],
    }
    faults = 0
    rng = random.Random(seed)
    for number in range(count):
        name = list(works)[number % len(works)]
        faults += report(name, number, *filled(works[name], name, disk, rng, folder))
    faults += sum(report(name, -1, *refused(words, name, disk, folder)) for name, words in works.items())
    return faults


def mounted(disk: Path, options: str) -> bool:
    """Mount an empty disk in memory."""
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True).returncode == 0


def report(name: str, number: int, moment: str, fault: str) -> int:
    """Print one trial; 1 where it shows a fault."""
    print(
        f"{name:8} {'read-only' if number < 0 else f'trial {number}'}, {moment}: {fault or 'as it should be'}",
        flush=True,
    )
    return int(bool(fault))


def start(words: list[str], name: str, out: Path, log: Path) -> Child:
    """The command with its folder to write."""
    return command([*words, str(out)] if name == "export" else [*words, "--out", str(out)], log)


def filled(words: list[str], name: str, disk: Path, rng: random.Random, folder: Path) -> tuple[str, str]:
    """Fill the disk after some of the command's writes; then make room and run the same again."""
    shutil.rmtree(folder / "whole", ignore_errors=True)
    whole = start(words, name, folder / "whole" / "out", folder / "log")
    if whole.wait() != 0:
        return "without a limit", f"exit code {whole.code}: {whole.said()[-500:]}"
    needed = sum(path.stat().st_size for path in (folder / "whole").rglob("*") if path.is_file())
    mounted(disk, "size=64m")
    try:
        first = start(words, name, disk / "out", folder / "log")
        room = squeezed(first, disk, rng.randrange(needed), rng.randrange(0, 8) * 4096)
        code, said = first.wait(), first.said()
        limit(disk, 64 << 20)
        moment = f"full after {room:,} bytes, exit code {code}"
        fault = judged(code, said, disk / "out", name)
        if fault:
            return moment, fault
        again = start(words, name, disk / "out", folder / "log")
        if code == 0 and name == "export":
            return moment, ""
        if again.wait() != 0:
            return moment, f"with room, exit code {again.code}: {again.said()[-500:]}"
        return moment, "" if told(disk / "out") == told(folder / "whole" / "out") else "with room, another record"
    finally:
        subprocess.run(["umount", disk], check=True)


def squeezed(child: Child, disk: Path, begun: int, more: int) -> int:
    """Wait until a command has written some bytes, then leave it only a few more; the size of the disk."""
    while child.poll() is None:
        used = shutil.disk_usage(disk).used
        if used > begun:
            size = used + more
            if subprocess.run(["mount", "-o", f"remount,size={size}", disk], capture_output=True).returncode == 0:
                return size
        time.sleep(0.002)
    return shutil.disk_usage(disk).used


def limit(disk: Path, size: int) -> None:
    """Make the disk larger or smaller while it is in use."""
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def refused(words: list[str], name: str, disk: Path, folder: Path) -> tuple[str, str]:
    """A read-only disk is named before anything is loaded."""
    mounted(disk, "size=8m,ro")
    try:
        child = start(words, name, disk / "out", folder / "log")
        code, said = child.wait(), child.said()
        return f"exit code {code}", "" if code == 1 and "Error: " in said and "Traceback" not in said else said[-500:]
    finally:
        subprocess.run(["umount", disk], check=True)


def judged(code: int | None, said: str, out: Path, name: str) -> str:
    """What is wrong with the end of a command on a full disk."""
    if code not in (0, 1):
        return f"exit code {code}: {said[-800:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-800:]}"
    if code and "Error: " not in said and "FAILED" not in said:
        return f"no word of what went wrong: {said[-300:]}"
    if code and name == "export" and out.exists():
        return "an export is half-written"
    try:
        told(out)
    except ValueError as error:
        return f"a record is half-written: {error}"
    return ""


def told(out: Path) -> dict[str, Any]:
    """What the records say, and the bytes of the adapters; times, and what a resume counts anew, left out."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("record.json")):
        record = json.loads(path.read_text("utf-8"))
        found[str(path.relative_to(out))] = [record["identity"], record["metrics"], record["curve"]]
    for path in sorted(out.rglob("adapter_model.safetensors")):
        if "checkpoints" not in path.parts:
            found[str(path.relative_to(out))] = path.read_bytes()
    return found
