"""lm-evaluation-harness on finished runs: offline, against our own perplexity, and refused where it is not there."""

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from qpeft.data import Row
from qpeft.errors import ConfigError, DataError, MissingExtraError, RecordError
from qpeft.metrics.perplexity import measure_perplexity
from qpeft.records import RunSpec
from qpeft.training.harness import metrics_of, run_tasks
from qpeft.training.reload import open_run
from qpeft.training.run import train_run
from tiny_families import tiny_family
from tiny_models import save_tiny_base

MakeSpec = Callable[..., RunSpec]
TEXTS = ["The ship lies at the north quay.", "A cargo of salt\ncame in  May."]
# What simple_evaluate of lm-eval 0.4.13 gave for two tasks of three rows, limit 2; other keys left out.
RECORDED: dict[str, Any] = {
    "results": {
        "harbour": {
            "name": "harbour",
            "alias": "harbour",
            "sample_len": 2,
            "word_perplexity,none": 17340.369192807208,
            "word_perplexity_stderr,none": "N/A",
            "bits_per_byte,none": 3.152652312262761,
            "bits_per_byte_stderr,none": "N/A",
        },
        "pick": {"name": "pick", "alias": "pick", "sample_len": 2, "acc,none": 1.0, "acc_stderr,none": 0.0},
    },
    "versions": {"harbour": 1.0, "pick": 1.0},
    "n-shot": {"harbour": 0, "pick": 0},
    "n-samples": {"harbour": {"original": 3, "effective": 2}, "pick": {"original": 3, "effective": 2}},
}


@pytest.fixture
def lm_eval() -> Any:
    """The library; tests that need it are skipped without."""
    return pytest.importorskip("lm_eval")


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a perplexity and a multiple choice on two local texts."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "texts.jsonl")}},
        "test_split": "test",
        "metadata": {"version": 1.0},
    }
    rolling = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}"}
    choice = {
        "output_type": "multiple_choice",
        "doc_to_text": "The",
        "doc_to_choice": ["ship", "zq"],
        "doc_to_target": 0,
    }
    measures = ["word_perplexity", "byte_perplexity", "bits_per_byte"]
    wanted = [
        {"metric": m, "aggregation": a, "higher_is_better": False}
        for m, a in zip(measures, ["weighted_perplexity", "weighted_perplexity", "bits_per_byte"], strict=True)
    ]
    accuracy = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    for name, body, metrics in (("harbour", rolling, wanted), ("pick", choice, accuracy)):
        task = {"task": name, **common, **body, "metric_list": metrics}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task), "utf-8")
    return folder


def nll(folder: Path) -> tuple[float, int]:
    """Our loss of the texts, each after the end token and without one at its end, and the number of tokens."""
    _, base, adapted = open_run(folder)
    tokenizer, end = base.tokenizer, base.tokenizer.eos_token_id
    ids = [[end, *tokenizer(text)["input_ids"]] for text in TEXTS]
    rows = [Row(ids=row, counts=[True] * len(row)) for row in ids]
    model = base.model if adapted is None else adapted
    found = measure_perplexity(model, rows, pad_id=end, eos_id=end, max_length=128, padded=False)
    assert found.masked == pytest.approx(math.exp(found.nll / found.tokens))
    return found.nll, found.tokens


METHODS: dict[str, dict[str, Any]] = {
    "base": {"name": "base"},
    "full": {"name": "full"},
    "lora": {"name": "lora", "options": {"r": 2, "target_modules": ["q_proj"]}},
    "qaa": {"name": "qaa", "options": {"init_weights": False}},
    "prefix": {"name": "prefix", "options": {"num_virtual_tokens": 4}},
}


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.usefixtures("lm_eval")
def test_its_perplexities_are_ours_by_another_count(
    method: str, tasks: Path, make_spec: MakeSpec, tmp_path: Path
) -> None:
    """exp(nll / words) and exp(nll / bytes) with the same nll as exp(nll / tokens)."""
    train_run(make_spec(METHODS[method], train={"learning_rate": 0.1}), tmp_path / "run")
    metrics = run_tasks(tmp_path / "run", ["harbour"], include=tasks)
    values = {metric.name: metric.value for metric in metrics}
    loss, tokens = nll(tmp_path / "run")
    words, size = sum(len(re.split(r"\s+", text)) for text in TEXTS), sum(len(text.encode()) for text in TEXTS)
    assert values["harbour/word_perplexity"] == pytest.approx(math.exp(loss / words), rel=1e-4)
    assert values["harbour/byte_perplexity"] == pytest.approx(math.exp(loss / size), rel=1e-4)
    assert values["harbour/bits_per_byte"] == pytest.approx(loss / size / math.log(2), rel=1e-4)
    assert tokens == size, "the tiny tokenizer has one token a byte"


