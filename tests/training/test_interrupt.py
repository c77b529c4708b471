"""SIGINT and SIGTERM: a checkpoint, exit code 130, and the same command ends as if nothing had come."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpeft.cli import run as command_line
from qpeft.records import RunSpec, read_record
from qpeft.training.callbacks import Watch
from qpeft.training.checkpoints import checkpoints, faults
from qpeft.training.interrupt import FINISHING, Interrupt
from qpeft.training.run import train_run

MakeSpec = Callable[..., RunSpec]


def signal_at(step: int, *signals: signal.Signals) -> Callable[..., None]:
    """A Watch whose process gets signals in the middle of a step."""
    before = Watch.on_optimizer_step

    def on_optimizer_step(self: Watch, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        before(self, args, state, control, **kwargs)
        if state.global_step + 1 == step:
            for number in signals:
                os.kill(os.getpid(), number)

    return on_optimizer_step


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_to_go_on_from(
    number: signal.Signals, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(train={"steps": 5, "log_steps": 2})
    whole = train_run(spec, tmp_path / "whole")
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_optimizer_step", signal_at(3, number))
        with pytest.raises(KeyboardInterrupt):
            train_run(spec, tmp_path / "run")
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    (kept,) = checkpoints(tmp_path / "run" / "checkpoints")
    assert (kept.name, faults(kept)) == ("checkpoint-3", [])
    record = train_run(spec, tmp_path / "run")
    assert (record.curve, record.metrics) == (whole.curve, whole.metrics)


def test_a_second_signal_stops_at_once(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Watch, "on_optimizer_step", signal_at(2, signal.SIGINT, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train_run(make_spec(), tmp_path / "run")
    assert not checkpoints(tmp_path / "run" / "checkpoints")
    assert capfd.readouterr().err.count(FINISHING) == 1


def test_where_nobody_looks_a_signal_stops_at_once() -> None:
    with Interrupt() as interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        interrupt.patient = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.asked


def test_what_a_launcher_passes_on_is_no_second_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with Interrupt() as interrupt:
        interrupt.patient = True
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert interrupt.asked


def test_the_command_line_says_where_it_stands(
    base_folder: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    method = "{name: lora, r: 2, target_modules: [q_proj]}"
    words = ["train", "--method", method, "--model", str(base_folder), "--data", str(texts), "--steps", "4"]
    words += ["--set", "data.format=text", "--set", "data.max_length=32", "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_optimizer_step", signal_at(2, signal.SIGINT))
        assert command_line(words) == 130
    error = " ".join(capfd.readouterr().err.split())
    assert "stopped after step 2 of 4; a checkpoint holds them" in error
    assert error.endswith("Interrupted; run the same command again to go on.")
    assert command_line(words) == 0
    assert read_record(tmp_path / "run" / "record.json").train_info.status == "success"
