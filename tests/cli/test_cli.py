"""The command line: exit codes, help, and messages that name key, value, what is allowed and what is near."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

import qpeft
from qpeft.cli import FAILED, INTERRUPTED, USAGE, app, main, run
from qpeft.errors import CircuitError, ConfigError, DataError, QpeftError, RecordError

Ask = Callable[..., Any]
COMMANDS = [command.name for command in app.registered_commands]


def test_the_commands() -> None:
    assert COMMANDS[:5] == ["compare", "train", "ablate", "estimate", "eval"]
    assert COMMANDS[5:] == ["export", "report", "preview", "draw", "backends", "models", "recipes", "study", "doctor"]
    assert (FAILED, USAGE, INTERRUPTED) == (1, 2, 130)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command_holds_an_example(command: str, flag: str, ask: Ask) -> None:
    code, out, err = ask(command, flag)
    assert (code, err) == (0, "")
    assert f"Usage: qpeft {command}" in out or f" {command} [OPTIONS]" in out
    assert re.search(rf"Example:\s+qpeft\s+{command}\b", out)


@pytest.mark.parametrize("line", ["--help", ""])
def test_help_lists_every_command(line: str, ask: Ask) -> None:
    code, out, _ = ask(line)
    assert code == 0
    assert all(re.search(rf"^  {command} ", out, re.MULTILINE) for command in COMMANDS)
    assert "First steps:" in out


def test_version(ask: Ask) -> None:
    assert ask("--version") == (0, f"qpeft {qpeft.__version__}\n", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (ConfigError("bad key"), 2),
        (typer.BadParameter("bad flag"), 2),
        (QpeftError("it failed"), 1),
        (RecordError("it failed"), 1),
        (DataError("it failed"), 1),
        (CircuitError("it failed"), 1),
        (typer.Exit(3), 3),
    ],
)
def test_exit_codes(error: BaseException, code: int, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("qpeft.recipes.packaged", fails)
    answer = ask("recipes")
    assert answer.code == code
    assert answer.out == ""
    if code == INTERRUPTED:
        assert answer.err == "Interrupted; run the same command again to go on.\n"
    elif code != 3:
        assert answer.err.startswith("Error: ")
        assert re.search("bad key|bad flag|it failed", answer.err)


def test_mistakes_of_ours_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr("qpeft.recipes.packaged", fails)
    with pytest.raises(ZeroDivisionError):
        run(["recipes"])


def test_a_fault_of_ours_is_told_as_such_and_its_trace_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> NoReturn:
        raise ZeroDivisionError("here")

    monkeypatch.setattr("qpeft.recipes.packaged", fails)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        main(["recipes"])
    assert caught.value.code == FAILED
    told = capsys.readouterr().err
    assert "this is a fault of qpeft, not yours: ZeroDivisionError: here; please report it" in told
    assert "Traceback" not in told
    [kept] = tmp_path.glob("qpeft-fault-*.txt")
    assert str(kept) in told
    assert "ZeroDivisionError: here" in kept.read_text("utf-8")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "runs/x"), "runs/x: the disk is full; make room"),
        (OSError(30, "Read-only file system", "runs/x"), "runs/x: the disk is read-only"),
        (MemoryError(), "the memory of this machine does not suffice"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "take a smaller train.batch_size"),
    ],
)
def test_disks_and_memory_exit_with_1(
    error: Exception, message: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> NoReturn:
        raise error

    monkeypatch.setattr("qpeft.recipes.packaged", fails)
    code, out, err = ask("recipes")
    assert (code, out) == (1, "")
    assert message in err


def test_bytes_that_are_no_text_are_refused(ask: Ask) -> None:
    code, _, err = ask("compare", "demo", "--set", "title=\udcff")
    assert code == 2
    assert "the command line must be UTF-8 text" in err


@pytest.mark.parametrize(("line", "code"), [(["recipes"], 0), (["recipes", "none"], 2), (["report", "none"], 1)])
@pytest.mark.filterwarnings("default")
def test_main_exits_with_the_code(line: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line)
    assert caught.value.code == code
    assert bool(capsys.readouterr().err) == bool(code)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("compair", "compair"),
        ("draw --qubits 0", "--qubits.*1"),
        ("draw --qubits many", "--qubits.*integer"),
        ("draw --qbits 3", "--qbits.*--qubits"),
        ("draw --format pdf", "--format must be one of text, svg, qasm; got 'pdf'"),
        ("draw --ansatz ry_cnt", "--ansatz must be one of ry_cnot, .*; got 'ry_cnt'; nearest: ry_cnot"),
        ("draw --entangler rng", "--entangler must be one of chain, .*; got 'rng'; nearest: ring"),
        ("draw --numbers 9", "--numbers and --n-mlp belong together"),
        ("draw --numbers 9 --n-mlp 2 --qubits 2", "either --qubits or --numbers with --n-mlp, not both"),
        ("recipes dem", r"a recipe name \(.*demo.*\) .* got 'dem'; nearest: demo"),
        ("recipes --copy x.yaml", "--copy needs the name of a recipe"),
        ("compare dem", "nearest: demo"),
        ("compare demo --set train.step=3", "--set: train.step is not a key; nearest: steps; allowed: steps"),
        ("compare demo --set train.steps=x", "--set: train.steps: .*integer.*; got 'x'"),
        ("compare demo --set train.steps", "--set takes key.key=value.*; got 'train.steps'"),
        ("compare demo --set baseline=loro", "baseline must be one of base, lora, .*; got 'loro'; nearest: lora"),
        (
            "compare demo --plan --set methods.lora.rr=3",
            "methods.lora: method.rr is not a field of LoraConfig; nearest",
        ),
        ("train --method qpaa", r"--method must be one of base, .* or \{name: ...\}; got 'qpaa'; nearest: qpa"),
        ("train --method {r:4}", r"--method.name is required"),
        ("train --seed -1", "--seed.*greater than or equal to 0"),
        ("train --set data.seed=-1", "data.seed: .*greater than or equal to 0; got -1"),
        ("compare demo --set seeds=[4294967296]", "seeds.0: .*less than 4294967296"),
        ("compare demo --set train.steps=10000000000", "train.steps: .*less than or equal to 1000000000"),
        ("compare demo --set train.learning_rate=.inf", "train.learning_rate: .*finite number"),
        (
            "compare demo --set methods.lora.target_modules=( --plan",
            r"method.target_modules must be .*regular expression",
        ),
        ("compare demo --plan --set methods.lora.target_modules=3", "method.target_modules must be a list of names"),
        ("train --steps 0", "train.steps: .*greater than or equal to 1; got 0"),
        ("train --learning-rate 0", "train.learning_rate: .*greater than 0; got 0"),
        ("preview --layout row", "--layout must be one of rows, packed; got 'row'; nearest: rows"),
        ("preview --loss maskt", "--loss must be one of masked, padded; got 'maskt'; nearest: masked"),
        ("preview --max-length 3", "--max-length.*8"),
        ("eval runs/x --split train", "--split.*train.*valid.*test"),
    ],
)
def test_wrong_usage_says_what_was_wrong(line: str, message: str, ask: Ask) -> None:
    code, out, err = ask(line)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert re.search(message, err), err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("report none", "a folder with records was expected, got none"),
        ("eval none", "a record was expected at none/record.json"),
        ("export none out", "a record was expected at none/record.json"),
        ("preview none.txt", "data.name must be 'embedded', a folder, a file or a hub name; there is no 'none.txt'"),
    ],
)
def test_what_is_not_there_exits_with_1(line: str, message: str, base_folder: Path, ask: Ask) -> None:
    code, out, err = ask(*line.split(), *(["--model", base_folder] if "preview" in line else []))
    assert (code, out) == (1, "")
    assert message in err
