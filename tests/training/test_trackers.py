"""Trackers: TensorBoard's own reader finds the numbers of the record; the record does not change; absence is said."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qpeft.cli import run as command_line
from qpeft.errors import ConfigError, MissingExtraError
from qpeft.records import RECORD, Comparison, RunSpec, find_records
from qpeft.training import trackers
from qpeft.training.compare import run_comparison
from qpeft.training.run import train_run
from qpeft.training.trackers import TRACKERS, Trackers, check_trackers

MakeSpec = Callable[..., RunSpec]
QPA = {"name": "qpa", "options": {"n_mlp": 16}, "over": {"name": "lora", "options": {"target_modules": ["q_proj"]}}}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> steps and values of everything below a folder, read by TensorBoard itself."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("method", [None, QPA], ids=["lora", "qpa"])
def test_tensorboard_shows_the_numbers_of_the_record(
    method: dict[str, Any] | None, make_spec: MakeSpec, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    spec = make_spec(method, train={"steps": 4})
    record, plain = train_run(spec, tmp_path / "a", None, ["tensorboard"]), train_run(spec, tmp_path / "b")
    for part in ("identity", "metrics", "blocks", "curve", "quantum", "spec"):
        assert getattr(record, part) == getattr(plain, part), part
    assert (tmp_path / "a" / "adapter" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "b" / "adapter" / "adapter_model.safetensors"
    ).read_bytes()
    found = scalars(tmp_path / "a" / "tensorboard")
    assert found["train/loss"] == [(point.step, pytest.approx(point.loss)) for point in record.curve]
    assert [value for _, value in found["train/learning_rate"]] == pytest.approx(
        [p.learning_rate for p in record.curve]
    )
    assert found["test/perplexity"] == [(4, pytest.approx(record.metric("perplexity")))]
    assert found["eval/perplexity"] == [(4, pytest.approx(record.metric("perplexity", "valid")))]
    assert found["test/perplexity_padded"] == [(4, pytest.approx(record.metric("perplexity_padded")))]
    assert not (tmp_path / "b" / "tensorboard").exists()


def test_every_run_of_a_comparison_has_its_own(make_spec: MakeSpec, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    rows = (make_spec({"name": "base"}, label="base"), make_spec(label="lora"))
    comparison = Comparison(name="c", title="c", baseline="lora", runs=rows, seeds=(0, 1))
    outcome = run_comparison(comparison, tmp_path, None, ("tensorboard",))
    assert outcome.failures == {}
    for record in outcome.records:
        place = tmp_path / record.spec.folder() / "tensorboard"
        trained = record.spec.label != "base"
        assert place.exists() == trained
        if trained:
            assert len(list(place.iterdir())) <= 2, "the run, and its metrics after training"
            assert [step for step, _ in scalars(place)["train/loss"]] == [1, 2, 3]


class Fake:
    """Stands for a tracker's callback and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.names: list[str] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.told.append("begin")
        self.names.append(args.run_name)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        self.told += [key for key in logs if key in ("loss", "train_loss", "test_perplexity")]

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.told.append("end")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    """Every Weights & Biases callback that is made, and a library in which nothing happens but the end."""
    made: list[Fake] = []

    def make() -> Fake:
        made.append(Fake())
        return made[-1]

    monkeypatch.setitem(TRACKERS, "wandb", lambda: True)
    monkeypatch.setitem(trackers.integrations.integration_utils.INTEGRATION_TO_CALLBACK, "wandb", make)
    finish = SimpleNamespace(finish=lambda: made[-1].told.append("finish"))
    monkeypatch.setattr(trackers, "import_module", {"wandb": finish}.__getitem__)
    return made


def test_a_run_is_closed_after_its_metrics(make_spec: MakeSpec, tmp_path: Path, fakes: list[Fake]) -> None:
    spec = make_spec()
    train_run(spec, tmp_path, None, ["wandb"])
    (fake,) = fakes
    assert fake.told == ["begin", "loss", "loss", "loss", "train_loss", "test_perplexity", "end", "finish"]
    assert fake.names == [spec.folder()]
    assert fake.names[0].startswith("row-s0-final-")


def test_a_run_that_fails_is_closed(
    make_spec: MakeSpec, tmp_path: Path, fakes: list[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr("qpeft.training.run.measure", fails)
    with pytest.raises(RuntimeError, match="no room"):
        train_run(make_spec(), tmp_path, None, ["wandb"])
    assert fakes[0].told[-2:] == ["end", "finish"]
    assert "test_perplexity" not in fakes[0].told
    # One that never began has nothing to close.
    monkeypatch.setattr("qpeft.training.run.load_base", fails)
    with pytest.raises(RuntimeError, match="no room"):
        train_run(make_spec(seed=1), tmp_path / "other", None, ["wandb"])
    assert fakes[1].told == []


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_an_absent_tracker_is_named_before_anything_is_done(
    name: str, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKERS, name, lambda: False)
    monkeypatch.setattr("qpeft.training.run.load_base", pytest.fail)
    message = rf"--report-to {name} needs {name}, which is not installed; pip install {name}"
    with pytest.raises(MissingExtraError, match=message):
        train_run(make_spec(), tmp_path / "run", None, [name])
    comparison = Comparison(name="c", title="c", baseline="row", runs=(make_spec(),), seeds=(0,))
    with pytest.raises(MissingExtraError, match=message):
        run_comparison(comparison, tmp_path / "runs", None, [name])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--report-to must be one of .*; got 'tensorbord'; nearest: tensorboard"):
        check_trackers(["tensorbord"])


def test_no_tracker_hears_nothing(tmp_path: Path) -> None:
    with Trackers((), tmp_path) as nobody:
        nobody.finish([])
    assert list(tmp_path.iterdir()) == []


def test_the_flag_of_train_and_compare(
    base_folder: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"title: t\nmodel: {{name: '{base_folder}'}}\ndata: {{name: '{texts}', format: text, max_length: 32}}\n"
        "train: {steps: 2, batch_size: 2}\nseeds: [0]\n"
        "methods: {lora: {name: lora, r: 2, target_modules: [q_proj]}}\n"
    )
    one, many = tmp_path / "one", tmp_path / "many"
    train = ["train", str(path), "--method", "lora", "--out", str(one)]
    assert command_line([*train, "--report-to", "tensorboard,tensorbord"]) == 2
    assert "nearest: tensorboard" in capsys.readouterr().err
    assert command_line([*train, "--report-to", "tensorboard"]) == 0
    assert command_line(["compare", str(path), "--out", str(many), "--report_to", "tensorboard"]) == 0
    (run,) = many.glob(f"*/{RECORD}")
    for place in (one, run.parent):
        assert "test/perplexity" in scalars(place / "tensorboard")
    # Not part of the identity: the same run without a tracker is found.
    found = find_records(many)[0]
    assert train_run(found.spec, run.parent) == found
