"""BLEU, ROUGE and BERTScore against their own libraries, published examples, and sums by hand."""

import math
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from qpeft.errors import ConfigError, DataError, MissingExtraError, ModelError
from qpeft.metrics.text import TextMetrics, bertscore, bleu, load_encoder, rouge
from qpeft.records.spec import BertScoreSpec

sacrebleu = pytest.importorskip("sacrebleu")
rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
bert_score = pytest.importorskip("bert_score")

# The example of sacrebleu's README.
OUTPUTS = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
FIRST = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
SECOND = ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."]
WORDS = [
    "[PAD]",
    "[CLS]",
    "[SEP]",
    "[UNK]",
    "the",
    "dog",
    "bit",
    "man",
    "it",
    "was",
    "not",
    "had",
    "him",
    "first",
    ".",
]


def ngrams(words: list[str], length: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + length]) for at in range(len(words) - length + 1))


def test_bleu_by_hand_and_by_sacrebleu() -> None:
    outputs = ["the dog bit the man in the garden", "it was not a surprise to him"]
    references = ["the dog bit a man in the garden today", "it was not a great surprise to him"]
    pairs = [(written.split(), true.split()) for written, true in zip(outputs, references, strict=True)]
    logs = []
    for length in range(1, 5):
        hits = sum((ngrams(a, length) & ngrams(b, length)).total() for a, b in pairs)
        logs.append(math.log(hits / sum(ngrams(a, length).total() for a, _ in pairs)))
    written, true = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    by_hand = 100 * math.exp(min(0.0, 1 - true / written) + sum(logs) / 4)
    found = bleu(outputs, references)
    assert found.value == pytest.approx(by_hand, rel=1e-12)
    assert found.value == sacrebleu.corpus_bleu(outputs, [references]).score
    assert 30 < found.value < 60


def test_sacrebleu_here_is_the_published_one() -> None:
    assert sacrebleu.corpus_bleu(OUTPUTS, [FIRST, SECOND]).score == pytest.approx(48.53, abs=0.005)
    found = bleu(OUTPUTS, FIRST)
    assert found.value == sacrebleu.corpus_bleu(OUTPUTS, [FIRST]).score
    metric = sacrebleu.BLEU()
    metric.corpus_score(OUTPUTS, [FIRST])
    assert str(metric.get_signature()) in found.signature
    assert re.search(r"nrefs:1\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:\d", found.signature)


def test_rouge_of_the_published_example() -> None:
    # rouge-score's README; six of eight and nine words in common, a common subsequence of five.
    true, written = "The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log."
    one, two, longest = rouge([written], [true])
    assert one.value == pytest.approx(100 * 2 * (6 / 8) * (6 / 9) / (6 / 8 + 6 / 9))
    assert one.value == pytest.approx(70.58823529411765)
    # "the quick" and "quick brown", of seven and eight.
    assert two.value == pytest.approx(100 * 2 * 2 / (7 + 8))
    assert longest.value == pytest.approx(58.82352941176471)
    assert [score.name for score in (one, two, longest)] == ["rouge1", "rouge2", "rougeL"]
    assert re.search(r"rouge2\|F1\|stemmer:no\|tokenizer:default\|rouge-score:\d", two.signature)


def test_rouge_is_the_mean_of_the_librarys() -> None:
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    for found in rouge(OUTPUTS, SECOND):
        each = [
            scorer.score(true, written)[found.name].fmeasure for written, true in zip(OUTPUTS, SECOND, strict=True)
        ]
        assert found.value == pytest.approx(100 * sum(each) / 3, rel=1e-12)
        assert 0 < found.value < 100
    assert [score.value for score in rouge(["bitten dogs"], ["biting dog"])] == [0, 0, 0]


def test_the_scale_ends_at_0_and_100() -> None:
    long = ["the dog bit the man and it was not him"]
    assert [score.value for score in TextMetrics().score(long, long)] == [100, 100, 100, 100]
    assert [score.value for score in TextMetrics().score([""], long)] == [0, 0, 0, 0]


@pytest.mark.parametrize(("outputs", "references"), [([], []), (["a"], []), (["a", "b"], ["a"])])
def test_texts_without_partners_are_refused(outputs: list[str], references: list[str]) -> None:
    for metric in (bleu, rouge):
        with pytest.raises(DataError, match=f"got {len(outputs)} and {len(references)}"):
            metric(outputs, references)


