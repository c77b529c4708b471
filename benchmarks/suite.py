"""Every benchmark by one command: JSON beside it and the page docs/benchmarks.md; ratios within one run.

python benchmarks/suite.py                    # about half an hour on two cores
python benchmarks/suite.py --quick            # a few minutes, for a look; --out keeps its JSON
python benchmarks/suite.py --only circuit
QPEFT_PEER_PYTHON=peers/bin/python python benchmarks/suite.py --only circuit
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import circuit
import forms
import generator
import gpu
import layer
import memory
import page
from qpeft.records import write_atomically
from qpeft.training.environment import processor

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "circuit": circuit.measure,
    "layer": layer.measure,
    "forms": forms.measure,
    "generator": generator.measure,
    "memory": memory.measure,
    "gpu": gpu.measure,
}
# Benchmarks with a command of their own, whose tables README and tour show, and what makes them quick.
SCRIPTS: dict[str, list[str]] = {
    "engine": ["--circuits", "10", "--repeats", "3", "--qubits", "5", "--bursts", "1"],
    "step": ["--steps", "3", "--size", "2", "64", "--cases", "embedded, every linear"],
    "qaa": [],
}


def environment() -> dict[str, Any]:
    """What the numbers depend on, the load of the machine before the run included."""
    packages = {name: version(name) for name in ("torch", "transformers", "peft")}
    load = round(os.getloadavg()[0], 1)
    cores = os.cpu_count()
    return {
        "machine": platform.machine(),
        "processor": processor(),
        "cores": cores,
        "load": load,
        "python": platform.python_version(),
        **packages,
    }


def run(name: str, out: Path, *, quick: bool) -> None:
    """One benchmark into its JSON file."""
    began = time.perf_counter()
    before = environment()
    target = out / f"{name}.json"
    if name in SCRIPTS:
        command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(target), *(SCRIPTS[name] if quick else [])]
        subprocess.run(command, check=True)
    else:
        body = {"environment": before, "quick": quick, **MEASURES[name](quick=quick)}
        write_atomically(target, json.dumps(body, indent=1) + "\n")
    print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)


def main() -> None:
    """Measure, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*MEASURES, *SCRIPTS], nargs="+", help="these alone")
    parser.add_argument("--quick", action="store_true", help="small sizes, few turns; leaves out qaa")
    parser.add_argument("--out", type=Path, help="folder of the JSON files")
    parser.add_argument("--page", action="store_true", help="write the page from what is there, measure nothing")
    options = parser.parse_args()
    if not options.page:
        out = options.out or (Path(tempfile.mkdtemp()) if options.quick else RESULTS)
        out.mkdir(parents=True, exist_ok=True)
        names = options.only or [name for name in (*MEASURES, *SCRIPTS) if not options.quick or name != "qaa"]
        for name in names:
            run(name, out, quick=options.quick)
    if options.page or (options.out is None and not options.quick):
        page.write()


if __name__ == "__main__":
    main()
