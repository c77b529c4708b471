"""How near written texts are to reference texts: corpus BLEU, ROUGE and BERTScore, each by its own library."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig

from qpeft.errors import ConfigError, DataError, ModelError, QpeftError, import_extra
from qpeft.records.spec import BertScoreSpec

ROUGE_KINDS = ("rouge1", "rouge2", "rougeL")
_PAIRS = 32
# RoBERTa counts positions from two on, so that two of its table are never used.
_OFFSET = 2


@dataclass(frozen=True)
class Score:
    """One number on the scale of 0 to 100, as papers print it (BERTScore can be below 0), and its definition."""

    name: str
    value: float
    signature: str


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder for BERTScore, cut off above the layer that is compared."""

    model: Any
    tokenizer: Any
    baseline: float | None
    signature: str


class TextMetrics:
    """The metrics of R written texts against R references.

    Whatever may be missing is missed here, at the start, before hours go into writing the texts.

    Args:
        bertscore: the encoder of BERTScore; None leaves BERTScore out.

    Raises:
        MissingExtraError: a library is not installed.
        ModelError: the encoder is not to be found.
        ConfigError: it has no such layer, or no baseline to rescale with.
    """

    def __init__(self, bertscore: BertScoreSpec | None = None) -> None:
        library("sacrebleu")
        library("rouge_score.rouge_scorer")
        self._encoder = None if bertscore is None else load_encoder(bertscore)

    def score(self, outputs: Sequence[str], references: Sequence[str]) -> list[Score]:
        """bleu, rouge1, rouge2, rougeL and, with an encoder, bertscore_f1.

        Args:
            outputs: R written texts.
            references: R true texts, in the same order.

        Returns:
            A Score each.

        Raises:
            DataError: there are no texts, or not as many of one kind as of the other.
        """
        scores = [bleu(outputs, references), *rouge(outputs, references)]
        return scores if self._encoder is None else [*scores, bertscore(self._encoder, outputs, references)]


def library(name: str) -> Any:
    """A module of an optional library.

    Raises:
        MissingExtraError: it cannot be imported.
    """
    needs = "BLEU, ROUGE and BERTScore need sacrebleu, rouge-score and bert-score"
    return import_extra(name, needs, "Install them: pip install 'qpeft[text]'")


def bleu(outputs: Sequence[str], references: Sequence[str]) -> Score:
    """Corpus BLEU by sacrebleu: its defaults, one reference, n-grams counted over all R texts together.

    BP * exp(mean over n = 1..4 of ln p_n), with BP = min(1, exp(1 - reference length / output length)). It is not
    the mean of sentence scores, nor the BLEU-4 over characters of some fine-tuning tools.

    >>> bleu(["the dog bit the man"], ["the dog bit the man"]).value
    100.0
    """
    check_pairs(outputs, references)
    metric = library("sacrebleu").BLEU()
    # Equal texts come out at 100.00000000000004.
    value = min(100.0, float(metric.corpus_score(list(outputs), [list(references)]).score))
    return Score("bleu", value, f"BLEU|{metric.get_signature()}|scale:0-100|texts:{len(outputs)}")


def rouge(outputs: Sequence[str], references: Sequence[str]) -> list[Score]:
    """ROUGE-1, ROUGE-2 and ROUGE-L by rouge-score: mean F1 over the R texts, without stemming.

    ROUGE-L is of the longest common subsequence of the whole text. The library's tokenizer lowers letters and drops
    all but a-z and 0-9: texts in other scripts score 0.
    """
    check_pairs(outputs, references)
    scorer = library("rouge_score.rouge_scorer").RougeScorer(list(ROUGE_KINDS), use_stemmer=False)
    found = [scorer.score(true, written) for written, true in zip(outputs, references, strict=True)]
    tool = f"rouge-score:{version('rouge-score')}"
    words = f"F1|stemmer:no|tokenizer:default|{tool}|weight:text|scale:0-100|texts:{len(found)}"
    return [Score(kind, 100 * fmean(one[kind].fmeasure for one in found), f"{kind}|{words}") for kind in ROUGE_KINDS]


def bertscore(encoder: Encoder, outputs: Sequence[str], references: Sequence[str]) -> Score:
    """BERTScore F1 by bert-score: every token matched with the most similar one of the other text; mean over R texts.

    An empty text scores 0, as in the library, before rescaling. The value is rounded to four decimals, the last that
    float32 holds.

    Args:
        encoder: from `load_encoder`.
        outputs: R written texts.
        references: R true texts.
    """
    check_pairs(outputs, references)
    compare = library("bert_score.utils").bert_cos_score_idf
    weights: dict[int, float] = defaultdict(lambda: 1.0)
    weights |= {encoder.tokenizer.sep_token_id: 0.0, encoder.tokenizer.cls_token_id: 0.0}
    filled = [place for place in range(len(outputs)) if outputs[place].strip() and references[place].strip()]
    values = np.zeros(len(outputs))
    for at in range(0, len(filled), _PAIRS):
        # One call a batch: the library sorts texts in the order of a set, which would mix the batches by hash seed.
        places = filled[at : at + _PAIRS]
        true, written = [references[i] for i in places], [outputs[i] for i in places]
        device = next(encoder.model.parameters()).device
        found = compare(encoder.model, true, written, encoder.tokenizer, weights, device=device, batch_size=2 * _PAIRS)
        values[places] = found[:, 2].double().numpy()
    if encoder.baseline is not None:
        values = (values - encoder.baseline) / (1 - encoder.baseline)
    return Score("bertscore_f1", round(100 * float(values.mean()), 4), f"{encoder.signature}|texts:{len(outputs)}")


