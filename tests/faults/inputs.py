"""What the fuzzer tries: the valid inputs of every kind, how they are changed, and which exit codes are right."""

import csv
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import mutate

Work = list[str] | Callable[[], None]


@dataclass(frozen=True)
class Fixtures:
    """Valid inputs that are made once: a tiny base, texts, a recipe, finished runs of two methods."""

    base: Path
    texts: Path
    recipe: Path
    runs: Path


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        make: From random numbers, a folder and the fixtures to a command line, or to a call.
        share: How often, relative to the others.
        codes: The exit codes that can be right.
    """

    make: Callable[[random.Random, Path, Fixtures], Work]
    share: int
    codes: tuple[int, ...]


def prepare(folder: Path) -> Fixtures:
    """Make the valid inputs, with two finished runs."""
    from tests.tiny_models import save_tiny_base, save_tiny_texts

    from qpeft.cli import run

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base, texts = save_tiny_base(folder / "base"), save_tiny_texts(folder / "texts")
    recipe = folder / "tiny.yaml"
    recipe.write_text(
        f"title: tiny\nmodel: {{name: '{base}'}}\ndata: {{name: '{texts}', format: text, max_length: 32}}\n"
        "train: {steps: 1, batch_size: 2}\nseeds: [0]\nmethods:\n  base: {name: base}\n"
        "  lora: {name: lora, r: 2, target_modules: [q_proj]}\n"
        "  qpa: {name: qpa, n_mlp: 32, depth: 1, widths: [4], over: {name: lora, r: 2, target_modules: [q_proj]}}\n"
        "  qaa: {name: qaa, target_modules: [o_proj]}\n",
        "utf-8",
    )
    for method in ("lora", "qpa"):
        assert run(["train", str(recipe), "--method", method, "--out", str(folder / "runs" / method)]) == 0
    return Fixtures(base, texts, recipe, folder / "runs")


def shown(work: Work) -> str:
    """An input as a person can try it again."""
    return " ".join(work) if isinstance(work, list) else f"call {getattr(work, 'about', work.__qualname__)}"


def recipes(rng: random.Random, place: Path, fixtures: Fixtures) -> Work:
    """A changed recipe or study, planned; nothing is trained."""
    from qpeft.recipes import packaged, packaged_studies

    study = rng.random() < 0.2
    sources = list((packaged_studies() if study else packaged()).values())
    source = fixtures.recipe if not study and rng.random() < 0.4 else rng.choice(sources)
    path = place / "mine.yaml"
    path.write_text(mutate.text(rng, source.read_text("utf-8")), "utf-8", errors="surrogateescape")
    if rng.random() < 0.1:
        mutate.damage(rng, path)
    if source == fixtures.recipe and rng.random() < 0.15:
        last = ["--set", "train.gradient_accumulation=1", "--set", "eval.stride=1000", "--steps", "1"]
        method = ["--method", rng.choice(("lora", "qaa"))]
        return ["train", str(path), *method, "--model", str(fixtures.base), *last, "--out", str(place / "run")]
    return ["study", str(path), "--plan"] if study else ["compare", str(path), "--plan"]


def word(rng: random.Random) -> str:
    """An odd value as it is typed."""
    if rng.random() < 0.4:
        return rng.choice(mutate.YAML_WORDS).replace("\0", "")
    value = rng.choice(mutate.ODD)
    return value if isinstance(value, str) else json.dumps(value)


def keys() -> list[str]:
    """Every key that a recipe has, and some that it has not."""
    from qpeft.recipes.recipe import SECTIONS

    inner = [f"{name}.{key}" for name, section in SECTIONS.items() for key in section.model_fields]
    options = ("r", "lora_alpha", "lora_dropout", "target_modules", "bias", "use_dora", "rank_pattern", "use_rslora")
    options += ("init_lora_weights", "layers_to_transform", "modules_to_save", "exclude_modules", "layers_pattern")
    qpa = ("n_mlp", "depth", "widths", "ansatz", "source", "scale", "seed", "n_generators", "over", "over.r", "preset")
    qaa = ("target_modules", "placement", "layers", "depth", "entangler", "n_qubits", "seed", "source")
    rows = [f"methods.lora.{key}" for key in options] + [f"methods.qpa.{key}" for key in qpa]
    rows += [f"methods.qaa.{key}" for key in qaa] + [f"methods.lora.train.{key}" for key in ("steps", "batch_size")]
    top = ["title", "seeds", "learning_rates", "baseline", "methods", "methods.lora", "extends", "x", "a.b", "paper"]
    return [*inner, *inner, *rows, *top, "eval.generation.rows", "eval.generation.bertscore.layer", "methods.new"]


def settings(rng: random.Random, place: Path, fixtures: Fixtures) -> Work:
    """Odd values of settings and flags; one in six is really trained."""
    given = [f"{rng.choice(keys())}={word(rng)}" for _ in range(rng.choice((1, 1, 1, 2)))]
    flags = [text for setting in given for text in ("--set", setting)]
    if rng.random() < 0.5:
        return ["compare", str(fixtures.recipe), "--plan", *flags]
    if rng.random() < 0.35:
        return ["draw", f"--{rng.choice(('qubits', 'depth', 'numbers', 'n-mlp', 'ansatz', 'format'))}", word(rng),
                *rng.choice(([], ["--n-mlp", "8"], ["--depth", "100000"], ["--format", "qasm"]))]  # fmt: skip
    if rng.random() < 0.2:
        flags = [f"--{rng.choice(('seed', 'steps', 'learning-rate', 'model', 'data', 'method'))}", word(rng)]
    where = out(rng, place) if rng.random() < 0.3 else place / "run"
    # What is given last wins: no input may train for hours.
    short = ["--set", "train.steps=1", "--set", "train.gradient_accumulation=1"]
    method = ["--method", rng.choice(("lora", "qpa", "qaa"))]
    return ["train", str(fixtures.recipe), *method, *flags, *short, "--steps", "1", "--out", str(where)]


def out(rng: random.Random, place: Path) -> Path:
    """A folder to write that is none."""
    (place / "file").write_text("x", "utf-8")
    (place / "loop").symlink_to("loop")
    (place / "nowhere").symlink_to("gone")
    names = ("file", "file/below", "loop", "loop/below", "nowhere", "n" * 300, "/".join(["n" * 200] * 30), "é" * 128)
    return rng.choice([*(place / name for name in names), Path("/proc/none"), Path("/dev/null"), Path("/dev/null/x")])


def backends(rng: random.Random, place: Path, fixtures: Fixtures) -> Work:
    """A backend or gradient with odd options, opened, and asked where it opens."""
    from qpeft.quantum.catalogue import BACKENDS

    name = rng.choice([*BACKENDS, "exact", "sampled", "noisy", "x"])
    options = list(BACKENDS[name].options) if name in BACKENDS else ["shots"]
    good = {"shots": "20x", "device": rng.choice(("torino", "fake_torino", "default.qubit")), "readout": "0.02"}
    parts = []
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        key = rng.choice([*options, *good, "x"]) if rng.random() < 0.95 else word(rng)
        if key != "journal":
            parts.append(f"{key}={good[key] if key in good and rng.random() < 0.5 else word(rng)}")
    text = ":".join(part for part in (name, ",".join(parts)) if part)
    ways = ("auto", "shift", "shift:coordinates=2", "spsa:samples=1", "nelder-mead", "none", "surrogate:refresh=2")
    way = (
        rng.choice(ways)
        if rng.random() < 0.7
        else f"{rng.choice(ways)}:{rng.choice(('samples', 'x', 'step'))}={word(rng)}"
    )
    if rng.random() < 0.3:
        return ["estimate", str(fixtures.recipe), "--backend", text, "--gradient", way]

    def evaluate() -> None:
        import torch

        from qpeft.circuits import build_ansatz
        from qpeft.quantum import Execution
        from qpeft.quantum.execution import Executor

        # Qiskit takes seconds to transpile; that it opens is enough.
        opened = Execution.open(text, way)
        if name not in ("ibm", "aer"):
            found = Executor(build_ansatz("ry_cnot", 2, 1), opened)(torch.tensor([0.3, 0.4], requires_grad=True))
            assert found.shape == (4,)
            assert abs(found.sum().item() - 1) < 1e-3, found

    evaluate.about = f"Execution.open({text!r}, {way!r})"  # type: ignore[attr-defined]
    return evaluate


ROWS: tuple[Any, ...] = (
    {"instruction": "say a", "input": "", "output": "a b c"},
    {"messages": [{"role": "user", "content": "say a"}, {"role": "assistant", "content": "a b c"}]},
    {"conversations": [{"from": "human", "value": "say a"}, {"from": "gpt", "value": "a b c"}]},
    {"prompt": "say a", "completion": "a b c"},
    {"text": "a line of text that is long enough"},
)


def data(rng: random.Random, place: Path, fixtures: Fixtures) -> Work:
    """A damaged data file of any suffix, shown as tokens."""
    suffix = rng.choice(
        (".jsonl", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".ndjson", ".tokens", ".raw")
    )
    path, row = place / f"mine{suffix}", json.dumps(rng.choice(ROWS))
    whole = [json.loads(row.replace(" a", f" {letter}")) for letter in "abcdefghijkl"]
    share = rng.choice((0.0, 0.1, 0.3))
    rows = [mutate.tree(rng, each) if rng.random() < share else each for each in whole]
    if suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(whole), path)
    elif suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t" if suffix == ".tsv" else ",")
            writer.writerow(list(whole[0]))
            cells = [list(each.values()) if isinstance(each, dict) else [each] for each in rows]
            writer.writerows(
                [[cell if isinstance(cell, str) else json.dumps(cell) for cell in line] for line in cells]
            )
    else:
        body = json.dumps(rows) if suffix == ".json" else "\n".join(json.dumps(each) for each in rows)
        path.write_text(body, "utf-8")
    if rng.random() < 0.5:
        mutate.damage(rng, path)
    layout = rng.choice(([], ["--layout", "packed"]))
    return ["preview", str(path), "--model", str(fixtures.base), "--rows", "2", *layout]


def runs(rng: random.Random, place: Path, fixtures: Fixtures) -> Work:
    """A damaged folder of a finished run, used in every way."""
    method = rng.choice(("lora", "qpa"))
    run = place / "runs" / method
    shutil.copytree(fixtures.runs / method, run)
    files = [path for path in run.rglob("*") if path.is_file()]
    mutate.damage(rng, run / "record.json" if rng.random() < 0.6 else rng.choice(files))
    return rng.choice((
        ["report", str(place / "runs")],
        ["report", str(place / "runs"), "--figures", str(place / "figures"), "--format", "csv"],
        ["eval", str(run)],
        ["export", str(run), str(place / "exported")],
        ["ablate", str(run), "--plan"],
        ["train", str(fixtures.recipe), "--method", method, "--out", str(run)],
    ))  # fmt: skip


def adapters(rng: random.Random, place: Path, fixtures: Fixtures) -> Work:
    """A damaged adapter or base, measured or exported."""
    method = rng.choice(("lora", "qpa"))
    run, base = place / "runs" / method, place / "base"
    shutil.copytree(fixtures.runs / method, run)
    if rng.random() < 0.35:
        shutil.copytree(fixtures.base, base)
        mutate.damage(rng, rng.choice([path for path in base.iterdir() if path.is_file()]))
        return ["preview", str(fixtures.texts / "train.txt"), "--model", str(base)] if rng.random() < 0.3 else [
            "train", str(fixtures.recipe), "--method", method, "--model", str(base), "--steps", "1",
            "--out", str(place / "run"),
        ]  # fmt: skip
    mutate.damage(rng, rng.choice([path for path in (run / "adapter").iterdir() if path.is_file()]))
    return rng.choice((
        ["eval", str(run)],
        ["export", str(run), str(place / "exported")],
        ["export", str(run), str(place / "exported"), "--merge"],
    ))  # fmt: skip


def journals(rng: random.Random, place: Path, fixtures: Fixtures) -> Work:
    """A damaged journal of jobs, asked for its job again; what it gives is right or refused."""
    from qpeft.quantum.backends.desk import Desk, Job, Outcome, Patience, Prepared
    from qpeft.quantum.backends.journal import Budget, Estimate, Journal

    class Service:
        def submit(self, request: Any, tag: str, max_seconds: float | None) -> str:
            return "id0"

        def find(self, tag: str) -> str | None:
            return "id0"

        def result(self, job_id: str, timeout: float | None) -> Outcome:
            return Outcome([[3, 1], [0, 4]], 1.0)

    job = Job("k", lambda: Prepared("request", Estimate(2, 8, 1.5), {"device": "toy"}))

    def collect() -> list[list[int]]:
        budget = Budget(max_shots=100, max_seconds=100.0)
        return Desk(Journal(place / "journal"), budget, Patience(retries=0)).collect(Service(), job)

    collect()
    for _ in range(rng.choice((1, 1, 2))):
        files = [path for path in (place / "journal").glob("*.json") if path.is_file()]
        mutate.damage(rng, rng.choice(files))

    def again() -> None:
        for row in collect():
            assert all(type(count) is int and count >= 0 for count in row), row
        assert Journal(place / "journal").spent().seconds >= 0

    return again


KINDS: dict[str, Kind] = {
    "recipe": Kind(recipes, 25, (0, 1, 2)),
    "setting": Kind(settings, 22, (0, 1, 2)),
    "backend": Kind(backends, 15, (0, 1, 2)),
    "data": Kind(data, 15, (0, 1)),
    "run": Kind(runs, 8, (0, 1, 2)),
    "adapter": Kind(adapters, 5, (0, 1)),
    "journal": Kind(journals, 10, (0, 1)),
}
