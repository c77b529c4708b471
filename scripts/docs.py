"""Write the tables and numbers of README and tour from code and committed records; ``--check`` only compares.

python scripts/docs.py
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from qpeft.assets import model_folder
from qpeft.qpa import PRESETS
from qpeft.records import find_records, read_study, write_atomically
from qpeft.report import circuit_verdicts, differences, markdown_table, summarise

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/tour.md")


def presets() -> str:
    """What each preset sets, one row a field."""
    rows = [[f"`{key}`", *(f"{preset[key]}" for preset in PRESETS.values())] for key in PRESETS["recommended"]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def wikitext2() -> str:
    """The committed comparison on WikiText-2."""
    records = find_records(ROOT / "results" / "wikitext2")
    lines = [markdown_table(summarise(records))]
    equal = next(item for item in differences(records, "lora-r1") if item.label == "qpa")
    lines.append(
        f"QPA against the LoRA of about its size: {equal.text} nat per token, {equal.verdict} ({equal.seeds} seeds).\n"
    )
    return "\n".join(lines)


def ablation(name: str) -> str:
    """What the twins say of one circuit, five seeds."""
    lines = []
    for verdict in circuit_verdicts(find_records(ROOT / "results" / name)):
        lines += [f"**{verdict.conclusion}**\n", *(f"* {twin.sentence}" for twin in verdict.twins)]
    return "\n".join(lines)


def methods(name: str) -> str:
    """A committed comparison of all methods, and what the twins say of QAA's circuit."""
    records = find_records(ROOT / "results" / name)
    lines = [markdown_table(summarise(records))]
    for verdict in circuit_verdicts(records):
        lines += [f"* {verdict.label}: {twin.sentence}" for twin in verdict.twins]
    return "\n".join(lines)


def noisy() -> str:
    """Training under shots and noise: every run of Figs. 8 and 9 against the same generator on exact circuits."""
    records = [run for name in ("qpa-fig8-tiny", "qpa-fig9-tiny") for run in find_records(ROOT / "results" / name)]
    records = list({run.identity: run for run in records}.values())
    rows, runs = {row.label: row for row in summarise(records)}, {run.spec.label: run for run in records}
    lines = ["| circuits | qubits | test perplexity | minus exact, nat per token | optimizer | evaluations | shots |"]
    lines.append("|:---|---:|---:|---:|---:|---:|---:|")
    for label, run in runs.items():
        if run.quantum is None or run.quantum.shots is None:
            continue
        exact = label.rsplit("-", 1)[0]
        pair = [one for one in records if one.spec.label in (label, exact)]
        found = next(item for item in differences(pair, exact) if item.label == label)
        where = f"{run.quantum.ansatz[:2].upper()}, {run.quantum.noise or 'no noise'}, {run.quantum.shots} shots"
        cells = [where, f"{run.quantum.n_qubits}", f"{rows[label].perplexity:.2f}", found.text]
        spent = median(one.train_info.optimizer_time_median or 0 for one in pair if one.spec.label == label)
        cells += [f"{1e3 * spent:.0f} ms", f"{run.quantum.circuit_executions:,}", f"{run.quantum.shots_spent or 0:,}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def qaa_noise() -> str:
    """A trained QAA on other backends, means over seeds."""
    record = read_study(ROOT / "results" / "studies" / "qaa-noise.json")
    lines = [
        "| circuits | rows | test perplexity | nat per token more than exact | of gain |",
        "|:---|---:|---:|---:|---:|",
    ]
    for fit in record.fits:
        low, high = (f"{float(fit[key] or 0):+.4f}" for key in ("low", "high"))
        numbers = f"{float(fit['perplexity'] or 0):.2f} | {float(fit['difference'] or 0):+.4f} [{low}, {high}]"
        lines.append(f"| {fit['backend']} | {fit['rows']} | {numbers} | {100 * float(fit['of_gain'] or 0):.1f} % |")
    return "\n".join(lines)


def qaa() -> str:
    """QAA at the true size of GPT-Neo-125M."""
    body = benchmark("qaa")
    counts = {row["method"]: row["trainable"] for row in body["counts"]}
    lines = ["| method | trainable numbers | step over LoRA's | quartiles |", "|:---|---:|---:|---:|"]
    for row in body["steps"]:
        low, high = row["ratio_quartiles"]
        lines.append(f"| {row['method']} | {counts[row['method']]:,} | {row['ratio']:.3f} | [{low:.3f}, {high:.3f}] |")
    lines.append("")
    for row in body["layers"]:
        low, high = row["ratio_quartiles"]
        lines.append(
            f"* circuit {row['ansatz']}, depth {row['depth']}, {row['tokens']} tokens of d = 768, forward and "
            f"backward: "
            f"PennyLane {row['pennylane']} default.qubit takes {row['ratio']:.1f} [{low:.1f}, {high:.1f}] times as "
            f"long; largest relative difference {row['relative_difference']:.0e}"
        )
    return "\n".join(lines)


def benchmark(name: str) -> Any:
    """A committed benchmark result."""
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


def speed() -> str:
    """What the engine was built to, and what was measured."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from page import goal_table

    return goal_table()


def step() -> str:
    """Step times."""
    body = benchmark("step")
    lines = ["| model, LoRA on | method | generated | optimizer | step over LoRA's | quartiles |"]
    lines.append("|:---|:---|---:|---:|---:|---:|")
    for row in body["rows"]:
        low, high = row["ratio_quartiles"]
        cells = [row["model"], row["method"], f"{row['generated']:,}" if row["generated"] else "-"]
        cells += [f"{row['optimizer_ms']:.1f} ms", f"{row['ratio']:.3f}", f"[{low:.3f}, {high:.3f}]"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, f"\nAlternating steps in one process, medians, threads: {body['threads']}."])


def model() -> str:
    """The embedded model in one sentence."""
    card = json.loads((model_folder() / "card.json").read_text("utf-8"))
    held = {name: score["perplexity"] for name, score in card["scores"].items()}
    return (
        f"{card['parameters']:,} numbers, {card['data']['tokens_seen']:,} tokens seen, held-out perplexity "
        f"{held['model']:.1f} (unigram {held['unigram']:.1f}, trigram {held['trigram']:.1f})."
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "presets": presets,
    "wikitext2": wikitext2,
    "ablate-qpa": lambda: ablation("ablate-qpa"),
    "ablate-qaa": lambda: ablation("ablate-qaa"),
    "methods-wikitext2": lambda: methods("methods-wikitext2"),
    "methods-alpaca": lambda: methods("methods-alpaca"),
    "noisy": noisy,
    "qaa-noise": qaa_noise,
    "qaa": qaa,
    "step": step,
    "speed": speed,
    "model": model,
}


def filled(text: str) -> str:
    """A document with every marked block written anew."""
    for name, write in BLOCKS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if pattern.search(text):
            content = write().strip()
            text = pattern.sub(lambda match, content=content: f"{match[1]}{content}\n{match[2]}", text)
    return text


def main() -> None:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit 1 if a document is not what records and code say")
    check = parser.parse_args().check
    stale = []
    for name in DOCUMENTS:
        old = (ROOT / name).read_text("utf-8")
        new = filled(old)
        if new != old:
            stale.append(name)
            if not check:
                write_atomically(ROOT / name, new)
    if check and stale:
        sys.exit(f"not what records and code say: {', '.join(stale)}; run python scripts/docs.py")
    print(f"{'checked' if check else 'written'}: {', '.join(DOCUMENTS)}")


if __name__ == "__main__":
    main()
