"""Copy the records of finished runs into results/ and write their page; weights stay where they are.

    python scripts/collect.py wikitext2 --runs runs/wikitext2
    python scripts/collect.py --ablation runs/ablate-qpa

A recipe of a paper gets no page of its own, which would be 5 MB each: docs/papers.md shows its records.

Only runs that the recipe asks for now are taken, and all of them must be there. An ablation is its own plan: all of
its folder is taken.
"""

import argparse
import sys
from pathlib import Path

from qpeft.recipes import find_recipe, load_recipe
from qpeft.records import RunRecord, find_records, select, write_record
from qpeft.report import write_csv, write_page
from qpeft.training.ablate import FACTORS

ROOT = Path(__file__).parents[1]


def keep(records: list[RunRecord], out: Path) -> None:
    """Write the records, in place of those that were there."""
    for old in out.glob("*.record.json"):
        old.unlink()
    for record in records:
        write_record(record, out / f"{record.spec.folder()}.record.json")


def comparison(name: str, runs: Path) -> None:
    """Collect the runs of a recipe; leaves with a message where one is missing."""
    recipe = load_recipe(name)
    found = select(recipe, find_records(runs))
    if found.missing:
        sys.exit(f"{name}: {len(found.missing)} runs are missing, the first is {found.missing[0].folder()}")
    out = ROOT / "results" / name
    keep(found.records, out)
    commands = [f"qpeft compare {name} --set data.name=FOLDER"]
    if find_recipe(name).parent.name != "papers":
        write_page(found.records, out / "report.html", recipe.title, commands, recipe.baseline)
    write_csv(found.records, out / "runs.csv")
    print(f"{len(found.records)} records in {out.relative_to(ROOT)}")


def ablation(runs: Path) -> None:
    """Collect an ablation; its baseline is the label without a twin's name."""
    records = find_records(runs)
    label = min((record.spec.label for record in records), key=len)
    steps, rates = records[0].spec.train.steps, sorted({record.spec.train.learning_rate for record in records})
    out = ROOT / "results" / runs.name
    keep(records, out)
    commands = [
        f"qpeft train methods-wikitext2 --method {label} --set data.name=FOLDER --steps {steps} --learning-rate "
        f"{rates[FACTORS.index(1.0)]:g} --set data.train_rows={records[0].spec.data.train_rows} --out runs/{label}",
        f"qpeft ablate runs/{label} --out runs/{runs.name}",
    ]
    write_page(records, out / "report.html", f"What the circuit of {label} contributes", commands, label)
    write_csv(records, out / "runs.csv")
    print(f"{len(records)} records in {out.relative_to(ROOT)}")


def main() -> None:
    """Copy and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--ablation", type=Path)
    given = parser.parse_args()
    if given.ablation:
        ablation(given.ablation)
    elif given.recipe and given.runs:
        comparison(given.recipe, given.runs)
    else:
        parser.error("a recipe and --runs, or --ablation, is needed")


if __name__ == "__main__":
    sys.exit(main())
