"""What is measured on a trained model: perplexities, answers to prompts, the logits exports are checked against."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from qpeft.data import Encoded, Row, Texts
from qpeft.errors import ConfigError
from qpeft.metrics.blocks import into_blocks
from qpeft.metrics.generation import Answers, end_tokens, generate_answers, prompt_room, prompts_and_answers
from qpeft.metrics.own import OWN_METRICS, OwnMetric
from qpeft.metrics.perplexity import Perplexity, measure_perplexity
from qpeft.metrics.text import TextMetrics
from qpeft.records import Blocks, Metric, RunSpec, write_atomically
from qpeft.records.spec import GenerationSpec
from qpeft.training.digests import data_files
from qpeft.training.models import Base

Split = Literal["valid", "test"]
SAMPLES = "samples.json"
KEPT_SAMPLES = 8


def measure(
    spec: RunSpec, model: Any, base: Base, data: Encoded, folder: Path | None = None
) -> tuple[list[Metric], list[Blocks]]:
    """Perplexities on validation and, for final runs, on test; where the spec asks for them, answers on test.

    Args:
        spec: The run; ``eval`` and ``purpose`` decide what is measured.
        model: The trained model.
        base: Its tokenizer.
        data: The rows.
        folder: Receives ``samples.json`` with the first answers; None keeps none.
    """
    splits: dict[Split, list[Row]] = (
        {"valid": data.valid} if spec.purpose == "tune" else {"valid": data.valid, "test": data.test}
    )
    metrics, blocks = [], []
    for split, rows in splits.items():
        found, sums = measure_split(spec, model, base, rows, split)
        metrics += found
        blocks.append(sums)
    # Tuning runs are chosen by perplexity alone.
    if spec.eval.generation is not None and spec.purpose == "final":
        metrics += measure_answers(spec, model, base, data.test, "test", folder)
    return metrics, blocks


def perplexity_of(spec: RunSpec, model: Any, base: Base, rows: Sequence[Row], *, padded: bool) -> Perplexity:
    """Perplexity by the definition of a run: its window, stride and tokens; a batch's size changes nothing."""
    return measure_perplexity(
        model,
        rows,
        pad_id=base.tokenizer.pad_token_id,
        eos_id=base.tokenizer.eos_token_id,
        max_length=spec.data.max_length,
        batch_size=spec.eval.batch_size,
        stride=spec.eval.stride,
        padded=padded,
    )


def measure_split(spec: RunSpec, model: Any, base: Base, rows: list[Row], split: Split) -> tuple[list[Metric], Blocks]:
    """Masked perplexity with sums over blocks of rows; from the same pass the other metrics of teacher forcing.

    These are the papers' padded perplexity, on test, and token accuracy, where it or answers are asked for.
    """
    # The padded view costs several times the masked one; validation only selects.
    padded = spec.eval.padded and split == "test"
    result = perplexity_of(spec, model, base, rows, padded=padded)
    metrics = [Metric(name="perplexity", split=split, value=result.masked, signature=result.signature_masked)]
    if result.other is not None:
        # The end token of a text is often dear to a model that was trained on other ends: both figures are told.
        name = "perplexity_without_end" if result.ends_count else "perplexity_with_end"
        metrics.append(Metric(name=name, split=split, value=result.other[0], signature=result.other[1]))
    if result.padded is not None and result.share_real is not None and result.nll_per_pad is not None:
        # With the share of real labels and the loss of a padding label the padded perplexity follows from the masked.
        parts = {
            "perplexity_padded": result.padded,
            "padded_share_real": result.share_real,
            "padded_nll_pad": result.nll_per_pad,
        }
        words = str(result.signature_padded)
        metrics += [Metric(name=name, split=split, value=value, signature=words) for name, value in parts.items()]
    if spec.eval.token_accuracy or spec.eval.generation is not None:
        accuracy, words = result.accuracy, result.signature_accuracy
        metrics.append(Metric(name="token_accuracy", split=split, value=accuracy, signature=words))
    metrics += measure_own(spec, model, base, rows, split)
    nll, tokens = into_blocks(result.row_nll, result.row_tokens)
    return metrics, Blocks(split=split, nll=[round(float(x), 4) for x in nll], tokens=[int(x) for x in tokens])


def measure_own(spec: RunSpec, model: Any, base: Base, rows: list[Row], split: Split) -> list[Metric]:
    """The metrics of plug-ins that a run asks for."""
    found = []
    for metric in own_metrics(spec):
        model.eval()
        with torch.inference_mode():
            value = float(metric.measure(model, base.tokenizer, rows))
        found.append(Metric(name=metric.name, split=split, value=value, signature=metric.signature))
    return found