def load_encoder(spec: BertScoreSpec) -> Encoder:
    """Load the encoder of BERTScore from a folder, the local cache or the hub.

    Without a layer in the spec the one is taken that bert-score's authors tuned for the encoder of this name (of the
    hub, or of the folder), and the last for an encoder they do not know.

    Args:
        spec: encoder, layer, rescaling.

    Returns:
        An Encoder on the accelerator if there is one; its signature holds bert-score's own hash, with the name in the
        place of a local path, and the sha256 of the weights that are used.

    Raises:
        MissingExtraError: bert-score is not installed.
        ModelError: the encoder is not to be found, or unreadable.
        ConfigError: it has no such layer, or bert-score no baseline of it.
    """
    tools = library("bert_score.utils")
    folder = Path(spec.encoder).expanduser().absolute()
    path = str(folder) if folder.is_dir() else spec.encoder
    known = known_name(path, tools.model2layers)
    shown = known or (folder.name if folder.is_dir() else spec.encoder)
    try:
        config = AutoConfig.from_pretrained(path)
        layer = spec.layer or tools.model2layers.get(known, config.num_hidden_layers)
        check_encoder(spec, path, layer, config)
        baseline = read_baseline(shown, layer) if spec.rescale else None
        model = tools.get_model(path, layer).to("cuda" if torch.cuda.is_available() else "cpu")
        tokenizer = tools.get_tokenizer(path)
    except QpeftError:
        raise
    except (OSError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        raise unreachable(spec.encoder, error) from error
    longest = getattr(config, "max_position_embeddings", 512 + _OFFSET) - _OFFSET
    # A tokenizer without a limit of its own would be asked to cut at 10^30 tokens, which overflows.
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    hashed = tools.get_hash(shown, layer, False, spec.rescale, False, False)
    words = f"BERTScore F1|{hashed}|rescaled:{'en baseline' if spec.rescale else 'no'}|idf:no|weight:text|scale:0-100"
    return Encoder(model, tokenizer, baseline, f"{words}|sha256:{weights_digest(model)[:16]}")


def known_name(path: str, known: Sequence[str]) -> str | None:
    """The name bert-score knows an encoder by: the hub name, or the last one or two parts of a folder's path."""
    parts = Path(path).parts
    return next((name for name in (path, "/".join(parts[-2:]), parts[-1]) if name in known), None)


def check_encoder(spec: BertScoreSpec, path: str, layer: int, config: Any) -> None:
    """Refuse a layer the encoder does not have, and a path that bert-score misreads."""
    if layer > config.num_hidden_layers:
        raise ConfigError(
            f"eval.generation.bertscore.layer must be 1 to {config.num_hidden_layers}, the layers of "
            f"{spec.encoder!r}; got {layer}{'' if spec.layer else ', the one tuned for an encoder of this name'}"
        )
    if "t5" in path and "t5" not in config.model_type:
        raise ConfigError(
            f"bert-score takes every path with 't5' in it for a T5 encoder; {path!r} holds one of type "
            f"{config.model_type!r}. Name it by a link from another folder"
        )


def read_baseline(name: str, layer: int) -> float:
    """The F1 of unrelated English texts, by bert-score, for an encoder and layer.

    Raises:
        ConfigError: bert-score ships none.
    """
    file = Path(library("bert_score").__file__).parent / "rescale_baseline" / "en" / f"{name}.tsv"
    if not file.is_file():
        raise ConfigError(
            f"eval.generation.bertscore.rescale needs an English baseline of bert-score; it has none for {name!r}. "
            "Leave rescale out, or name the folder as the hub does, roberta-large for example"
        )
    return float(np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)[layer, 3])


def weights_digest(model: Any) -> str:
    """Sha256 of the names and numbers of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def unreachable(name: str, error: Exception) -> ModelError:
    """The error for an encoder that is neither here nor on the hub, or is damaged."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return ModelError(
        f"eval.generation.bertscore.encoder must be a folder with config.json, weights and a tokenizer, or a hub name "
        f"in the local cache or within reach; got {name!r}: {reason}. Leave it out to go without BERTScore"
    )


def check_pairs(outputs: Sequence[str], references: Sequence[str]) -> None:
    """Refuse texts that cannot be compared one by one.

    Raises:
        DataError: there are none, or not as many of one kind as of the other.
    """
    if not outputs or len(outputs) != len(references):
        raise DataError(
            f"a text metric needs as many written texts as references, one at least; got {len(outputs)} and "
            f"{len(references)}"
        )
