"""Equal wall-clock: steps from planted step times, decided once, rates as tuned, the schedule planned anew."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpeft.cli import run as command_line
from qpeft.errors import RecordError
from qpeft.records import PLAN, RECORD, Comparison, RunRecord, RunSpec, find_records, read_record, write_record
from qpeft.training import run as running
from qpeft.training.compare import run_comparison
from qpeft.training.equal_time import FOLDER, TimePlan, actual_times, equal_time, run_equal_time, share_of, time_plan
from qpeft.training.run import train_run

MakeSpec = Callable[..., RunSpec]
Plant = Callable[..., list[RunRecord]]
LORA = {"name": "lora", "options": {"r": 2, "target_modules": ["q_proj"]}}
QPA = {"name": "qpa", "options": {"n_mlp": 16, "depth": 2}, "over": LORA}
TRAIN = {"steps": 100, "warmup_steps": 10}


@pytest.fixture(scope="module")
def finished(make_spec: MakeSpec, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A real record to plant numbers in."""
    return train_run(make_spec({"name": "base"}), tmp_path_factory.mktemp("run"))


@pytest.fixture
def plant(finished: RunRecord) -> Plant:
    """Records of these specs with this step time, and this perplexity on validation."""

    def plant(specs: Sequence[RunSpec], step_time: float, perplexity: float = 5.0) -> list[RunRecord]:
        info = finished.train_info.model_copy(update={"step_time_median": step_time})
        metrics = [finished.metrics[0].model_copy(update={"value": perplexity, "split": "valid"})]
        parts: dict[str, Any] = {"train_info": info, "metrics": metrics}
        return [
            finished.model_copy(update={"spec": s, "identity": s.identity(), "seed": s.seed} | parts) for s in specs
        ]

    return plant


@pytest.fixture
def rows(make_spec: MakeSpec) -> Comparison:
    """Four rows, three of which train."""
    named = {"base": {"name": "base"}, "lora": LORA, "qpa": QPA, "dora": {**LORA, "name": "dora"}}
    runs = tuple(make_spec(method, label=label, train=TRAIN) for label, method in named.items())
    return Comparison(name="c", title="t", baseline="lora", runs=runs, seeds=(0, 1, 2))


@pytest.fixture
def records(rows: Comparison, plant: Plant) -> list[RunRecord]:
    """0.1 s a step for lora, 0.25 for qpa, 0.03 for dora; one seed of qpa was disturbed."""
    base, lora, qpa, dora = (rows.final_specs(run, None) for run in rows.runs)
    return [*plant(base[:1], 0.0), *plant(lora, 0.1), *plant(qpa[:2], 0.25), *plant(qpa[2:], 9.0), *plant(dora, 0.03)]


def steps(comparison: Comparison) -> dict[str, int]:
    return {run.label: run.train.steps for run in comparison.runs}


def test_every_method_gets_the_steps_that_fit(rows: Comparison, records: list[RunRecord]) -> None:
    """Ten seconds: 100 steps of 0.1 s, 40 of 0.25 s, 333 of 0.03 s; the base model does not train and stays."""
    found = equal_time(rows, records)
    assert steps(found) == {"base": 100, "lora": 100, "qpa": 40, "dora": 333}
    assert {run.label: run.train.warmup_steps for run in found.runs} == {"base": 10, "lora": 10, "qpa": 4, "dora": 33}
    assert found.runs[:2] == rows.runs[:2], "the baseline and the base model are the runs that are done already"
    assert (found.name, found.baseline, found.seeds) == ("c-equal-time", "lora", rows.seeds)
    assert found.title == "t: equal training time, the 10 s of lora"
    for run, before in zip(found.runs, rows.runs, strict=True):
        same = {"steps": before.train.steps, "warmup_steps": before.train.warmup_steps}
        assert run.model_copy(update={"train": run.train.model_copy(update=same)}) == before


@given(st.floats(1e-4, 1e2), st.floats(1e-4, 1e2), st.integers(1, 10_000))
def test_no_more_and_no_fewer_steps_fit(own: float, reference: float, number: int) -> None:
    run = RunSpec.model_validate({"method": {"name": "lora"}, "label": "x"})
    total = reference * number
    share = share_of(run, own, total)
    assert share.steps == 1 or share.steps * own <= total * (1 + 1e-8)
    assert (share.steps + 1) * own > total * (1 - 1e-8)
    assert share_of(run, reference, total).steps == number