def own_metrics(spec: RunSpec) -> list[OwnMetric]:
    """The metrics of plug-ins that a run asks for; looked up before training, too.

    Raises:
        ConfigError: A name is of no metric.
    """
    return [OWN_METRICS.need("eval.metrics", name) for name in spec.eval.metrics]


def measure_answers(
    spec: RunSpec, model: Any, base: Base, rows: list[Row], split: Split, folder: Path | None = None
) -> list[Metric]:
    """BLEU, ROUGE and, with an encoder, BERTScore of the model's greedy answers; all on the scale of 0 to 100.

    Args:
        spec: The run; ``eval.generation`` must be set.
        model: The trained model.
        base: Its tokenizer.
        rows: Rows with prompts.
        split: Named in the metrics.
        folder: Receives ``samples.json`` with the first answers; None keeps none.

    Raises:
        ConfigError: The spec asks for no answers, or for what the data, model or encoder does not have.
        DataError: A row has no prompt.
        MissingExtraError: A library of the text metrics is not installed.
        ModelError: The encoder of BERTScore is not to be found.
    """
    settings = answer_settings(spec)
    metrics = TextMetrics(settings.bertscore)
    answers = generate_answers(model, base.tokenizer, rows, settings)
    if folder is not None:
        keep_samples(answers, spec, split, folder)
    return [
        Metric(name=score.name, split=split, value=score.value, signature=f"{score.signature}|{answers.signature}")
        for score in metrics.score(answers.outputs, answers.references)
    ]


def check_answers(spec: RunSpec, base: Base, rows: list[Row]) -> None:
    """Find before training what would stop `measure` after it: a metric that is none, answers that cannot be had.

    Raises:
        QpeftError: As `measure_own` and `measure_answers` do.
    """
    own_metrics(spec)
    if spec.eval.generation is not None:
        settings = answer_settings(spec)
        prompts_and_answers(rows[: settings.rows])
        end_tokens(base.tokenizer, settings.stop)
        prompt_room(base.model, settings.max_new_tokens)
        TextMetrics(settings.bertscore)


def answer_notes(settings: GenerationSpec | None) -> list[str]:
    """What a reader of the answers' metrics would miss, and why; for the notes of a record."""
    without = settings is not None and settings.bertscore is None
    return ["BERTScore was left out: eval.generation.bertscore names no encoder"] if without else []


def answer_settings(spec: RunSpec) -> GenerationSpec:
    """How a run's prompts are answered.

    Raises:
        ConfigError: The run asks for no answers, or its rows do not begin with prompts.
    """
    if spec.eval.generation is None:
        raise ConfigError("answers need eval.generation, for example {max_new_tokens: 128}; the spec has none")
    if spec.data.layout != "rows":
        raise ConfigError(
            f"answers need data.layout 'rows', in which every row begins with its prompt; got {spec.data.layout!r}"
        )
    return spec.eval.generation


def keep_samples(answers: Answers, spec: RunSpec, split: Split, folder: Path) -> None:
    """Write the first answers to look at; they stay out of the record, which must not carry texts of a data set."""
    texts = zip(answers.prompts, answers.references, answers.outputs, answers.ended, strict=True)
    samples = [dict(zip(("prompt", "reference", "output", "ended"), parts, strict=True)) for parts in texts]
    body = {"data": spec.data.name, "split": split, "signature": answers.signature, "samples": samples[:KEPT_SAMPLES]}
    write_atomically(folder / SAMPLES, json.dumps(body, indent=1, ensure_ascii=False) + "\n")


def dataset_info(texts: Texts, data: Encoded, name: str) -> dict[str, Any]:
    """Where the rows came from; ``name`` is that of the spec, with the path."""
    files = data_files(name)
    return {
        "name": texts.source,
        "sha256": texts.sha256,
        **({"files": files} if files else {}),
        "format": texts.format,
        "rows": {"train": len(data.train), "valid": len(data.valid), "test": len(data.test)},
        "rows_sha256": data.fingerprint,
        "truncated": data.truncated,
        "unended": data.unended,
        "dropped": data.dropped,
    }


def data_notes(texts: Texts, data: Encoded, spec: RunSpec) -> list[str]:
    """What reading left out or wrote anew, and what cutting took; for the notes of a record."""
    return [*texts.notes, *data.notes(spec.data.max_length)]


def probe(model: Any, base: Base) -> dict[str, torch.Tensor]:
    """Fixed token ids (4, 16) and the trained model's last logits (4, V) on them; exports are checked against it."""
    vocabulary = model.get_output_embeddings().weight.shape[0]
    ids = torch.randint(vocabulary, (4, 16), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "logits": probe_logits(model, ids)}


def probe_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The last position's logits, shape (B, V), on the CPU."""
    model.eval()
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids.to(next(model.parameters()).device)).logits[:, -1]
    return logits.float().cpu().contiguous().clone()
