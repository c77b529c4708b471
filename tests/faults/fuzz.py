"""Fuzzed inputs of every kind (`inputs.py`): no traceback, no hang, no wrong exit code, nothing half-written."""

import contextlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import inputs
from tests.faults.children import call, warm_up

# Seconds of work one input may take, inputs a child works off, and bytes it may take beyond what it starts with.
PATIENCE, BATCH, MEMORY = 20, 40, 4 << 30


@dataclass
class Verdict:
    """What became of one input."""

    number: int
    kind: str
    code: int | None
    seconds: float
    fault: str
    said: str


class HangError(BaseException):
    """An input took longer than it may; no `except Exception` catches it."""


def run(count: int, seed: int, folder: Path) -> int:
    """Try ``count`` inputs; prints every fault and the counts of codes a kind; returns the number of faults."""
    warm_up()
    fixtures = inputs.prepare(folder / "fixtures")
    log, done = folder / "verdicts.jsonl", 0
    verdicts: list[Verdict] = []
    while done < count:
        last = min(done + BATCH, count)
        log.write_text("", "utf-8")
        child = call(partial(batch, range(done, last), seed, folder, fixtures, log), folder / "child.log")
        read, changed = 0, time.monotonic()
        while child.poll() is None:
            time.sleep(0.05)
            if log.stat().st_size != read:
                read, changed = log.stat().st_size, time.monotonic()
            # The child's own alarm counts no sleep, and does not reach into a library's C code.
            if time.monotonic() - changed > 6 * PATIENCE:
                child.kill()
        found = [Verdict(**json.loads(line)) for line in log.read_text("utf-8").splitlines()]
        done += len(found)
        if done < last:
            kind, _ = kind_of(seed, done)
            fault = "hang in a library" if child.code == -signal.SIGKILL else f"child died with {child.code}"
            found.append(Verdict(done, kind, child.code, 0.0, fault, child.said()[-600:]))
            done += 1
        verdicts += found
        with (folder / "all.jsonl").open("a", encoding="utf-8") as kept:
            kept.writelines(json.dumps(asdict(verdict)) + "\n" for verdict in found)
        for verdict in found:
            if verdict.fault:
                print(f"FAULT {seed}:{verdict.number} {verdict.kind}: {verdict.fault}\n{verdict.said}", flush=True)
    return summed_up(verdicts)


def summed_up(verdicts: list[Verdict]) -> int:
    """Print counts by kind and exit code; the number of faults."""
    table = Counter((verdict.kind, str(verdict.code)) for verdict in verdicts)
    for kind in inputs.KINDS:
        codes = ", ".join(f"{code}: {n}" for (which, code), n in sorted(table.items()) if which == kind)
        slowest = max((verdict.seconds for verdict in verdicts if verdict.kind == kind), default=0.0)
        print(f"{kind:9} exit codes {codes}; slowest {slowest:.1f} s")
    faults = [verdict for verdict in verdicts if verdict.fault]
    print(f"{sum('traceback' in verdict.fault for verdict in faults)} tracebacks, "
          f"{sum('hang' in verdict.fault for verdict in faults)} hangs, {len(faults)} faults in all")  # fmt: skip
    return len(faults)


def kind_of(seed: int, number: int) -> tuple[str, random.Random]:
    """The kind of an input, and the random numbers that make it: nothing else decides it."""
    rng = random.Random(f"{seed}-{number}")
    names = list(inputs.KINDS)
    return rng.choices(names, [inputs.KINDS[name].share for name in names])[0], rng


def batch(numbers: range, seed: int, folder: Path, fixtures: inputs.Fixtures, log: Path) -> int:
    """Try inputs one after the other, in this process; a line of the log each."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _alarm)
    with log.open("a", encoding="utf-8") as file:
        for number in numbers:
            file.write(json.dumps(asdict(trial(number, seed, folder, fixtures))) + "\n")
            file.flush()
    return 0


def _alarm(*_: Any) -> None:
    raise HangError


def trial(number: int, seed: int, folder: Path, fixtures: inputs.Fixtures) -> Verdict:
    """Make one input and try it."""
    kind, rng = kind_of(seed, number)
    place = folder / f"trial-{seed}-{number}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    work = inputs.KINDS[kind].make(rng, place, fixtures)
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        with contextlib.chdir(place):
            code, said, fault = attempt(work)
    except HangError:
        code, said, fault = None, "", f"hang above {PATIENCE} s"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    took = time.monotonic() - began
    fault = fault or judged(code, said, inputs.KINDS[kind].codes, place)
    shown = f"{inputs.shown(work)}\n{said[-1500:]}" if fault else said[-300:]
    if not fault or len(list(folder.glob("trial-*"))) > 200:
        shutil.rmtree(place, ignore_errors=True)
    return Verdict(number, kind, code, took, fault, shown)


def attempt(work: list[str] | Callable[[], None]) -> tuple[int | None, str, str]:
    """The exit code of a command line, or of a call (0, or 1 for a QpeftError); what was printed; a fault."""
    from qpeft.cli import run as command
    from qpeft.errors import ConfigError, QpeftError

    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, "utf-8", write_through=True)
    code: int | None = 0
    fault = ""
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            if isinstance(work, list):
                code = command(work)
            else:
                work()
    except QpeftError as error:
        code, fault = 2 if isinstance(error, ConfigError) else 1, "" if callable(work) else f"traceback: {error}"
        stream.write(f"Error: {error}")
    except HangError:
        raise
    except BaseException:
        code, fault = 99, "traceback"
        stream.write(traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return code, printed.getvalue().decode("utf-8", "replace"), fault


def judged(code: int | None, said: str, codes: tuple[int, ...], place: Path) -> str:
    """What is wrong with the end of a trial; empty where nothing is."""
    if "Traceback (most recent call last)" in said:
        return "traceback printed"
    if code not in codes:
        return f"exit code {code}, one of {codes} was right"
    if code and not any(word in said for word in ("Error: ", "FAILED", "failed")):
        return f"exit code {code} without a word"
    drafts = [path for path in place.rglob(".*") if path.name not in (".lock", ".hidden", ".cache")]
    out = place / "exported"
    if drafts or (code and out.exists()):
        return f"half-written: {[str(path.relative_to(place)) for path in drafts] or 'exported'}"
    return ""


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
