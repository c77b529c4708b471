"""``qpeft eval``: measure a finished run, or any peft adapter, again."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  qpeft eval runs/demo/qpa-s0-final-1a2b3c4d --split test"


class Split(StrEnum):
    """The splits that are measured."""

    valid = "valid"
    test = "test"


def command(  # noqa: PLR0913 - one argument a flag
    run: Annotated[Path, typer.Argument(help="A run folder (with record.json).")],
    data: Annotated[str | None, typer.Option(help="Other data than the run's.")] = None,
    split: Annotated[Split, typer.Option(help="valid or test.")] = Split.test,
    padded: Annotated[bool, typer.Option("--padded/--no-padded", help="Also the papers' padded perplexity.")] = True,
    token_accuracy: Annotated[bool, typer.Option("--token-accuracy", help="Also token accuracy.")] = False,
    generate: Annotated[
        bool, typer.Option("--generate", help="Answer the prompts of instruction data; BLEU, ROUGE, BERTScore.")
    ] = False,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="The most tokens of an answer.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Answer only the first rows of the split.")] = None,
    bertscore_encoder: Annotated[
        str | None, typer.Option(help="Folder or hub name of BERTScore's encoder; left out without.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Tasks of lm-evaluation-harness: a,b or YAML files.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows of each task.")] = None,
    include: Annotated[Path | None, typer.Option(help="A folder of YAML files with more tasks.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="Where the circuits of QAA run: noisy:device=torino,shots=20x, ...")
    ] = None,
) -> None:
    """Load the saved adapter with plain peft and measure perplexities, answers to prompts, or tasks."""
    from qpeft.errors import ConfigError
    from qpeft.records import RECORD, read_record
    from qpeft.records.spec import BertScoreSpec, GenerationSpec
    from qpeft.training.measure import SAMPLES, answer_notes
    from qpeft.training.reload import measure_saved

    if tasks is not None:
        if backend is not None:
            raise ConfigError("--backend measures perplexities and answers; leave out --tasks")
        from qpeft.training.harness import run_tasks

        for metric in run_tasks(run, tasks.split(","), limit, include):
            typer.echo(f"{metric.split:6} {metric.name:30} {metric.value:12.5f}   {metric.signature}")
        return
    if limit is not None or include is not None:
        raise ConfigError("--limit and --include are about tasks; give --tasks, too")
    encoder = BertScoreSpec(encoder=bertscore_encoder) if bertscore_encoder else None
    flags = {"max_new_tokens": max_new_tokens, "rows": rows, "bertscore": encoder}
    given = {key: value for key, value in flags.items() if value is not None}
    if given and not generate:
        raise ConfigError("--max-new-tokens, --rows and --bertscore-encoder are about answers; give --generate, too")
    generation = None
    if generate:
        generation = (read_record(run / RECORD).spec.eval.generation or GenerationSpec()).model_copy(update=given)
    found = measure_saved(
        run,
        data=data,
        split=split.value,
        padded=padded,
        token_accuracy=token_accuracy,
        generation=generation,
        backend=backend,
    )
    for metric in found:
        typer.echo(f"{metric.split:6} {metric.name:20} {metric.value:12.5f}   {metric.signature}")
    for note in answer_notes(generation):
        typer.echo(f"{note}; give --bertscore-encoder", err=True)
    if generate:
        typer.echo(f"the first answers are in {run / SAMPLES}", err=True)
