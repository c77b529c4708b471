"""Copy the records of finished runs into results/ and write their page; weights stay where they are.

    python scripts/collect.py wikitext2 --runs runs/wikitext2

Only runs that the recipe asks for now are taken, and all of them must be there.
"""

import argparse
import sys
from pathlib import Path

from qpeft.recipes import load_recipe
from qpeft.records import RECORD, Comparison, RunRecord, read_record, write_record
from qpeft.report import write_csv, write_page
from qpeft.training.compare import best_rate, finals, tunable

ROOT = Path(__file__).parents[1]


def wanted(comparison: Comparison, folder: Path) -> list[RunRecord]:
    """The records of a comparison, tuning runs included; leaves with a message where one is missing."""
    records: list[RunRecord] = []
    for run in comparison.runs:
        tuning = comparison.tune_specs(run) if tunable(comparison, run) else []
        tuned = [read_record(folder / spec.folder() / RECORD) for spec in tuning]
        best = best_rate(comparison, tuned) if tuned else None
        records += [*tuned, *(read_record(folder / spec.folder() / RECORD) for spec in finals(comparison, run, best))]
    return records


def main() -> None:
    """Copy and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--runs", type=Path, required=True)
    given = parser.parse_args()
    comparison = load_recipe(given.recipe)
    out = ROOT / "results" / given.recipe
    records = wanted(comparison, given.runs)
    for old in out.glob("*.record.json"):
        old.unlink()
    for record in records:
        write_record(record, out / f"{record.spec.folder()}.record.json")
    commands = [f"qpeft compare {given.recipe} --set data.name=FOLDER"]
    write_page(records, out / "report.html", comparison.title, commands, comparison.baseline)
    write_csv(records, out / "runs.csv")
    print(f"{len(records)} records in {out.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
