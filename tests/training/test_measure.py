"""What a run measures: answers where the spec asks for them and the rows have prompts, and nothing new elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qpeft.cli import run as command_line
from qpeft.data import Encoded, encode_texts, load_texts
from qpeft.errors import ConfigError, DataError, ModelError
from qpeft.metrics.generation import generate_answers
from qpeft.metrics.text import bleu, rouge
from qpeft.records import RunRecord, RunSpec, read_record
from qpeft.records.spec import GenerationSpec
from qpeft.training.measure import SAMPLES, answer_notes, check_answers, measure, measure_answers
from qpeft.training.models import Base, load_base
from qpeft.training.reload import measure_saved, open_run
from qpeft.training.run import train_run

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")
MakeSpec = Callable[..., RunSpec]
ANSWERS = {"max_new_tokens": 6, "batch_size": 3}
SCORED = ["bleu", "rouge1", "rouge2", "rougeL"]
PADDED = ["perplexity_padded", "padded_share_real", "padded_nll_pad"]


@pytest.fixture(scope="session")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of instruction data: prompts that do not count, answers that do."""
    folder = tmp_path_factory.mktemp("instructions")
    for split, count in (("train", 6), ("valid", 2), ("test", 10)):
        lines = [json.dumps({"prompt": f"say {'ab'[i % 2] * i}: ", "completion": f"a {i} b"}) for i in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def make(make_spec: MakeSpec, instructions: Path) -> MakeSpec:
    """A run on instruction data; keywords replace parts of its eval section, ``data`` parts of its data section."""

    def make(data: dict[str, Any] | None = None, purpose: str = "final", **evaluation: Any) -> RunSpec:
        body = {"name": str(instructions), "max_length": 48, **(data or {})}
        return make_spec(data=body, eval=evaluation, purpose=purpose)

    return make


@pytest.fixture(scope="session")
def base(base_folder: Path) -> Base:
    return load_base(str(base_folder))


@pytest.fixture(scope="session")
def trained(make: MakeSpec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRecord]:
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, train_run(make(generation=ANSWERS), folder)


def rows_of(spec: RunSpec, base: Base) -> Encoded:
    return encode_texts(load_texts(spec.data, base.tokenizer), base.tokenizer, spec.data)


def names(metrics: Any, split: str = "test") -> list[str]:
    return [metric.name for metric in metrics if metric.split == split]


def test_nothing_new_is_measured_unasked(make: MakeSpec, base: Base, tmp_path: Path) -> None:
    spec = make()
    metrics, blocks = measure(spec, base.model, base, rows_of(spec, base), tmp_path)
    assert names(metrics, "valid") == ["perplexity"]
    assert names(metrics) == ["perplexity", *PADDED]
    assert [sums.split for sums in blocks] == ["valid", "test"]
    assert list(tmp_path.iterdir()) == []


def test_token_accuracy_alone(make: MakeSpec, base: Base) -> None:
    spec = make(token_accuracy=True, padded=False)
    metrics, _ = measure(spec, base.model, base, rows_of(spec, base))
    assert names(metrics) == names(metrics, "valid") == ["perplexity", "token_accuracy"]
    assert all("scale:0-100" in metric.signature for metric in metrics if metric.name == "token_accuracy")


def test_answers_are_scored_and_some_are_kept(make: MakeSpec, base: Base, tmp_path: Path) -> None:
    spec = make(generation=ANSWERS)
    data = rows_of(spec, base)
    metrics, _ = measure(spec, base.model, base, data, tmp_path)
    assert names(metrics, "valid") == ["perplexity", "token_accuracy"]
    assert names(metrics) == ["perplexity", *PADDED, "token_accuracy", *SCORED]
    assert measure(spec, base.model, base, data, tmp_path)[0] == metrics
    answers = generate_answers(base.model, base.tokenizer, data.test, GenerationSpec(**ANSWERS))
    scores = [bleu(answers.outputs, answers.references), *rouge(answers.outputs, answers.references)]
    found = [metric for metric in metrics if metric.name in SCORED]
    assert [metric.value for metric in found] == [score.value for score in scores]
    for metric, score in zip(found, scores, strict=True):
        assert metric.signature == f"{score.signature}|{answers.signature}"
    kept = json.loads((tmp_path / SAMPLES).read_text("utf-8"))
    assert (kept["split"], kept["signature"], len(kept["samples"])) == ("test", answers.signature, 8)
    assert kept["samples"][3] == {
        "prompt": "say bbb:",
        "reference": "a 3 b",
        "output": answers.outputs[3],
        "ended": answers.ended[3],
    }


def test_tuning_runs_answer_nothing(make: MakeSpec, base: Base, tmp_path: Path) -> None:
    spec = make(generation=ANSWERS, purpose="tune")
    metrics, _ = measure(spec, base.model, base, rows_of(spec, base), tmp_path)
    assert names(metrics, "valid") == ["perplexity", "token_accuracy"]
    assert names(metrics) == []
    assert list(tmp_path.iterdir()) == []


def test_a_saved_run_answers_the_same(trained: tuple[Path, RunRecord]) -> None:
    folder, record = trained
    assert record.spec.eval.generation == GenerationSpec(**ANSWERS)
    wanted = [metric for metric in record.metrics if metric.split == "test"]
    found = measure_saved(folder, data=None, split="test", padded=True, generation=record.spec.eval.generation)
    assert found == wanted
    assert {metric.name for metric in found} >= set(SCORED)
    assert (folder / SAMPLES).exists()
    assert read_record(folder / "record.json") == record
    # Without answers nothing is generated; token accuracy belongs to the pass of perplexity.
    without = measure_saved(folder, data=None, split="test", padded=True)
    assert without == [metric for metric in wanted if metric.name not in SCORED]


def test_the_record_holds_no_text_of_the_data(trained: tuple[Path, RunRecord]) -> None:
    text = (trained[0] / "record.json").read_text("utf-8")
    assert "say b" not in text
    assert "a 3 b" not in text


def test_the_command_line(trained: tuple[Path, RunRecord], capsys: pytest.CaptureFixture[str]) -> None:
    folder, record = trained
    (folder / SAMPLES).unlink(missing_ok=True)
    assert command_line(["eval", str(folder), "--generate"]) == 0
    shown = capsys.readouterr()
    for metric in record.metrics:
        line = f"{metric.split:6} {metric.name:20} {metric.value:12.5f}   {metric.signature}\n"
        assert (line in shown.out) == (metric.split == "test"), metric.name
    assert "BERTScore was left out" in shown.err
    assert str(folder / SAMPLES) in shown.err
    # Flags lie over the run's own settings.
    flags = ["--generate", "--max-new-tokens", "3", "--rows", "2", "--split", "valid", "--token-accuracy"]
    assert command_line(["eval", str(folder), *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["valid", n] for n in ["perplexity", "token_accuracy", *SCORED]]
    assert "texts:2|greedy|max_new_tokens:3|" in lines[-1]
    assert "|batch:3|" in lines[-1]
    kept = json.loads((folder / SAMPLES).read_text("utf-8"))
    assert (kept["split"], len(kept["samples"])) == ("valid", 2)


def test_the_command_line_refuses(
    trained: tuple[Path, RunRecord], texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", str(trained[0])]
    assert command_line([*command, "--rows", "2"]) == 2
    assert "give --generate, too" in capsys.readouterr().err
    assert command_line([*command, "--generate", "--rows", "0"]) == 2
    capsys.readouterr()
    assert command_line([*command, "--generate", "--data", str(texts)]) == 1
    shown = capsys.readouterr()
    assert "Use instruction data in the layout 'rows'" in shown.err
    assert shown.out == ""


def test_an_absent_encoder_is_found_before_anything_is_generated(
    trained: tuple[Path, RunRecord], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bert_score")
    folder = trained[0]
    (folder / SAMPLES).unlink(missing_ok=True)
    monkeypatch.setattr("qpeft.training.measure.generate_answers", lambda *_: pytest.fail("generated"))
    assert command_line(["eval", str(folder), "--generate", "--bertscore-encoder", "./no-such"]) == 1
    assert "eval.generation.bertscore.encoder must be a folder" in capsys.readouterr().err
    assert not (folder / SAMPLES).exists()


def test_what_would_stop_the_answers_is_found_before_training(make: MakeSpec, base: Base, texts: Path) -> None:
    def check(**parts: Any) -> None:
        spec = make(**parts)
        check_answers(spec, base, rows_of(spec, base).test)

    check()
    check(generation=ANSWERS)
    check(data={"name": str(texts), "format": "text"})
    for parts, error, message in (
        ({"data": {"name": str(texts), "format": "text"}}, DataError, "row 1 of 3 has none"),
        ({"data": {"layout": "packed"}}, ConfigError, "answers need data.layout 'rows'.* got 'packed'"),
        ({"generation": {"stop": ["ab"]}}, ConfigError, "must name single tokens"),
        ({"generation": {"max_new_tokens": 128}}, ConfigError, "must leave room for a prompt"),
        ({"generation": {**ANSWERS, "bertscore": {"encoder": "./no-such"}}}, ModelError, "go without BERTScore"),
    ):
        with pytest.raises(error, match=message):
            check(**{"generation": ANSWERS, **parts})
    with pytest.raises(ConfigError, match=r"answers need eval\.generation"):
        measure_answers(make(), base.model, base, [], "test")


def test_what_is_left_out_is_noted() -> None:
    assert answer_notes(None) == []
    assert "BERTScore was left out" in answer_notes(GenerationSpec())[0]
    assert answer_notes(GenerationSpec.model_validate({"bertscore": {"encoder": "x"}})) == []


def test_the_adapter_answers_not_the_base(trained: tuple[Path, RunRecord], base: Base) -> None:
    _, _, adapted = open_run(trained[0])
    rows = rows_of(trained[1].spec, base).test
    written = [
        generate_answers(m, base.tokenizer, rows, GenerationSpec(**ANSWERS)).outputs for m in (adapted, base.model)
    ]
    with adapted.disable_adapter():
        switched_off = generate_answers(adapted, base.tokenizer, rows, GenerationSpec(**ANSWERS)).outputs
    assert written[0] != written[1]
    assert switched_off == written[1]
