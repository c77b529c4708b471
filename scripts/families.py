"""Try every method on a tiny random model of every family, and write the table of what holds.

python scripts/families.py            # minutes: writes results/families.json and docs/families.md
python scripts/families.py --page     # only writes the page from the record
python scripts/families.py --check    # only compares the page with the record
"""

import argparse
import json
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qpeft.records import MethodSpec, TrainSpec, write_atomically

ROOT = Path(__file__).parents[1]
RECORD, PAGE = ROOT / "results" / "families.json", ROOT / "docs" / "families.md"
# The batch holds no images.
LINEAR = {"r": 4, "target_modules": "all-linear", "exclude_modules": r".*vision_tower.*"}
LORA = MethodSpec(name="lora", options=LINEAR)
# What users write in a recipe; sizes fit models of width 32.
METHODS: dict[str, MethodSpec] = {
    "lora": LORA,
    "dora": MethodSpec(name="dora", options=LINEAR),
    "sora": MethodSpec(name="sora", options=LINEAR),
    "ffa": MethodSpec(name="ffa"),
    "head_prefix": MethodSpec(name="head_prefix", options={"num_positions": 32}),
    "prefix": MethodSpec(name="prefix", options={"num_virtual_tokens": 4}),
    "qaa": MethodSpec(name="qaa"),
    "qpa over lora": MethodSpec(name="qpa", options={"n_mlp": 16}, over=LORA),
}
# Word of the table -> part of the contract in qpeft.testing, and what it promises.
PROMISES: dict[str, tuple[str, str]] = {
    "start": ("identity", "before training the logits are bit for bit those of the base model"),
    "training": ("training", "the loss falls, a gradient reaches every trained tensor, the base model stays as it is"),
    "reload": ("saving", "a fresh process loads the saved adapter and computes bit for bit the same"),
    "generate": ("generation", "greedy `generate` with the cache and left padding gives what whole rows alone give"),
    "checkpointing": ("checkpointing", "gradient checkpointing, reentrant or not, leaves every gradient as it is"),
    "bf16": ("bfloat16", "on a bfloat16 base and under bfloat16 autocast: the same start, and the loss falls"),
}
HEAD = """# Methods and model families

Every method on a tiny random model (two layers, width 32) of every family of which qpeft knows the sites. **yes**
means that all six promises hold:

{promises}

Otherwise the cell names the promises that do not hold, with the reason below; **refused** and **no** mean that all
six fail for one reason, as a clear refusal of qpeft or otherwise. A reason that begins with *peft* or *transformers*
is the same without qpeft: with the adapter in peft alone, or with the base model alone. Of {count:,} answers
{held:,} are yes, {broken:,} are not, {ours:,} of them by qpeft itself. `python scripts/families.py` writes this page;
`qpeft.testing.check_tuner` tries more promises on a method of your own.

"""
Start = Callable[[Any, Any], tuple[Any, Any]]


def with_qpeft(base: Any, spec: MethodSpec) -> tuple[Any, Any]:
    """Model and optimizer as a run of qpeft builds them."""
    from qpeft.testing.trial import LEARNING_RATE
    from qpeft.training.methods import build_method

    built = build_method(base, spec, seed=0)
    kind, options = built.optimizer(TrainSpec(learning_rate=LEARNING_RATE))
    parameters = {"params": [parameter for _, parameter in built.named_trainable()]}
    return built.model, kind(**{**parameters, **options})


def with_peft(base: Any, spec: MethodSpec) -> tuple[Any, Any]:
    """Model and optimizer of the same adapter by peft and torch alone."""
    from qpeft.testing.trial import attach
    from qpeft.training.methods import peft_config

    return attach(base, peft_config(spec.over or spec))


def with_nothing(base: Any, spec: MethodSpec) -> tuple[Any, Any]:
    """The base model itself, trained as a whole."""
    from qpeft.testing.trial import adamw

    return base, adamw(base)