@pytest.mark.usefixtures("lm_eval")
def test_an_untied_head_stays_untied(tasks: Path, tmp_path: Path, texts: Path) -> None:
    """The harness ties weights again as it takes a model over."""
    folder = save_tiny_base(tmp_path / "base", tiny_family("gpt2", vocab_size=257, n_positions=128, pad_token_id=0))
    body = {
        "label": "head",
        "model": {"name": str(folder)},
        "method": {"name": "lora", "options": {"r": 2, "target_modules": ["lm_head"]}},
        "data": {"name": str(texts), "format": "text", "max_length": 32},
        "train": {"steps": 3, "batch_size": 2, "learning_rate": 0.1},
    }
    train_run(RunSpec.model_validate(body), tmp_path / "run")
    loss, _ = nll(tmp_path / "run")
    bits = run_tasks(tmp_path / "run", [str(tasks / "harbour.yaml")])[-1].value
    assert bits == pytest.approx(loss / sum(len(text.encode()) for text in TEXTS) / math.log(2), rel=1e-4)


@pytest.mark.usefixtures("lm_eval")
def test_several_tasks_and_a_limit(tasks: Path, make_spec: MakeSpec, tmp_path: Path) -> None:
    train_run(make_spec(METHODS["base"]), tmp_path / "run")
    metrics = run_tasks(tmp_path / "run", ["harbour", "pick"], limit=1, include=tasks)
    accuracy = next(metric for metric in metrics if metric.name == "pick/acc")
    assert accuracy.value in (0, 1)
    assert re.fullmatch(r"lm-eval [\d.]+\|task:pick v1.0\|shots:0\|rows:1 of 2\|filter:none", accuracy.signature)
    again = run_tasks(tmp_path / "run", ["harbour", "pick"], limit=1, include=tasks)
    assert metrics == again


@pytest.mark.usefixtures("lm_eval")
def test_what_cannot_be_run(tasks: Path, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_run(make_spec(METHODS["base"]), tmp_path / "run")
    manager = sys.modules["lm_eval.tasks"] if "lm_eval.tasks" in sys.modules else pytest.importorskip("lm_eval.tasks")
    real = manager.TaskManager
    # The harness's own tasks are 15,000 files.
    monkeypatch.setattr(
        manager,
        "TaskManager",
        lambda include_path=None, include_defaults=True: real(include_path=include_path, include_defaults=False),
    )
    with pytest.raises(ConfigError, match=r"got 'harbor'; nearest: harbour; `lm-eval ls tasks`"):
        run_tasks(tmp_path / "run", ["harbor"], include=tasks)
    with pytest.raises(ConfigError, match="no folder"):
        run_tasks(tmp_path / "run", ["harbour"], include=tasks / "none")
    for none in ([], [""]):
        with pytest.raises(ConfigError, match="at least one task"):
            run_tasks(tmp_path / "run", none, include=tasks)
    (tasks / "texts.jsonl").unlink()
    with pytest.raises(DataError, match="the data of harbour must be local, cached or within reach"):
        run_tasks(tmp_path / "run", ["harbour"], include=tasks)


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="a record was expected"):
        run_tasks(tmp_path, ["harbour"])


def test_without_the_library(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_run(make_spec(METHODS["base"]), tmp_path / "run")
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qpeft\[lm-eval\]'"):
        run_tasks(tmp_path / "run", ["harbour"])


def test_results_become_metrics() -> None:
    metrics = metrics_of(RECORDED, "0.4.13")
    assert [(metric.name, metric.value) for metric in metrics] == [
        ("harbour/word_perplexity", 17340.369192807208),
        ("harbour/bits_per_byte", 3.152652312262761),
        ("pick/acc", 1.0),
        ("pick/acc_stderr", 0.0),
    ]
    assert metrics[0].signature == "lm-eval 0.4.13|task:harbour v1.0|shots:0|rows:2 of 3|filter:none"
    group = {"results": {"all": {"alias": "all", "acc,none": 0.25}}, "versions": {}, "n-shot": {}, "n-samples": {}}
    assert metrics_of(group, "0.4.13")[0].signature == "lm-eval 0.4.13|task:all|filter:none"
