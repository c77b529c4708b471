"""Tasks of lm-evaluation-harness on a finished run: the live model, its tokenizer, the harness's definitions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qpeft.errors import ConfigError, DataError, import_extra, nearest
from qpeft.records import RECORD, Metric, read_record
from qpeft.training.reload import open_run

# Draws for those standard errors that have no formula; the harness's own 100,000 take minutes for BLEU.
DRAWS = 1000


def run_tasks(
    folder: Path, tasks: Sequence[str], limit: int | None = None, include: Path | None = None
) -> list[Metric]:
    """Measure a saved run on tasks of lm-evaluation-harness.

    Their perplexities are not ours: with nll the summed loss of a text's tokens, the first predicted from the begin or
    end token and no end token at the end, ``word_perplexity`` is exp(nll / words), ``byte_perplexity``
    exp(nll / bytes); ours is exp(nll / tokens), without the first token of a row and with its end token. Texts longer
    than the model are cut into pieces there and read through overlapping windows here.

    Args:
        folder: A finished run.
        tasks: Names of tasks or groups, or YAML files of tasks; at least one.
        limit: Only the first rows of each task; their numbers are for trials only.
        include: A folder of YAML files whose tasks can be named, too.

    Returns:
        ``task/metric`` and ``task/metric_stderr``, split ``test``; the signature names version, shots, filter, rows.

    Raises:
        RecordError: The folder holds no finished run.
        MissingExtraError: lm-eval is not installed.
        ConfigError: No task is named, or one is unknown.
        DataError: A task's data cannot be read or downloaded.
        ExportError: The adapter's files are missing or damaged.
    """
    read_record(folder / RECORD)
    harness, manager = library("lm_eval"), find_tasks(tasks, include)
    record, base, adapted = open_run(folder)
    lm = library("lm_eval.models.huggingface").HFLM(
        pretrained=base.model if adapted is None else adapted,
        tokenizer=base.tokenizer,
        batch_size=record.spec.eval.batch_size,
    )
    try:
        results = harness.simple_evaluate(
            model=lm,
            tasks=list(tasks),
            task_manager=manager,
            limit=limit,
            bootstrap_iters=DRAWS,
            log_samples=False,
        )
    except OSError as error:  # what datasets raises for files that are missing and hubs that cannot be reached
        raise DataError(f"the data of {', '.join(tasks)} must be local, cached or within reach: {error}") from error
    return metrics_of(results, str(harness.__version__))


def library(name: str) -> Any:
    """A module of lm-evaluation-harness.

    Raises:
        MissingExtraError: It cannot be imported.
    """
    return import_extra(name, "tasks need lm-evaluation-harness", "Install it: pip install 'qpeft[lm-eval]'")


def find_tasks(tasks: Sequence[str], include: Path | None) -> Any:
    """The harness's manager of tasks; its own thousands are only read where a name is not found without them.

    Raises:
        ConfigError: No task is named, one is unknown, or include is no folder.
    """
    if not tasks or not all(tasks):
        raise ConfigError(f"at least one task must be named, for example lambada_openai; got {list(tasks)}")
    if include is not None and not include.is_dir():
        raise ConfigError(f"the folder of tasks must hold YAML files; {include} is no folder")
    make = library("lm_eval.tasks").TaskManager
    named = [task for task in tasks if not Path(task).is_file()]
    manager = make(include_path=include, include_defaults=False)
    if not set(named) <= set(manager.all_tasks):
        manager = make(include_path=include)
    for task in named:
        if task not in manager.all_tasks:
            raise ConfigError(
                f"tasks must be names that lm-evaluation-harness knows, or YAML files; got {task!r}"
                f"{nearest(task, manager.all_tasks)}; `lm-eval ls tasks` lists them"
            )
    return manager


def metrics_of(results: dict[str, Any], version: str) -> list[Metric]:
    """The numbers of a result of ``simple_evaluate``; what it could not compute is left out.

    >>> result = {"results": {"t": {"alias": "t", "acc,none": 0.5, "acc_stderr,none": "N/A"}}}
    >>> metrics_of(result, "0.4.13")
    [Metric(name='t/acc', split='test', value=0.5, signature='lm-eval 0.4.13|task:t|filter:none')]
    """
    found = []
    for task, values in results["results"].items():
        about = [f"lm-eval {version}", " v".join([f"task:{task}", *map(str, of_task(results, "versions", task))])]
        about += [f"shots:{shots}" for shots in of_task(results, "n-shot", task)]
        about += [f"rows:{rows['effective']} of {rows['original']}" for rows in of_task(results, "n-samples", task)]
        for key, value in values.items():
            name, comma, chosen = key.partition(",")
            if comma and isinstance(value, (int, float)):
                signature = "|".join([*about, f"filter:{chosen}"])
                found.append(Metric(name=f"{task}/{name}", split="test", value=value, signature=signature))
    return found


def of_task(results: dict[str, Any], key: str, task: str) -> list[Any]:
    """What a result says about one task under a key; groups are not under every key."""
    value = results.get(key, {}).get(task)
    return [] if value is None else [value]
