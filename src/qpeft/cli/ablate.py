"""``qpeft ablate``: train the twins of a run's circuit on the same budget, and say what the circuit was worth."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  qpeft ablate runs/mine --seed 0 --seed 1 --seed 2 --out runs/was-it-the-circuit"


def command(
    run: Annotated[
        Path, typer.Argument(help="A finished run of qpa, qaa or a quantum core (a folder with record.json).")
    ],
    seed: Annotated[
        list[int] | None, typer.Option(min=0, max=2**32 - 1, help="A seed; give it several times. 0 to 4 by default.")
    ] = None,
    learning_rate: Annotated[
        list[float] | None, typer.Option(help="A rate to try for every row; several times. Around the run's own.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; runs/ablate-LABEL by default.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would run, and stop.")] = False,
) -> int:
    """Train the circuit and each of its twins with equal data, steps, rates and seeds; one sentence for each twin."""
    from qpeft.cli.compare import run_and_conclude, show_plan
    from qpeft.records import RECORD, read_record
    from qpeft.training.ablate import ablation
    from qpeft.training.origin import check_origin

    record = read_record(run / RECORD)
    comparison = ablation(record, seed or range(5), learning_rate)
    if plan:
        show_plan(comparison)
        return 0
    check_origin(record, run)
    flags = "".join(f" --seed {one}" for one in seed or []) + "".join(
        f" --learning-rate {r:g}" for r in learning_rate or []
    )
    return run_and_conclude(comparison, out or Path("runs") / comparison.name, f"qpeft ablate {run}{flags}")
