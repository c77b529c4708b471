"""A comparison: tuned on validation, resumed by identity, not stopped by a method that fails."""

import math
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from qpeft.cli import run as command_line
from qpeft.errors import ConfigError
from qpeft.records import RECORD, Comparison, RunSpec, find_records
from qpeft.training import compare, run
from qpeft.training.compare import ComparisonProgress, Outcome, planned, run_comparison, tuned_rate

MakeSpec = Callable[..., RunSpec]
LORA = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
QPA = {"name": "qpa", "options": {"n_mlp": 16, "depth": 2}, "over": {"name": "lora", "options": LORA}}
RATES, SEEDS = (1e-3, 3e-2), (0, 1)


class Count(ComparisonProgress):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.planned = 0
        self.ended: list[tuple[str, str | None]] = []

    def plan(self, runs: int) -> None:
        self.planned = runs

    def end(self, spec: RunSpec, error: str | None) -> None:
        self.ended.append((spec.folder(), error))


@pytest.fixture(scope="module")
def comparison(make_spec: MakeSpec) -> Comparison:
    rows = (make_spec({"name": "base"}, label="base"), make_spec(label="lora"), make_spec(QPA, label="qpa"))
    return Comparison(name="c", title="c", baseline="base", runs=rows, seeds=SEEDS, learning_rates=RATES)


@pytest.fixture(scope="module")
def done(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, Count]:
    """The folder of the finished comparison, its outcome, and what the progress was told."""
    folder, progress = tmp_path_factory.mktemp("runs"), Count()
    return folder, run_comparison(comparison, folder, progress), progress


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.Trainer.train", lambda *_, **__: pytest.fail("a finished run was trained again"))


def test_every_run_of_the_plan_is_done(done: tuple[Path, Outcome, Count], comparison: Comparison) -> None:
    folder, outcome, progress = done
    assert outcome.failures == {}
    # Base once; both others tuned on two rates and run on two seeds.
    kinds = [(r.spec.label, r.spec.purpose, r.seed) for r in outcome.records]
    for label in ("lora", "qpa"):
        assert [kind for kind in kinds if kind[0] == label] == [
            (label, "tune", 1000),
            (label, "tune", 1000),
            (label, "final", 0),
            (label, "final", 1),
        ]
    assert [kind for kind in kinds if kind[0] == "base"] == [("base", "final", 0)]
    assert progress.planned == len(planned(comparison)) == len(outcome.records) == 9
    assert progress.ended == [(record.spec.folder(), None) for record in outcome.records]
    assert {path.name for path in folder.iterdir()} == {record.spec.folder() for record in outcome.records}
    assert not list(folder.rglob("error.txt"))


def test_tuning_never_looks_at_the_test_split(done: tuple[Path, Outcome, Count]) -> None:
    for record in done[1].records:
        wanted = {"valid"} if record.spec.purpose == "tune" else {"valid", "test"}
        assert {metric.split for metric in record.metrics} == wanted
        assert {blocks.split for blocks in record.blocks} == wanted


@pytest.mark.parametrize("label", ["lora", "qpa"])
def test_the_learning_rate_is_the_best_on_validation(label: str, done: tuple[Path, Outcome, Count]) -> None:
    records = [record for record in done[1].records if record.spec.label == label]
    tried = {r.metric("perplexity", "valid"): r.spec.train.learning_rate for r in records if r.spec.purpose == "tune"}
    assert sorted(tried.values()) == sorted(RATES)
    best = tried[min(value for value in tried if value is not None)]
    assert {r.spec.train.learning_rate for r in records if r.spec.purpose == "final"} == {best}


