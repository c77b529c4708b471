"""What a user of the plug-in does, in a process that has it on its path: train, ablate, export, report, contracts."""

import json
import sys
from pathlib import Path

import torch

from qpeft.cli import run
from qpeft.registry import plugins

OUT = Path(sys.argv[1])
RECIPE = """
title: lanterns
data: {max_length: 32, train_rows: 16, eval_rows: 8}
train: {steps: 2, batch_size: 2}
eval: {metrics: [confidence], padded: false}
methods:
  qpa:
    {name: qpa, n_mlp: 256, depth: 1, ansatz: lantern, execution: {backend: lamp},
     over: {name: lora, r: 2, target_modules: [q_proj]}}
  glow: {name: glow, strength: 2.0}
"""


def command(*words: str) -> None:
    code = run(list(words))
    assert code == 0, (words, code)


(OUT / "mine.yaml").write_text(RECIPE, encoding="utf-8")
qpa, glow = OUT / "qpa", OUT / "glow"
for place in (qpa, glow):
    command("train", str(OUT / "mine.yaml"), "--method", place.name, "--out", str(place))
record = json.loads((qpa / "record.json").read_text("utf-8"))
assert record["quantum"]["ansatz"] == "lantern"
assert record["quantum"]["entangler"] == "ends"
assert record["quantum"]["backend"] == "lamp"
assert record["quantum"]["backend_details"] == {"lamp": "lit"}
found = {(m["name"], m["split"]): m for m in record["metrics"]}
assert 0 < found["confidence", "test"]["value"] < 100
assert found["confidence", "test"]["signature"] == "confidence|top-1"

command("eval", str(glow))
command("export", str(glow), str(OUT / "exported"))
assert run(["export", str(glow), str(OUT / "merged"), "--merge"]) == 1
card = (OUT / "exported" / "README.md").read_text("utf-8")
assert "| can be merged into the base model | no |" in card, card
assert "`GLOW` is a method of lanterns, a plug-in of qpeft that must be installed" in card, card
assert "import lanterns  # makes the type known to peft" in card, card
command("report", str(OUT))
page = (OUT / "report.html").read_text("utf-8")
assert "Confidence, % (higher is better)" in page
assert 'id="figure-lantern_steps"' in page

from qpeft.records import read_record  # noqa: E402
from qpeft.training.ablate import ablation  # noqa: E402

rows = ablation(read_record(qpa / "record.json"), [0, 1])
assert rows.runs[0].method.options["ansatz"] == "lantern"
assert {run.method.options.get("source") for run in rows.runs[1:]} >= {"frozen", "no_entangler", "hash"}

from lanterns import GlowConfig  # noqa: E402
from lanterns.parts import Lamp  # noqa: E402

from qpeft.data import Row  # noqa: E402
from qpeft.metrics.own import OWN_METRICS  # noqa: E402
from qpeft.testing import check_ansatz, check_backend, check_metric, check_tuner  # noqa: E402
from tiny_models import tiny_llama  # noqa: E402

check_ansatz("lantern")
check_backend(Lamp())
check_metric(OWN_METRICS["confidence"], tiny_llama(), None, [Row(ids=[3, 4, 5], counts=[True] * 3)])
ids = torch.randint(97, (2, 12), generator=torch.Generator().manual_seed(0))
(OUT / "tuner").mkdir()
check_tuner(tiny_llama, GlowConfig(task_type="CAUSAL_LM"), {"input_ids": ids}, OUT / "tuner")
(plugin,) = plugins()
assert not plugin.fault, plugin.fault
assert plugin.added == [
    "method glow",
    "entangler ends",
    "ansatz lantern",
    "backend lamp",
    "metric confidence",
    "report figure lantern_steps",
], plugin.added
print("all of it")