# Who could be at fault where a promise does not hold; the last one who breaks it for the same reason is named.
ORIGINS: dict[str, Start] = {"peft": with_peft, "transformers": with_nothing}


def origins(promise: str, spec: MethodSpec) -> list[str]:
    """Who else is tried: peft where the adapter is one of its own, the bare model where a promise needs no adapter."""
    from qpeft.method import of_kind
    from qpeft.training.methods import peft_config

    foreign = bool(of_kind(peft_config(spec.over or spec).peft_type.value).provider)
    bare = promise in ("generate", "checkpointing", "bf16")
    return [name for name in ORIGINS if (bare if name == "transformers" else not foreign)]


def batch() -> dict[str, Any]:
    """Two rows of tokens, the second padded on the left."""
    import torch

    ids = torch.randint(2, 97, (2, 12), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def run(families: dict[str, Callable[[], Any]], methods: Sequence[str]) -> dict[str, Any]:
    """Family -> method -> promise -> None where it holds, else origin and reason."""
    from qpeft.testing.trial import Trial

    with tempfile.TemporaryDirectory() as name:
        folder, rows, trials = Path(name), batch(), {}
        for family, make in families.items():
            for method in methods:
                place = folder / f"{family}-{methods.index(method)}"
                trials[family, method] = Trial(make, METHODS[method], rows, place, start=with_qpeft)
        cells: dict[str, Any] = {family: {method: {} for method in methods} for family in families}
        reloaded = reload(trials, folder / "fresh")
        for number, ((family, method), trial) in enumerate(trials.items()):
            print(f"\r{number + 1}/{len(trials)} {family} {method}".ljust(60), end="", file=sys.stderr, flush=True)
            for promise in PROMISES:
                reason = reloaded[family, method] if promise == "reload" else tried(promise, trial)
                cells[family][method][promise] = reason and blame(promise, trial, reason)
    print(file=sys.stderr)
    return cells


def tried(promise: str, trial: Any) -> str | None:
    """Why a promise does not hold for a trial, or None."""
    from qpeft.testing.promises import broken
    from qpeft.testing.tuner import PARTS

    if promise == "reload":
        return reload({("", ""): trial}, trial.folder / "fresh")["", ""]
    return broken(PARTS[PROMISES[promise][0]], trial)


def reload(trials: dict[tuple[str, str], Any], folder: Path) -> dict[tuple[str, str], str | None]:
    """The promise ``reload`` of many trials with one fresh process: why it does not hold, or None."""
    from qpeft.testing.fresh import load_afresh
    from qpeft.testing.handling import check_loaded, save
    from qpeft.testing.promises import broken

    saved, reasons = {}, {}
    for key, trial in trials.items():
        reasons[key] = broken(lambda trial, key=key: saved.update({key: save(trial)}), trial)
    found = load_afresh([item for item, _ in saved.values()], folder, ["PeftModel.from_pretrained"])
    for (key, (_, expected)), logits in zip(saved.items(), found, strict=True):
        reasons[key] = broken(lambda _, logits=logits, expected=expected: check_loaded(logits, expected), trials[key])
    return reasons


def blame(promise: str, trial: Any, reason: str) -> list[str]:
    """Who breaks a promise already without qpeft, and why; ``qpeft`` if nobody does."""
    import dataclasses

    answer = ["qpeft", short(reason)]
    for name in origins(promise, trial.config):
        other = tried(promise, dataclasses.replace(trial, start=ORIGINS[name], folder=trial.folder / name))
        # qpeft hands on peft's errors with what was tried in front.
        if other is not None and short(other).removeprefix("ValueError: ") in answer[1]:
            answer = [name, short(other)]
    return answer


def short(reason: str) -> str:
    """The first line of a reason, without measured numbers, for one footnote a cause."""
    line = re.sub(r" \(logits differ by [^)]*\)", "", reason.splitlines()[0])
    return re.sub(r": [\d.]+ before, [\d.]+ after \d+ steps", "", line)[:200]


def record(cells: dict[str, Any]) -> dict[str, Any]:
    """The cells with what they were measured on."""
    from importlib.metadata import version

    from qpeft.training.environment import system_info

    system = system_info()
    return {
        "versions": {name: version(name) for name in ("peft", "transformers", "torch")},
        "machine": {name: system[name] for name in ("processor", "kernels", "threads")},
        "methods": {name: spec.model_dump(exclude_defaults=True) for name, spec in METHODS.items()},
        "cells": cells,
    }


def page(body: dict[str, Any]) -> str:
    """The page of a record: one row a family, one column a method, footnotes with the reasons."""
    methods, notes = list(body["methods"]), list[str]()
    lines = [f"| model type | {' | '.join(methods)} |", "|:---|" + ":---|" * len(methods)]
    for family, row in sorted(body["cells"].items()):
        lines.append(f"| {family} | {' | '.join(cell(row[method], notes) for method in methods)} |")
    answers = [a for row in body["cells"].values() for promises in row.values() for a in promises.values()]
    broken = [answer for answer in answers if answer is not None]
    ours = sum(1 for origin, _ in broken if origin == "qpeft")
    versions = ", ".join(f"{name} {number}" for name, number in body["versions"].items())
    promises = "\n".join(f"* **{word}**: {meaning}" for word, (_, meaning) in PROMISES.items())
    options = "\n".join(f"* `{name}`: `{json.dumps(spec)}`" for name, spec in body["methods"].items())
    return HEAD.format(
        promises=promises, count=len(answers), held=len(answers) - len(broken), broken=len(broken), ours=ours
    ) + "\n".join(
        [
            *lines,
            "",
            *(f"[^{number + 1}]: {note}" for number, note in enumerate(notes)),
            "",
            f"Methods as in a recipe:\n\n{options}\n\nMeasured with {versions} on {measured_on(body)}.\n",
        ]
    )


def measured_on(body: dict[str, Any]) -> str:
    """The machine in words: promises of equality bit for bit can be broken by another processor's kernels."""
    machine = body["machine"]
    return (
        f"{machine['processor']} with torch's {machine['kernels']} kernels, threads: {machine['threads']}; another "
        "processor may round otherwise, and break a promise of equality bit for bit"
    )


def cell(promises: dict[str, list[str] | None], notes: list[str]) -> str:
    """One cell; reasons not seen before are added to the notes."""
    parts = []
    for promise, answer in promises.items():
        if answer is not None:
            origin, reason = answer
            note = f"*{origin}*: {reason}".replace("|", "\\|")
            notes += [] if note in notes else [note]
            parts.append(f"{promise}[^{notes.index(note) + 1}]")
    if len(parts) == len(promises) and len({part.partition("[")[2] for part in parts}) == 1:
        return f"{'refused' if origin == 'qpeft' else 'no'}[{parts[0].partition('[')[2]}"
    return f"not {', '.join(parts)}" if parts else "yes"


def main() -> None:
    """Run and write, write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="run nothing, write the page from the record")
    parser.add_argument("--check", action="store_true", help="exit 1 if the page is not what the record says")
    options = parser.parse_args()
    if not (options.page or options.check):
        write_atomically(RECORD, json.dumps(record(run(families(), list(METHODS))), indent=1) + "\n")
    text = page(json.loads(RECORD.read_text("utf-8")))
    if not options.check:
        write_atomically(PAGE, text)
    elif PAGE.read_text("utf-8") != text:
        sys.exit(f"{PAGE.name} is not what {RECORD.name} says; run python scripts/families.py --page")


def families() -> dict[str, Callable[[], Any]]:
    """The makers of the tests' tiny models; libraries are told to be quiet, and to use one thread."""
    import torch
    import transformers

    sys.path.insert(0, str(ROOT / "tests"))
    from tiny_families import FAMILIES

    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    return dict(FAMILIES)


if __name__ == "__main__":
    main()
