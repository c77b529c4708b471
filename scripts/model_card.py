"""Install the pre-trained model with its card: float16 weights, measured perplexity, baselines, samples.

    python scripts/model_card.py --corpus CORPUS --work build/pretrain

Run it after scripts/pretrain.py has finished. The card is written from what is measured here and from
the training log; model_card.md.jinja holds its words.
"""

import argparse
import json
import math
from hashlib import sha256
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from card_page import loss_curve, render, source_table
from ngram import ngram_nats
from pretrain import CONTEXT, documents, encode, optimizers, schedule, shards

LIMIT = 12 * 10**6
ORDERS = 5
MACHINE_KEYS = ("is_local", "local_files_only", "name_or_path")
PROMPTS = (
    "The history of the city begins with",
    "To install the package, you",
    "She opened the door and",
    "Water is made of",
    "The committee decided that the new rules",
    "In this chapter we describe how",
)
SAMPLING = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0, "max_new_tokens": 60}

Floats = NDArray[np.float64]


def halve(model: Any) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The weights in float16 and what that cost.

    Returns:
        The tensors by name, and the largest weight and the largest absolute change.

    Raises:
        SystemExit: A weight does not fit in float16.
    """
    full = {name: tensor.detach().float().contiguous() for name, tensor in model.state_dict().items()}
    half = {name: tensor.half() for name, tensor in full.items()}
    lost = [name for name, tensor in half.items() if not tensor.isfinite().all()]
    if lost:
        raise SystemExit(f"these weights do not fit in float16 (at most 65504): {', '.join(lost)}")
    change = max((half[name].float() - tensor).abs().max().item() for name, tensor in full.items())
    return half, {"largest_weight": max(t.abs().max().item() for t in full.values()), "largest_change": change}


def write_model(work: Path, folder: Path) -> dict[str, float]:
    """Put weights, configurations and tokenizer in the folder; what float16 cost."""
    model = AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32)
    half, cost = halve(model)
    # from_pretrained follows the configuration, not the file: float16 on disk, float32 in memory.
    model.config.dtype = torch.float32
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    copyfile(work / "tokenizer" / "tokenizer.json", folder / "tokenizer.json")
    settings = json.loads((work / "tokenizer" / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", {k: v for k, v in settings.items() if k not in MACHINE_KEYS})
    size = (folder / "model.safetensors").stat().st_size
    if size > LIMIT:
        raise SystemExit(f"model.safetensors has {size:,} bytes, more than the {LIMIT:,} allowed in the package")
    return cost


def write_json(path: Path, content: Any) -> None:
    """Indented JSON with a newline at its end."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def model_nats(model: Any, held: NDArray[np.uint16], window: int = CONTEXT) -> Floats:
    """Loss of every held-out token under the model.

    The end token stands before the first token; windows follow each other without overlap, as in
    training, so a token sees the 1 to ``window`` tokens before it in its window.

    Args:
        model: the language model, float32.
        held: token ids (M,).
        window: predictions per window.

    Returns:
        Nats (M,).
    """
    count = -(-len(held) // window)
    stream = np.zeros(count * window + 1, dtype=np.int64)
    stream[1 : len(held) + 1] = held
    inputs, targets = (torch.from_numpy(part).view(count, window) for part in (stream[:-1], stream[1:]))
    losses = []
    with torch.inference_mode():
        for at in range(0, count, 16):
            logits, goals = model(inputs[at : at + 16]).logits.flatten(0, 1), targets[at : at + 16].flatten()
            losses.append(torch.nn.functional.cross_entropy(logits, goals, reduction="none"))
    # What stands after the last token fills its window and is not scored.
    return torch.cat(losses)[: len(held)].double().numpy()


def scores(nats: Floats, texts: list[str]) -> dict[str, float]:
    """Perplexity per token and per word, bits per byte; the end tokens count as loss and as tokens only."""
    total = float(nats.sum())
    size, words = sum(len(t.encode()) for t in texts), sum(len(t.split()) for t in texts)
    return {
        "perplexity": round(math.exp(total / len(nats)), 3),
        "nats_per_token": round(total / len(nats), 4),
        "bits_per_byte": round(total / math.log(2) / size, 4),
        "word_perplexity": round(math.exp(total / words), 1),
    }


def categories(corpus: Path, count: int) -> list[str]:
    """The category of each held-out document, in file order."""
    rows = [row.split("\t") for row in documents_table(corpus)]
    found = [row[3] for row in rows if row[0] == "valid"]
    if len(found) != count:
        raise SystemExit(f"documents.tsv.xz lists {len(found)} held-out documents, valid.txt has {count}")
    return found


def documents_table(corpus: Path) -> list[str]:
    """Rows of the document list; it has no blank lines, so it is one document."""
    return documents(corpus / "documents.tsv.xz")[0].splitlines()[1:]


def by_category(nats: dict[str, Floats], held: NDArray[np.uint16], kinds: list[str]) -> dict[str, dict[str, float]]:
    """Perplexity per token of each category under each model."""
    ends = np.cumsum(held == 0)
    kind = np.array(kinds)[np.concatenate([[0], ends[:-1]])]
    return {
        name: {
            "documents": kinds.count(name),
            "tokens": int((kind == name).sum()),
            **{label: round(float(np.exp(loss[kind == name].mean())), 2) for label, loss in nats.items()},
        }
        for name in sorted(set(kinds))
    }


def samples(model: Any, tokenizer: Any) -> list[dict[str, str]]:
    """One continuation per prompt, the seed set anew for each."""
    found = []
    for prompt in PROMPTS:
        torch.manual_seed(0)
        ids = tokenizer(prompt, return_tensors="pt")
        out = model.generate(**ids, **SAMPLING, min_new_tokens=SAMPLING["max_new_tokens"])[0]
        found.append({"prompt": prompt, "continuation": tokenizer.decode(out[ids["input_ids"].shape[1] :])})
    return found


def held_out(corpus: Path, work: Path, tokenizer: Any) -> tuple[NDArray[np.uint16], list[str]]:
    """The held-out tokens and documents, checked against each other."""
    texts = documents(corpus / "valid.txt")
    held: NDArray[np.uint16] = np.load(work / "valid.npy")
    if not np.array_equal(held, encode(tokenizer, texts)):
        raise SystemExit("valid.npy in the work directory does not hold the tokens of valid.txt in the corpus")
    return held, texts


def measure(folder: Path, corpus: Path, work: Path) -> dict[str, Any]:
    """Every measured number of the card, from the files as installed."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    full = AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32).eval()
    held, texts = held_out(corpus, work, tokenizer)
    names = ["unigram", "bigram", "trigram", *(f"{n}-gram" for n in range(4, ORDERS + 1))]
    grams = ngram_nats(np.load(work / "tokens.npy"), held, ORDERS, model.config.vocab_size)
    nats = {"model": model_nats(model, held), **dict(zip(names, grams, strict=True))}
    return {
        "held_out": {
            "documents": len(texts),
            "tokens": len(held),
            "bytes": sum(len(t.encode()) for t in texts),
            "words": sum(len(t.split()) for t in texts),
        },
        "scores": {name: scores(loss, texts) for name, loss in nats.items()},
        "windows_of_all_positions": scores(model_nats(model, held, model.config.max_position_embeddings), texts),
        "float32_checkpoint": scores(model_nats(full, held), texts),
        "categories": by_category(
            {name: nats[name] for name in ("model", "trigram", names[-1])}, held, categories(corpus, len(texts))
        ),
        "samples": samples(model, tokenizer),
    }


def facts(folder: Path, corpus: Path, work: Path) -> dict[str, Any]:
    """What the card says about the model besides measurements: shape, data, training."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    training = json.loads((work / "log.json").read_text(encoding="utf-8"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    seen = training["log"][-1]["tokens"]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "embedding_parameters": model.get_input_embeddings().weight.numel() + model.lm_head.weight.numel(),
        "config": config,
        "files": {
            "model.safetensors": {
                "bytes": (folder / "model.safetensors").stat().st_size,
                "sha256": sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
            }
        },
        "data": {
            "shards": [path.name for path in shards(corpus)],
            "tokens": training["training_tokens"],
            "tokens_seen": seen,
            "epochs": round(seen / training["training_tokens"], 3),
            "sources": source_table(corpus / "sources.tsv"),
        },
        "training": {
            **training["arguments"],
            "context": CONTEXT,
            "optimizers": {type(o).__name__: settings(o) for o in optimizers(model)},
            "schedule": str(schedule.__doc__).rstrip("."),
            "log": training["log"],
        },
        "sampling": SAMPLING,
        "measured_with": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
    }


def settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The settings of an optimizer that the card names."""
    names = ("lr", "momentum", "betas", "weight_decay")
    return {name: optimizer.defaults[name] for name in names if name in optimizer.defaults}


def install(built: Path, out: Path) -> None:
    """Move the built files into the folder, each under its name at once; the weights' card comes last."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(built.iterdir(), key=lambda path: path.name in {"README.md", "card.json"}):
        path.chmod(0o644)
        path.replace(out / path.name)


def main() -> None:
    """Build in a temporary folder beside the target, then install."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="the folder pre-training read")
    parser.add_argument("--work", type=Path, default=Path("build/pretrain"))
    parser.add_argument("--out", type=Path, default=Path("src/qpeft/assets/model"))
    arguments = parser.parse_args()
    corpus, work, out = arguments.corpus, arguments.work, arguments.out
    for needed in (work / "model", work / "log.json", corpus / "sources.tsv"):
        if not needed.exists():
            raise SystemExit(f"{needed} is absent; let scripts/pretrain.py finish, and name its --corpus and --work")
    transformers.utils.logging.disable_progress_bar()
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as name:
        built = Path(name)
        cost = write_model(work, built)
        card = {**facts(built, corpus, work), "float16": cost, **measure(built, corpus, work)}
        write_json(built / "card.json", card)
        (built / "loss.svg").write_text(loss_curve(card["training"]["log"]), encoding="utf-8")
        (built / "README.md").write_text(render(card), encoding="utf-8")
        install(built, out)
    print(json.dumps({name: row["perplexity"] for name, row in card["scores"].items()}))


if __name__ == "__main__":
    main()