def test_the_learning_rate_is_the_tuned_one(rows: Comparison, plant: Plant) -> None:
    """Final runs at another rate, left from an earlier grid, are not looked at."""
    rows = rows.model_copy(update={"learning_rates": (1e-3, 2e-2), "runs": rows.runs[1:3]})
    lora, qpa = rows.runs
    values = {1e-3: 4.0, 2e-2: 3.0}
    tries = [spec for run in rows.runs for spec in rows.tune_specs(run)]
    tuned = [record for spec in tries for record in plant([spec], 0.1, values[spec.train.learning_rate])]
    finals = [*plant(rows.final_specs(lora, 2e-2), 0.1), *plant(rows.final_specs(qpa, 2e-2), 0.2)]
    other = plant(rows.final_specs(qpa, 1e-3), 5.0)
    found = equal_time(rows, [*tuned, *finals, *other])
    assert steps(found) == {"lora": 100, "qpa": 50}
    assert {run.train.learning_rate for run in found.runs} == {2e-2}
    assert found.learning_rates == ()


def test_a_baseline_that_does_not_train_gives_the_time_of_the_slowest(
    rows: Comparison, records: list[RunRecord]
) -> None:
    plan = time_plan(rows.model_copy(update={"baseline": "base"}), records)
    assert (plan.reference, plan.seconds) == ("qpa", 25.0)
    assert {share.label: share.steps for share in plan.shares} == {"base": 100, "lora": 250, "qpa": 100, "dora": 833}


def test_a_method_without_finished_runs_is_left_out_and_a_baseline_is_needed(
    rows: Comparison, records: list[RunRecord]
) -> None:
    without = [record for record in records if record.spec.label != "qpa"]
    assert list(steps(equal_time(rows, without))) == ["base", "lora", "dora"]
    with pytest.raises(RecordError, match="final run of the baseline 'lora'; finish the comparison"):
        equal_time(rows, [record for record in records if record.spec.label != "lora"])
    alone = rows.model_copy(update={"baseline": "base", "runs": rows.runs[:1]})
    with pytest.raises(RecordError, match="needs a method that trains; c has base"):
        equal_time(alone, records)


def test_what_was_decided_stays_whatever_is_measured_later(
    rows: Comparison, records: list[RunRecord], plant: Plant
) -> None:
    fewer = rows.model_copy(update={"runs": rows.runs[:3]})
    before = time_plan(fewer, records)
    slower = [record for record in records if record.spec.label != "lora"] + plant(
        rows.final_specs(rows.runs[1], None), 0.7
    )
    assert time_plan(fewer, slower, before) == before != time_plan(fewer, slower)
    # A new row is measured against the same time; a changed one, too.
    more = time_plan(rows, slower, before)
    assert (more.seconds, more.shares[:3], more.shares[3].steps) == (before.seconds, before.shares, 333)
    # Another baseline, or another row under its name, is another comparison.
    assert time_plan(rows.model_copy(update={"baseline": "qpa"}), slower, before).reference == "qpa"
    changed = rows.runs[1].model_copy(update={"train": rows.runs[1].train.model_copy(update={"steps": 50})})
    other = rows.model_copy(update={"runs": (rows.runs[0], changed, *rows.runs[2:])})
    assert time_plan(other, [*slower, *plant(other.final_specs(changed, None), 0.1)], before).seconds == 5.0


@pytest.fixture(scope="module")
def comparison(make_spec: MakeSpec) -> Comparison:
    rows = (make_spec({"name": "base"}, label="base"), make_spec(label="lora"), make_spec(QPA, label="qpa"))
    return Comparison(name="c", title="c", baseline="lora", runs=rows, seeds=(0, 1))


def replant(folder: Path, times: dict[str, float]) -> list[RunRecord]:
    """Overwrite the step times of records on disk."""
    for path in folder.glob(f"*/{RECORD}"):
        record = read_record(path)
        info = record.train_info.model_copy(update={"step_time_median": times[record.spec.label]})
        write_record(record.model_copy(update={"train_info": info}), path)
    return find_records(folder)


