"""Pre-train the embedded language model from scratch: tokenizer, training, checkpoint.

    python scripts/pretrain.py --corpus CORPUS --work build/pretrain --steps 4000
    python scripts/model_card.py --corpus CORPUS --work build/pretrain    # measures and installs it

The work directory holds everything that is needed to resume: run the same command again after an
interruption. Only the train-NN shards are read (the share-alike shard is left out).
"""

import argparse
import json
import lzma
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 4096
EOS, PAD = "<|endoftext|>", "<|pad|>"
CONTEXT = 256


def config() -> LlamaConfig:
    """The embedded model's shape: 5.3 M numbers, untied head."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
        dtype="float32",
    )


def shards(corpus: Path) -> list[Path]:
    """The training shards, without the share-alike one."""
    found = sorted(corpus.glob("train-[0-9][0-9].txt.xz"))
    if not found:
        raise SystemExit(f"no train-NN.txt.xz in {corpus}")
    return found


def documents(path: Path) -> list[str]:
    """The documents of one file: paragraphs joined by a newline, documents split at blank lines."""
    raw = (lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()).decode("utf-8")
    return [document.strip() for document in raw.split("\n\n") if document.strip()]


def train_tokenizer(corpus: Path, out: Path) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the first two shards."""
    if (out / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(out)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((d for s in shards(corpus)[:2] for d in documents(s)), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=EOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=512,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(out)
    return fast


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    """Token ids of all documents in a row, each followed by the end token; uint16."""
    rows = tokenizer.backend_tokenizer.encode_batch(texts)
    return np.concatenate([np.array([*row.ids, 0], dtype=np.uint16) for row in rows])


def token_file(corpus: Path, work: Path, tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """All training tokens, cached in the work directory."""
    path = work / "tokens.npy"
    if not path.exists():
        tokens = np.concatenate([encode(tokenizer, documents(shard)) for shard in shards(corpus)])
        np.save(work / "tokens.part.npy", tokens)
        (work / "tokens.part.npy").rename(path)
        np.save(work / "valid.npy", encode(tokenizer, documents(corpus / "valid.txt")))
    return np.load(path)


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the body, AdamW for embedding, head and norms."""
    body = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "layers" in n)]
    return [
        torch.optim.Muon(body, lr=2e-2, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=4e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(step: int, steps: int) -> float:
    """Warm-up over 100 steps, constant, linear decay to zero over the last 40 %."""
    return min((step + 1) / 100, 1.0, max((steps - step) / (0.4 * steps), 1e-3))


def window_loss(model: LlamaForCausalLM, rows: torch.Tensor) -> torch.Tensor:
    """Mean next-token loss of windows (B, 257), nats; the reduction in float32."""
    return torch.nn.functional.cross_entropy(model(rows[:, :-1]).logits.float().flatten(0, 1), rows[:, 1:].flatten())


def held_out_loss(model: LlamaForCausalLM, tokens: np.ndarray, batches: int) -> float:
    """Mean loss per token on non-overlapping windows, nats."""
    window = CONTEXT + 1
    count = min(batches * 32, len(tokens) // window)
    blocks = torch.from_numpy(tokens[: count * window].astype(np.int64)).view(count, window)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        losses = [window_loss(model, block).item() * len(block) for block in blocks.split(32)]
    return sum(losses) / count


def batch(tokens: np.ndarray, step: int, size: int, order: np.ndarray) -> torch.Tensor:
    """The token windows of one step: every window once per epoch, in a seeded order."""
    windows = len(order)
    index = order[(np.arange(size) + step * size) % windows]
    rows = np.stack([tokens[i * CONTEXT : i * CONTEXT + CONTEXT + 1] for i in index])
    return torch.from_numpy(rows.astype(np.int64))


def save(work: Path, step: int, model: LlamaForCausalLM, parts: list[torch.optim.Optimizer], log: list[dict]) -> None:
    """Write a resumable state under a temporary name, then rename."""
    state = {"step": step, "model": model.state_dict(), "optimizers": [o.state_dict() for o in parts], "log": log}
    torch.save(state, work / "state.part")
    (work / "state.part").rename(work / "state.pt")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with train-NN.txt.xz and valid.txt")
    parser.add_argument("--work", type=Path, default=Path("build/pretrain"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32, help="windows of 256 tokens per step")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def resume(
    work: Path, model: LlamaForCausalLM, parts: list[torch.optim.Optimizer]
) -> tuple[int, list[dict[str, Any]]]:
    """Step and log of the saved state, loaded into model and optimizers; zero and empty without one."""
    if not (work / "state.pt").exists():
        return 0, []
    state = torch.load(work / "state.pt", weights_only=True)
    model.load_state_dict(state["model"])
    for part, saved in zip(parts, state["optimizers"], strict=True):
        part.load_state_dict(saved)
    return state["step"], state["log"]


def update(rows: torch.Tensor, step_loss: Any, model: LlamaForCausalLM, parts: list[torch.optim.Optimizer]) -> float:
    """One optimizer step on a batch of windows; the loss before it."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = step_loss(rows)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for part in parts:
        part.step()
        part.zero_grad()
    return loss.item()


def main() -> None:
    """Train, logging to the terminal and to the work directory."""
    given = arguments()
    work, steps, size = given.work, given.steps, given.batch
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(given.corpus, work / "tokenizer")
    tokens = token_file(given.corpus, work, tokenizer)
    valid = np.load(work / "valid.npy")
    order = np.random.default_rng(given.seed).permutation((len(tokens) - 1) // CONTEXT)
    torch.manual_seed(given.seed)
    model = LlamaForCausalLM(config())
    parts = optimizers(model)
    rates = [part.param_groups[0]["lr"] for part in parts]
    start, log = resume(work, model, parts)
    numbers = sum(p.numel() for p in model.parameters())
    print(f"{numbers:,} numbers, {len(tokens):,} tokens, step {start} of {steps}", flush=True)
    step_loss = torch.compile(lambda rows: window_loss(model, rows))
    began, smooth = time.time(), math.nan
    for step in range(start, steps):
        for part, rate in zip(parts, rates, strict=True):
            part.param_groups[0]["lr"] = rate * schedule(step, steps)
        loss = update(batch(tokens, step, size, order), step_loss, model, parts)
        smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
        if (step + 1) % 50 and step + 1 != steps:
            continue
        entry = {"step": step + 1, "tokens": (step + 1) * size * CONTEXT, "train_loss": round(smooth, 4)}
        log.append(entry)
        if (step + 1) % 250 == 0 or step + 1 == steps:
            entry["valid_loss"] = round(held_out_loss(model, valid, 8), 4)
            save(work, step + 1, model, parts, log)
        pace = (time.time() - began) / (step + 1 - start)
        left = round(pace * (steps - step - 1) / 60, 1)
        print(json.dumps({**entry, "s_per_step": round(pace, 3), "left_min": left}), flush=True)
    model.save_pretrained(work / "model")
    body = {
        "arguments": {"steps": steps, "batch": size, "seed": given.seed},
        "training_tokens": len(tokens),
        "log": log,
    }
    (work / "log.json").write_text(json.dumps(body, indent=1))


if __name__ == "__main__":
    main()