def test_a_rerun_trains_nothing_and_returns_equal_records(
    done: tuple[Path, Outcome, Count], comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outcome, _ = done
    no_training(monkeypatch)
    again = run_comparison(comparison, folder)
    assert again.failures == {}
    assert again.records == outcome.records
    assert sorted(find_records(folder), key=lambda r: r.identity) == sorted(again.records, key=lambda r: r.identity)


def test_only_a_deleted_run_is_done_again(
    done: tuple[Path, Outcome, Count], comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outcome = copytree(done[0], tmp_path / "runs"), done[1]
    lost = outcome.records[-1]
    (folder / lost.spec.folder() / RECORD).unlink()
    trained: list[RunSpec] = []

    def noted(spec: RunSpec, *rest: Any) -> Any:
        trained.append(spec)
        return original(spec, *rest)

    original = run.train
    monkeypatch.setattr("qpeft.training.run.train", noted)
    again = run_comparison(comparison, folder)
    assert trained == [lost.spec]
    assert again.records[:-1] == outcome.records[:-1]
    new = again.records[-1]
    assert (new.metrics, new.blocks, new.curve, new.quantum) == (lost.metrics, lost.blocks, lost.curve, lost.quantum)


def test_one_more_seed_trains_only_its_runs(
    done: tuple[Path, Outcome, Count], comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copytree(done[0], tmp_path / "runs")
    missing: list[str] = []

    def absent(spec: RunSpec, *_: Any) -> None:
        missing.append(f"{spec.label} {spec.seed}")
        raise RuntimeError("not here")

    monkeypatch.setattr("qpeft.training.run.train", absent)
    progress = Count()
    run_comparison(comparison.model_copy(update={"seeds": (0, 1, 2)}), folder, progress)
    assert missing == ["lora 2", "qpa 2"]
    for name, error in progress.ended:
        if error:
            assert (folder / name / "error.txt").read_text().startswith("Traceback")


def test_a_method_that_fails_does_not_stop_the_others(make_spec: MakeSpec, tmp_path: Path) -> None:
    broken = make_spec({"name": "lora", "options": {"target_modules": ["nowhere"]}}, label="broken")
    rows = (broken, make_spec(label="lora"))
    comparison = Comparison(name="c", title="c", baseline="lora", runs=rows, seeds=(0,))
    progress = Count()
    outcome = run_comparison(comparison, tmp_path, progress)
    assert [record.spec.label for record in outcome.records] == ["lora"]
    assert list(outcome.failures) == [broken.folder()]
    assert outcome.failures[broken.folder()].startswith("ModelError: peft cannot put LORA on LlamaForCausalLM: ")
    assert "nowhere" in (tmp_path / broken.folder() / "error.txt").read_text()
    assert [name for name, error in progress.ended if error] == [broken.folder()]
    assert not (tmp_path / broken.folder() / RECORD).exists()


@pytest.mark.parametrize("error", [KeyError("x"), ImportError("y"), AttributeError("z"), MemoryError()])
def test_no_error_of_a_run_stops_the_others(
    error: Exception, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(compare, "train_run", fails)
    comparison = Comparison(name="c", title="c", baseline="row", runs=(make_spec(),), seeds=(0, 1))
    outcome = run_comparison(comparison, tmp_path)
    assert len(outcome.failures) == 2
    kind = "ResourceError" if isinstance(error, MemoryError) else type(error).__name__
    assert all(message.startswith(kind) for message in outcome.failures.values())


def test_an_interrupt_stops_everything(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "train_run", interrupted)
    comparison = Comparison(name="c", title="c", baseline="row", runs=(make_spec(),), seeds=(0,))
    with pytest.raises(KeyboardInterrupt):
        run_comparison(comparison, tmp_path)


def test_success_after_a_failure_removes_the_trace(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec({"name": "base"})
    (tmp_path / spec.folder()).mkdir()
    (tmp_path / spec.folder() / "error.txt").write_text("old")
    run_comparison(Comparison(name="c", title="c", baseline="row", runs=(spec,), seeds=(0,)), tmp_path)
    assert not (tmp_path / spec.folder() / "error.txt").exists()


def test_all_methods_are_checked_before_anything_runs(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "train_run", pytest.fail)
    bad = (make_spec({"name": "loar"}, label="a"), make_spec({"name": "base", "options": {"r": 1}}, label="b"))
    comparison = Comparison(name="c", title="c", baseline="row", runs=(make_spec(), *bad))
    with pytest.raises(ConfigError) as caught:
        run_comparison(comparison, tmp_path)
    first, second = str(caught.value).splitlines()
    assert first.startswith("methods.a: method.name must be one of")
    assert second == "methods.b: method 'base' takes no options; got r"


@pytest.mark.parametrize(
    ("perplexities", "chosen"),
    [
        ({1e-3: 9.0, 1e-2: 5.0, 1e-1: 7.0}, 1e-2),
        ({1e-3: math.nan, 1e-2: 5.0, 1e-1: 4.0}, 1e-1),
        ({1e-3: 6.0, 1e-2: math.inf, 1e-1: math.nan}, 1e-3),
        ({1e-3: 6.0, 1e-2: None, 1e-1: 5.0}, 1e-1),
        ({1e-3: math.inf, 1e-2: math.nan, 1e-1: None}, 1e-3),
        ({1e-3: 5.0, 1e-2: 5.0}, 1e-3),
    ],
)
def test_diverged_and_failed_tuning_runs_are_never_chosen(
    perplexities: dict[float, float | None],
    chosen: float,
    make_spec: MakeSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None stands for a run that failed."""

    def attempt(spec: RunSpec, *_: object) -> Any:
        value = perplexities[spec.train.learning_rate]
        return None if value is None else SimpleNamespace(spec=spec, metric=lambda *_: value)

    monkeypatch.setattr(compare, "attempt", attempt)
    run = make_spec()
    comparison = Comparison(name="c", title="c", baseline="row", runs=(run,), learning_rates=tuple(perplexities))
    assert tuned_rate(comparison, run, tmp_path, Outcome(), ComparisonProgress()) == chosen


def test_the_command_line_reports_failures_and_exits_with_1(
    base_folder: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = {
        "title": "two rows",
        "model": {"name": str(base_folder)},
        "data": {"name": str(texts), "format": "text", "max_length": 32},
        "train": {"steps": 2, "batch_size": 2},
        "seeds": [0],
        "methods": {"broken": {"name": "lora", "target_modules": ["nowhere"]}, "lora": {"name": "lora", **LORA}},
        "baseline": "lora",
    }
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ["compare", str(tmp_path / "two.yaml"), "--out", str(tmp_path / "runs")]
    assert command_line(arguments) == 1
    shown = capsys.readouterr()
    assert "FAILED broken-s0-final-" in shown.err
    assert "ModelError: peft cannot put LORA on LlamaForCausalLM" in shown.err
    assert "lora" in shown.out
    assert (tmp_path / "runs" / "report.html").exists()
    assert (tmp_path / "runs" / "runs.csv").exists()
    assert command_line([*arguments, "--set", "methods.broken.target_modules=[k_proj]"]) == 0
    assert "FAILED" not in capsys.readouterr().err
