"""What is measured on a trained model: perplexities, and the logits that exports are checked against."""

from typing import Any, Literal

import torch

from qpeft.data import Encoded, Row, Texts
from qpeft.metrics.intervals import into_blocks
from qpeft.metrics.perplexity import measure_perplexity
from qpeft.records import Blocks, Metric, RunSpec
from qpeft.training.models import Base

Split = Literal["valid", "test"]


def measure(spec: RunSpec, model: Any, base: Base, data: Encoded) -> tuple[list[Metric], list[Blocks]]:
    """Perplexities on validation and, for final runs, on test."""
    splits: dict[Split, list[Row]] = (
        {"valid": data.valid} if spec.purpose == "tune" else {"valid": data.valid, "test": data.test}
    )
    metrics, blocks = [], []
    for split, rows in splits.items():
        found, sums = measure_split(spec, model, base, rows, split)
        metrics += found
        blocks.append(sums)
    return metrics, blocks


def measure_split(spec: RunSpec, model: Any, base: Base, rows: list[Row], split: Split) -> tuple[list[Metric], Blocks]:
    """Masked perplexity, and on test the papers' padded one from the same pass, with sums over blocks of rows."""
    # The padded view costs several times the masked one; validation only selects.
    padded = spec.eval.padded and split == "test"
    result = measure_perplexity(
        model,
        rows,
        pad_id=base.tokenizer.pad_token_id,
        eos_id=base.tokenizer.eos_token_id,
        max_length=spec.data.max_length,
        batch_size=spec.eval.batch_size,
        stride=spec.eval.stride,
        padded=padded,
    )
    metrics = [Metric(name="perplexity", split=split, value=result.masked, signature=result.signature_masked)]
    if result.padded is not None:
        padded_signature = str(result.signature_padded)
        metrics.append(Metric(name="perplexity_padded", split=split, value=result.padded, signature=padded_signature))
    nll, tokens = into_blocks(result.row_nll, result.row_tokens)
    return metrics, Blocks(split=split, nll=[round(float(x), 4) for x in nll], tokens=[int(x) for x in tokens])


def dataset_info(texts: Texts, data: Encoded) -> dict[str, Any]:
    """Where the rows came from."""
    return {
        "name": texts.source,
        "sha256": texts.sha256,
        "format": texts.format,
        "rows": {"train": len(data.train), "valid": len(data.valid), "test": len(data.test)},
        "rows_sha256": data.fingerprint,
        "truncated": data.truncated,
        "dropped": data.dropped,
    }


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