def save_encoder(folder: Path, kind: str) -> Path:
    """A tiny random BERT or RoBERTa of two layers over a dozen words, as a user's folder."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    raw = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "vocab_size": len(WORDS), "max_position_embeddings": 24, "pad_token_id": 0}
    torch.manual_seed(3)
    settings, model = {"bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel)}[kind]
    model(settings(**sizes, initializer_range=0.5)).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=raw, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["bert", "roberta"])
def encoder_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoders") / f"tiny-{request.param}", request.param)


def reference(folder: Path, layer: int = 2, **options: Any) -> Any:
    scorer = bert_score.BERTScorer(model_type=str(folder), num_layers=layer, device="cpu", **options)
    scorer._tokenizer.model_max_length = 22
    return scorer


@pytest.mark.parametrize("layer", [1, 2])
def test_bertscore_equals_the_librarys_scorer(encoder_folder: Path, layer: int) -> None:
    scorer = reference(encoder_folder, layer)
    outputs, references = [*OUTPUTS, "the dog " * 30], [*FIRST, "him " * 3]
    each = scorer.score(outputs, references)[2]
    found = bertscore(load_encoder(BertScoreSpec(encoder=str(encoder_folder), layer=layer)), outputs, references)
    assert found.value == pytest.approx(100 * each.mean().item(), abs=1e-4)
    assert each.std() > 0.01, "the scores must differ to tell anything"
    hashed = scorer.hash.replace(str(encoder_folder), encoder_folder.name)
    assert f"BERTScore F1|{hashed}|rescaled:no|" in found.signature
    assert str(encoder_folder.parent) not in found.signature
    assert f"{encoder_folder.name}_L{layer}_no-idf" in found.signature


def test_bertscore_by_hand(encoder_folder: Path) -> None:
    """Each token with its most similar partner; the first and the last token do not count."""
    encoder = load_encoder(BertScoreSpec(encoder=str(encoder_folder)))
    assert f"{encoder_folder.name}_L2_" in encoder.signature
    written, true = "the dog bit him", "it was not the man"
    with torch.no_grad():
        states = [encoder.model(**encoder.tokenizer(text, return_tensors="pt"))[0][0] for text in (written, true)]
    a, b = (torch.nn.functional.normalize(state, dim=-1) for state in states)
    alike = a @ b.T
    precision, recall = alike.max(1).values[1:-1].mean().item(), alike.max(0).values[1:-1].mean().item()
    found = bertscore(encoder, [written], [true])
    assert found.value == pytest.approx(100 * 2 * precision * recall / (precision + recall), abs=1e-3)
    assert bertscore(encoder, [true], [true]).value == pytest.approx(100, abs=1e-3)
    # Batches do not matter, an empty text scores nothing, and nothing depends on what was scored before.
    assert bertscore(encoder, [written] * 70, [true] * 70).value == pytest.approx(found.value, abs=1e-3)
    assert bertscore(encoder, [written, "", " \n"], [true] * 3).value == pytest.approx(found.value / 3, abs=1e-3)
    assert bertscore(encoder, [written, true], [true, ""]).value == pytest.approx(found.value / 2, abs=1e-3)
    assert bertscore(encoder, [""], [true]).value == 0
    assert bertscore(encoder, [written], [true]) == found


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")
def test_rescaling_is_the_librarys(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "roberta-base", "roberta")
    baseline = Path(bert_score.__file__).parent / "rescale_baseline" / "en" / "roberta-base.tsv"
    scorer = reference(folder, lang="en", rescale_with_baseline=True, baseline_path=str(baseline))
    found = bertscore(load_encoder(BertScoreSpec(encoder=str(folder), layer=2, rescale=True)), OUTPUTS, FIRST)
    assert found.value == pytest.approx(100 * scorer.score(OUTPUTS, FIRST)[2].mean().item(), abs=1e-3)
    assert "-rescaled|rescaled:en baseline|" in found.signature
    plain = bertscore(load_encoder(BertScoreSpec(encoder=str(folder), layer=2)), OUTPUTS, FIRST)
    assert plain.value != found.value
    # A folder named like an encoder bert-score knows is read at the layer tuned for that one, ten here.
    with pytest.raises(ConfigError, match=r"must be 1 to 2, .* got 10, the one tuned for an encoder of this name"):
        load_encoder(BertScoreSpec(encoder=str(folder)))


def test_the_signature_follows_the_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_encoder(tmp_path / "mine", "bert")
    before = load_encoder(BertScoreSpec(encoder=str(folder))).signature
    assert load_encoder(BertScoreSpec(encoder=str(folder))).signature == before
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "layer.0.output.dense.bias" in name)
    save_file({**weights, name: weights[name] + 1}, file, metadata={"format": "pt"})
    assert load_encoder(BertScoreSpec(encoder=str(folder))).signature != before


def test_text_metrics_are_all_of_them(encoder_folder: Path) -> None:
    without, with_encoder = TextMetrics(), TextMetrics(BertScoreSpec(encoder=str(encoder_folder)))
    names = ["bleu", "rouge1", "rouge2", "rougeL"]
    assert [score.name for score in without.score(OUTPUTS, FIRST)] == names
    found = with_encoder.score(OUTPUTS, FIRST)
    assert [score.name for score in found] == [*names, "bertscore_f1"]
    assert found == with_encoder.score(OUTPUTS, FIRST)


@pytest.mark.parametrize("name", ["nobody/no-such-encoder", "./no/such/folder", "empty"])
def test_an_encoder_that_is_not_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ModelError, match=rf"bertscore.encoder must be a folder .* got '{name}': .*go without BERTScore"
    ):
        TextMetrics(BertScoreSpec(encoder=name))


def test_encoders_that_cannot_be_used(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "mine", "bert")
    with pytest.raises(ConfigError, match=r"layer must be 1 to 2, the layers of .*mine'; got 3$"):
        load_encoder(BertScoreSpec(encoder=str(folder), layer=3))
    with pytest.raises(ConfigError, match="it has none for 'mine'"):
        load_encoder(BertScoreSpec(encoder=str(folder), rescale=True))
    (tmp_path / "t5-things").mkdir()
    (tmp_path / "t5-things" / "mine").symlink_to(folder)
    with pytest.raises(ConfigError, match=r"every path with 't5' in it for a T5 encoder; .* of type 'bert'"):
        load_encoder(BertScoreSpec(encoder=str(tmp_path / "t5-things" / "mine")))
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelError, match=r"bertscore\.encoder must be a folder"):
        load_encoder(BertScoreSpec(encoder=str(folder)))


@pytest.mark.parametrize("absent", ["sacrebleu", "rouge_score.rouge_scorer", "bert_score.utils"])
def test_a_missing_library_names_its_install_command(
    absent: str, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qpeft\[text\]'"):
        TextMetrics(BertScoreSpec(encoder=str(encoder_folder)))
