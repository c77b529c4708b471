"""Failure signatures fire where a run fails, in the record and while it runs, and stay silent where it does not."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from qpeft.data import Row
from qpeft.records import Metric
from qpeft.records.signatures import kind_of
from qpeft.training.callbacks import Silent
from qpeft.training.failures import against_base, failure_notes
from qpeft.training.methods import build_method
from qpeft.training.models import load_base
from qpeft.training.run import train_run
from tiny_methods import EXAMPLES


class Told(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def kinds(notes: Any) -> set[str]:
    return {kind for note in notes if (kind := kind_of(note))}


def test_a_run_that_harms_the_model_says_so_in_record_and_terminal(make_spec: Any, tmp_path: Path) -> None:
    told = Told()
    train = {"steps": 12, "learning_rate": 3.0, "log_steps": 1, "scheduler": "constant"}
    spec = make_spec({"name": "qaa", "options": {"preset": "text", "scale": 100.0}}, train=train)
    record = train_run(spec, tmp_path / "run", told)
    assert {"worse than the base model", "drowning"} <= kinds(record.notes)
    assert kinds(told.notes) == kinds(record.notes)
    (foretold,) = [note for note in told.notes if "the first step of Adam at a learning rate of 3 changes" in note]
    assert foretold in record.notes


def test_a_good_run_is_left_in_peace_and_a_tuning_run_is_not_compared(make_spec: Any, tmp_path: Path) -> None:
    method = {"name": "lora", "options": {"r": 4, "target_modules": "all-linear"}}
    train = {"steps": 12, "learning_rate": 1e-2, "log_steps": 1}
    good = train_run(make_spec(method, train=train), tmp_path / "good")
    assert kinds(good.notes) == set()
    bad = make_spec(method, train={**train, "learning_rate": 30.0}, purpose="tune")
    assert "worse than the base model" not in kinds(train_run(bad, tmp_path / "bad").notes)


def test_answers_and_gradients_are_judged(make_spec: Any) -> None:
    spec = make_spec({"name": "lora", "options": {"target_modules": "all-linear"}}, purpose="tune")
    encoder = {"generation": {"max_new_tokens": 4, "bertscore": {"encoder": "x"}}}
    spec = spec.model_validate({**spec.model_dump(), "eval": encoder})
    metrics = [
        Metric(name=name, split="test", value=value, signature="s")
        for name, value in (("bleu", 0.1), ("bertscore_f1", 80.0))
    ]
    history = [{"loss": 3.0 - 0.1 * step, "grad_norm": 1.0 if step < 7 else 50.0} for step in range(9)]
    state = type("State", (), {"log_history": history})
    trained: Any = type("Trained", (), {"trainer": type("Trainer", (), {"state": state})})
    built: Any = type("Built", (), {"model": None, "monitors": lambda self: []})()
    assert kinds(failure_notes(spec, built, None, [], trained, metrics)) == {  # type: ignore[arg-type]
        "meaning without wording",
        "exploding gradient",
    }
    assert failure_notes(spec, built, None, [], None, metrics) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["prefix", "head_prefix", "ffa", "qaa"])
def test_every_kind_of_adapter_is_compared_with_its_own_base(name: str, make_spec: Any) -> None:
    spec = make_spec(EXAMPLES[name])
    base = load_base(spec.model)
    rows = [Row(ids=[5, 6, 7, 8, 9], counts=[True] * 5)] * 3
    alone = against_base(spec, peft.get_peft_model(base.model, peft.LoraConfig(target_modules=["q_proj"])), base, rows)
    base = load_base(spec.model)
    built = build_method(base.model, spec.method, 0)
    with torch.no_grad():
        for _, parameter in built.named_trainable():
            parameter.normal_()
    found = against_base(spec, built.model, base, rows)
    assert alone is not None
    assert found is not None
    assert alone[0] == alone[1] == found[1] != found[0]
