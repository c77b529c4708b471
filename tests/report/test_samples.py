"""Answers side by side: found beside the records, aligned by prompt, escaped, and only where they are asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpeft.cli.conclusion import conclude
from qpeft.errors import RecordError
from qpeft.records import RECORD, RunRecord, find_records, write_record
from qpeft.report import find_samples, write_page
from qpeft.report.samples import Samples, side_by_side

Make = Callable[..., RunRecord]


def body(*outputs: str, prompts: tuple[str, ...] = ("first?", "second?")) -> dict[str, Any]:
    texts = [
        {"prompt": prompt, "reference": f"true {prompt}", "output": output, "ended": output != "long"}
        for prompt, output in zip(prompts, outputs, strict=True)
    ]
    return {"data": "made up", "split": "test", "signature": "greedy", "samples": texts}


@pytest.fixture
def runs(make: Make, tmp_path: Path) -> Path:
    """Two methods of two seeds each, with samples; a tuning run with samples, too."""
    for seed in (1, 0):
        for label in ("a", "b"):
            keep(tmp_path, make(label, seed=seed), body(f"{label}{seed} says <b>hello</b>", "long"))
    keep(tmp_path, make("c", purpose="tune"), body("tuned", "long"))
    return tmp_path


def keep(folder: Path, record: RunRecord, samples: dict[str, Any]) -> None:
    write_record(record, folder / record.spec.folder() / RECORD)
    (folder / record.spec.folder() / "samples.json").write_text(json.dumps(samples), "utf-8")


def test_name_is_the_one_that_runs_write() -> None:
    from qpeft.report.samples import SAMPLES
    from qpeft.training import measure

    assert SAMPLES == measure.SAMPLES


def test_a_file_written_by_a_run_is_read(make: Make, tmp_path: Path) -> None:
    from qpeft.metrics.generation import Answers
    from qpeft.training.measure import keep_samples

    record = make("a")
    write_record(record, tmp_path / RECORD)
    answers = Answers(prompts=["p"], references=["r"], outputs=["o"], ended=[False], signature="greedy")
    keep_samples(answers, record.spec, "test", tmp_path)
    (found,) = side_by_side(find_samples(tmp_path, [record]))
    assert (found.prompt, found.reference) == ("p", "r")
    answer = found.answers[0][1]
    assert answer is not None
    assert (answer.output, answer.ended) == ("o", False)


def test_the_first_seed_of_each_final_label_is_found(runs: Path) -> None:
    found = find_samples(runs, find_records(runs))
    assert list(found) == ["a", "b"]
    assert found["a"].samples[0].output.startswith("a0")


def test_runs_that_are_not_asked_about_are_passed_over(runs: Path, make: Make) -> None:
    assert list(find_samples(runs, [make("b", seed=1)])) == ["b"]
    assert find_samples(runs, [make("z")]) == {}


def test_answers_are_aligned_by_prompt() -> None:
    a = Samples.model_validate(body("a1", "a2"))
    b = Samples.model_validate(body("b2", "b3", prompts=("second?", "third?")))
    rows = side_by_side({"a": a, "b": b})
    assert [row.prompt for row in rows] == ["first?", "second?", "third?"]
    shown = [[answer.output if answer else None for _, answer in row.answers] for row in rows]
    assert shown == [["a1", None], ["a2", "b2"], [None, "b3"]]
    assert len(side_by_side({"a": a, "b": b}, most=1)) == 1


def test_page_shows_them_escaped_and_says_what_was_cut_off(runs: Path) -> None:
    records = find_records(runs)
    conclude(records, runs, "Title", None, [])
    text = (runs / "report.html").read_text("utf-8")
    assert "a0 says &lt;b&gt;hello&lt;/b&gt;" in text
    assert text.count("(cut off)") == 2
    assert "a1 says" not in text
    assert '<th scope="col">Reference</th><th scope="col">a</th><th scope="col">b</th>' in text


def test_page_of_records_alone_holds_no_text_of_the_data(runs: Path, tmp_path: Path) -> None:
    text = write_page(find_records(runs), tmp_path / "x.html", "Title").read_text("utf-8")
    assert "says" not in text
    assert "true first?" not in text


@pytest.mark.parametrize("text", ["", "[]", '{"samples": 1}'])
def test_damaged_samples_are_told(runs: Path, text: str) -> None:
    records = find_records(runs)
    (runs / records[0].spec.folder() / "samples.json").write_text(text, "utf-8")
    with pytest.raises(RecordError, match="delete it to report without them"):
        find_samples(runs, [records[0]])
