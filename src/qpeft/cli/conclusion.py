"""The end of a comparison: the table, what the circuit was worth, the page; loads no model."""

from pathlib import Path

from rich.console import Console

from qpeft.records import RunRecord
from qpeft.report import circuit_verdicts, find_samples, print_table, summarise, write_csv, write_page
from qpeft.report.untrained import untrained_note


def conclude(records: list[RunRecord], folder: Path, title: str, baseline: str | None, commands: list[str]) -> None:
    """Print the table and what the circuit was worth; write page, with the first answers, and CSV beside the runs."""
    console = Console()
    sentences = [twin.sentence for verdict in circuit_verdicts(records) for twin in verdict.twins]
    sentences += [note for note in [untrained_note(records)] if note]
    print_table(summarise(records), console, sentences)
    page = write_page(records, folder / "report.html", title, commands, baseline, find_samples(folder, records))
    table = write_csv(records, folder / "runs.csv")
    lines = [f"page      {page}", f"table     {table}", f"adapters  {folder}/*/adapter"]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
