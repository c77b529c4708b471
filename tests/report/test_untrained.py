"""Runs that ended at the base model are marked wherever their numbers stand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qpeft.cli import run as command_line
from qpeft.cli.conclusion import conclude
from qpeft.records import MethodSpec, Metric, RunRecord, find_records
from qpeft.report import caveats, summarise
from qpeft.report.untrained import untrained

Make = Callable[..., RunRecord]
BASE = MethodSpec(name="base")
RELEASED = Path(__file__).parents[2] / "results" / "qpa-table2-tiny-released"
NOTE = (
    "Ended where the base model is, so did not train: {}. Its numbers tell about that failure, not about the method."
)


def perplexity(value: float) -> dict[str, list[Metric]]:
    return {"metrics": [Metric(name="perplexity", split="test", value=value, signature="masked, per token")]}


def test_the_seed_that_ended_at_the_base_model_is_named(make: Make) -> None:
    runs = [make("base", BASE, **perplexity(97.274))]
    for label, values in {"lora": (40.0, 41.0, 96.7), "qpa": (90.0, 97.275, 97.4)}.items():
        runs += [make(label, seed=seed, **perplexity(value)) for seed, value in enumerate(values)]
    assert [(run.spec.label, run.seed) for run in untrained(runs)] == [("qpa", 1)]
    assert NOTE.format("qpa (seed 1)") in caveats(runs, summarise(runs))
    # Without the base, on other rows or in another dtype nothing can be said.
    assert not untrained(runs[1:])
    moved = runs[0].meta_info.model_copy(update={"dataset_info": {"rows_sha256": "other"}})
    assert not untrained([runs[0].model_copy(update={"meta_info": moved}), *runs[1:]])


def test_of_the_committed_records_it_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = find_records(RELEASED)
    assert [(run.spec.label, run.seed) for run in untrained(records)] == [("qpa-ffa", 1)]
    conclude(records, tmp_path, "Released", None, [])
    shown = " ".join(capsys.readouterr().out.split())
    assert NOTE.format("qpa-ffa (seed 1)") in shown
    assert "so did not train: qpa-ffa (seed 1)" in (tmp_path / "report.html").read_text("utf-8")
    assert command_line(["papers", "show", "qpa-table2", "--records", str(RELEASED.parent)]) == 0
    assert f"* qpa-table2-tiny-released: {NOTE.format('qpa-ffa (seed 1)')}" in capsys.readouterr().out


def test_runs_of_one_comparison_on_files_that_changed_are_named(make: Make) -> None:
    runs = [make(label, seed=seed) for label in "ab" for seed in range(3)]

    def on(run: RunRecord, **digests: str) -> RunRecord:
        meta = run.meta_info
        data = meta.dataset_info | {"sha256": digests.get("data", "one")}
        base = meta.model_info | {"sha256": digests.get("base", "one")}
        update = {"dataset_info": data, "model_info": base}
        return run.model_copy(update={"meta_info": meta.model_copy(update=update)})

    same = [on(run) for run in runs]
    assert caveats(same, summarise(same)) == []
    mixed = [on(runs[0], data="two"), on(runs[1], base="two"), *same[2:]]
    assert caveats(mixed, summarise(mixed)) == [
        "The files of the data changed between runs: other than most for a (seed 0); "
        "numbers from before and after cannot be compared.",
        "The files of the base model changed between runs: other than most for a (seed 1); "
        "numbers from before and after cannot be compared.",
    ]