def test_the_runs_are_made_once_and_found_again(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_comparison(comparison, tmp_path).failures == {}
    records = replant(tmp_path, {"base": 0.0, "lora": 1.0, "qpa": 0.5})
    trained: list[RunSpec] = []

    def noted(spec: RunSpec, *rest: Any) -> Any:
        trained.append(spec)
        return original(spec, *rest)

    original = running.train
    monkeypatch.setattr("qpeft.training.run.train", noted)
    derived, plan, outcome = run_equal_time(comparison, records, tmp_path)
    assert outcome.failures == {}
    assert [(spec.label, spec.seed, spec.train.steps) for spec in trained] == [("qpa", 0, 6), ("qpa", 1, 6)]
    # The schedule falls to zero over the six steps, not over three.
    for record in outcome.records:
        if record.spec.label == "qpa":
            rates = [point.learning_rate for point in record.curve]
            assert rates == pytest.approx([1e-2 * (6 - step) / 6 for step in range(6)])
    # Runs of the ordinary comparison with the same spec were copied, adapter and all.
    before = {record.identity: record for record in records}
    copied = [record for record in outcome.records if record.identity in before]
    assert [(r.spec.label, r.seed) for r in copied] == [("base", 0), ("lora", 0), ("lora", 1)]
    assert all(record == before[record.identity] for record in copied)
    assert (tmp_path / FOLDER / copied[1].spec.folder() / "adapter" / "adapter_model.safetensors").exists()
    # The next time everything measured is another number, and nothing is trained again.
    trained.clear()
    again = run_equal_time(comparison, replant(tmp_path, {"base": 0.0, "lora": 3.0, "qpa": 0.1}), tmp_path)
    assert (again[0], again[1], again[2].records) == (derived, plan, outcome.records)
    assert trained == []
    # Two comparisons, two folders: neither takes the other's runs for its own.
    assert {record.identity for record in find_records(tmp_path)} == set(before)
    assert len(find_records(tmp_path / FOLDER)) == len(outcome.records) == 5


def test_actual_times_stand_beside_the_planned(comparison: Comparison) -> None:
    plan = TimePlan.model_validate(
        {
            "reference": "a",
            "of": "x",
            "seconds": 4.0,
            "shares": [{"label": n, "of": "x", "step_time": 0.1, "steps_before": 3, "steps": 40} for n in "ab"],
        }
    )
    run = [
        SimpleNamespace(spec=SimpleNamespace(label="a"), train_info=SimpleNamespace(train_time=t)) for t in (4.5, 3, 5)
    ]
    assert [(share.label, time) for share, time in actual_times(plan, run)] == [("a", 4.5), ("b", None)]  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"seconds": -1}', b"\xff\xfe"])
def test_a_damaged_plan_is_named(content: bytes, comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / PLAN).write_bytes(content)
    with pytest.raises(
        RecordError, match=r"plan\.json is no plan of an equal-time comparison; delete it to plan anew"
    ):
        run_equal_time(comparison, [], tmp_path)


def test_the_command_line_shows_both_views(
    comparison: Comparison, base_folder: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = {
        "title": "tiny",
        "model": {"name": str(base_folder)},
        "data": {"name": str(texts), "format": "text", "max_length": 32},
        "train": {"steps": 2, "batch_size": 2},
        "seeds": [0],
        "methods": {"base": {"name": "base"}, "lora": {"name": "lora", **LORA["options"]}},  # type: ignore[dict-item]
        "baseline": "lora",
    }
    (tmp_path / "tiny.yaml").write_text(json.dumps(recipe))
    runs, words = tmp_path / "runs", ["compare", str(tmp_path / "tiny.yaml"), "--equal-time"]
    words += ["--out", str(runs)]
    assert command_line([*words, "--plan"]) == 0
    assert "once the runs above are done" in capsys.readouterr().out
    assert not runs.exists()
    assert command_line(words) == 0
    shown = capsys.readouterr().out
    assert "each method got the steps that fit into" in shown
    line = next(row.split() for row in shown.splitlines() if row.startswith("lora  ") and len(row.split()) >= 5)
    assert line[:3] == ["lora", "2", "2"]
    for place, typed in ((runs, "tiny.yaml"), (runs / FOLDER, "--equal-time")):
        assert typed in (place / "report.html").read_text()
        assert (place / "runs.csv").exists()
    assert command_line([*words, "--plan"]) == 0
    assert "lora                 2 steps of" in capsys.readouterr().out
    assert command_line(["report", str(runs)]) == 0, "the two views are not mixed up"
    assert command_line([*words, "--only", "lora"]) == 2
    assert "--equal-time needs the times of every row" in capsys.readouterr().err
