"""The table of methods and families: its page is its record, its record is what a run gives."""

import json
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from qpeft.training.methods import METHODS
from tiny_families import FAMILIES

SCRIPT = Path(__file__).parents[2] / "scripts" / "families.py"
# What peft and transformers warn about.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def families() -> ModuleType:
    spec = spec_from_file_location("families", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def record(families: ModuleType) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(families.RECORD.read_text("utf-8"))
    return body


def test_the_page_is_what_the_record_says(families: ModuleType, record: dict[str, Any]) -> None:
    assert families.PAGE.read_text("utf-8") == families.page(record)


def test_the_record_covers_every_family_and_method(families: ModuleType, record: dict[str, Any]) -> None:
    assert set(record["cells"]) == set(FAMILIES)
    assert {spec.name for spec in families.METHODS.values()} >= {"lora", "dora", "sora", "ffa", "prefix", "qaa", "qpa"}
    assert {spec.name for spec in families.METHODS.values()} <= set(METHODS)
    for row in record["cells"].values():
        assert list(row) == list(families.METHODS) == list(record["methods"])
        assert all(list(promises) == list(families.PROMISES) for promises in row.values())


def test_qpeft_refuses_but_breaks_nothing(record: dict[str, Any]) -> None:
    answers = [a for row in record["cells"].values() for promises in row.values() for a in promises.values()]
    assert len(answers) > 1500
    ours = [reason for origin, reason in filter(None, answers) if origin == "qpeft"]
    assert [reason for reason in ours if not reason.startswith("ModelError: ")] == []


def test_a_run_gives_the_cells_of_the_record(families: ModuleType, record: dict[str, Any]) -> None:
    """Cells that are cheap: a sublayer without a module of its own, a norm of the heads, faults of peft."""
    makers: dict[str, Callable[[], Any]] = {name: FAMILIES[name] for name in ("opt", "qwen3")}
    methods = ["ffa", "prefix", "qpa over lora"]
    cells = families.run(makers, methods)
    for name in makers:
        assert cells[name] == {method: record["cells"][name][method] for method in methods}
    assert cells["qwen3"]["prefix"]["checkpointing"][0] == "peft"
    assert set(cells["qwen3"]["ffa"].values()) == {None}


def test_a_fault_is_blamed_on_whoever_has_it_alone(families: ModuleType, tmp_path: Path) -> None:
    """Prefix tuning does not start as the base model, in peft as here; a base that cannot be built is nobody's."""
    from qpeft.testing import Trial

    def start(name: str, model: Callable[[], Any]) -> Any:
        return Trial(model, families.METHODS[name], families.batch(), tmp_path, start=families.with_qpeft)

    def without_generate() -> Any:
        model = FAMILIES["llama"]()
        model.generate = None
        return model

    reason = families.tried("start", start("prefix", FAMILIES["llama"]))
    assert families.blame("start", start("prefix", FAMILIES["llama"]), reason)[0] == "peft"
    assert families.blame("start", start("prefix", FAMILIES["llama"]), "another") == ["qpeft", "another"]
    assert families.blame("start", start("ffa", FAMILIES["llama"]), reason)[0] == "qpeft"
    reason = families.tried("generate", start("ffa", without_generate))
    assert families.blame("generate", start("ffa", without_generate), reason)[0] == "transformers"


def test_cells_and_footnotes(families: ModuleType) -> None:
    good: dict[str, list[str] | None] = dict.fromkeys(families.PROMISES)
    notes: list[str] = []
    assert families.cell(good, notes) == "yes"
    assert families.cell({**good, "start": ["peft", "random"], "bf16": ["qpeft", "a | b"]}, notes) == (
        "not start[^1], bf16[^2]"
    )
    assert families.cell({**good, "bf16": ["peft", "random"]}, notes) == "not bf16[^1]"
    assert families.cell({key: ["peft", "crash"] for key in good}, notes) == "no[^3]"
    assert families.cell({key: ["qpeft", "refusal"] for key in good}, notes) == "refused[^4]"
    assert notes == ["*peft*: random", "*qpeft*: a \\| b", "*peft*: crash", "*qpeft*: refusal"]
