"""The command line in processes of its own: what it imports, how fast it answers, and Ctrl-C."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets")
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
LIST_MODULES = """
import sys
from qpeft.cli import run
code = run(sys.argv[1:])
print("MODULES", code, *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def best_seconds(*arguments: object) -> float:
    """Processor seconds of the fastest of three processes; wall time would measure the other load of the machine."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert python(*arguments).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


@pytest.mark.parametrize("line", [["--help"], ["draw", "--qubits", "3"], ["recipes"], ["recipes", "demo"], ["report"]])
def test_light_commands_import_nothing_heavy(line: list[str], finished: Path) -> None:
    done = python("-c", LIST_MODULES, *line, *([finished] if line == ["report"] else []))
    assert done.returncode == 0, done.stderr
    _, code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert "qpeft" in modules
    assert not set(modules) & set(HEAVY)


def test_import_takes_less_than_a_second() -> None:
    """Aimed at 0.3 s; the limit leaves three times that for slower processors."""
    assert best_seconds("-c", "import qpeft") < 1.0


def test_help_answers_at_once() -> None:
    """Aimed at 0.5 s, 0.2 s measured; the limit is twice the aim, for slower processors."""
    assert best_seconds("-m", "qpeft", "--help") < 1.0


def test_the_module_is_the_command_line() -> None:
    assert python("-m", "qpeft", "--version").stdout.startswith("qpeft ")
    wrong = python("-m", "qpeft", "draw", "--format", "pdf")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Traceback" not in wrong.stderr


def test_ctrl_c_ends_compare_with_130_and_keeps_what_is_done(recipe: Path, tmp_path: Path) -> None:
    command = ["-m", "qpeft", "compare", recipe, "--set", "train.steps=1000000", "--out", tmp_path / "runs"]
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 240
        # The first row only measures the base model; once it is done, the second one trains for hours.
        while not list((tmp_path / "runs").glob("base-*/record.json")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert error.rstrip().endswith("Interrupted; run the same command again to go on.")
    assert "Traceback" not in error
    assert not list((tmp_path / "runs").glob("lora-*/record.json"))
