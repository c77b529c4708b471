"""The folder of a run: a finished run is not trained again, and one run never passes for another."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from qpeft.errors import RecordError
from qpeft.records import RunSpec
from qpeft.training.run import train_run

MakeSpec = Callable[..., RunSpec]


def test_a_finished_run_is_read_and_another_one_is_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    record = train_run(make_spec(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert train_run(make_spec(), tmp_path) == record
    with pytest.raises(RecordError, match=r"holds another run .*; name another folder, or delete it"):
        train_run(make_spec(train={"steps": 4}), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_checkpoints_of_another_run_are_not_continued(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    begun = make_spec(train={"checkpoint_steps": 1})
    with monkeypatch.context() as patch:
        patch.setattr("qpeft.training.run.measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_run(begun, tmp_path)
    with pytest.raises(RecordError, match="holds another run"):
        train_run(make_spec(train={"checkpoint_steps": 1, "learning_rate": 1.0}), tmp_path)
    assert train_run(begun, tmp_path).identity == begun.identity()


def test_a_run_that_failed_before_its_first_checkpoint_claims_nothing(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("a cable was pulled")

    with monkeypatch.context() as patch:
        patch.setattr("transformers.Trainer.train", full)
        with pytest.raises(RuntimeError, match="cable"):
            train_run(make_spec(), tmp_path)
    smaller = make_spec(train={"batch_size": 1})
    assert train_run(smaller, tmp_path).identity == smaller.identity()
