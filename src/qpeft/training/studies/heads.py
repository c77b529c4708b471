"""Losses of an output head alone: hidden states of one fixed batch, the head's weight, and a low-rank change of it."""

from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from qpeft.assets.texts import demo_texts
from qpeft.errors import ConfigError
from qpeft.training.models import load_base

# Standard deviation of GPT-2's initial weights.
HEAD_STD = 0.02


@dataclass(frozen=True)
class Head:
    """A frozen head on a fixed batch.

    Attributes:
        hidden: What the head reads, shape (T, d).
        base: Logits without the adapter, shape (T, V).
        labels: Next tokens, shape (T,).
        tensors: The adapter's tensors before training by name: A (r, d) and B (V, r), as peft starts them.
        scaling: peft's alpha / r.
        info: What it is, for the record.
    """

    hidden: Tensor
    base: Tensor
    labels: Tensor
    tensors: dict[str, Tensor]
    scaling: float
    info: dict[str, Any]

    @property
    def m(self) -> int:
        """Numbers of the adapter."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def loss(self, down: Tensor, up: Tensor) -> Tensor:
        """Mean cross-entropy in nats a token, with A of shape (r, d) and B of shape (V, r)."""
        return functional.cross_entropy(self.base + self.scaling * (self.hidden @ down.mT) @ up.mT, self.labels)


def embedded_head(tokens: int, rank: int, seed: int) -> Head:
    """The head of the embedded model on the first tokens of its own training texts, joined.

    Raises:
        ConfigError: The model's context is shorter.
    """
    base = load_base("embedded")
    found: list[int] = []
    for text in demo_texts("train"):
        found += base.tokenizer(text).input_ids
        if len(found) > tokens:
            break
    longest = min(len(found) - 1, int(base.model.config.max_position_embeddings))
    if tokens > longest:
        raise ConfigError(f"settings.tokens must be at most {longest} for the embedded model; got {tokens}")
    ids = torch.tensor([found[: tokens + 1]])
    head, read = base.model.get_output_embeddings(), []
    handle = head.register_forward_pre_hook(lambda module, args: read.append(args[0].detach()))
    with torch.no_grad():
        base.model.eval()(input_ids=ids[:, :-1].to(base.model.device))
    handle.remove()
    return adapted(read[0][0].cpu(), head.weight.detach().cpu(), ids[0, 1:], rank, seed, base.info)


def random_head(hidden_size: int, vocabulary: int, tokens: int, rank: int, seed: int) -> Head:
    """A head of true dimensions with GPT-2's initial weights, on normalised random hidden states."""
    generator = torch.Generator().manual_seed(seed)
    weight = HEAD_STD * torch.randn(vocabulary, hidden_size, generator=generator)
    hidden = torch.randn(tokens, hidden_size, generator=generator)
    labels = torch.randint(vocabulary, (tokens,), generator=generator)
    info = {"name": "random", "hidden_size": hidden_size, "vocabulary": vocabulary}
    return adapted(hidden, weight, labels, rank, seed, info)


def adapted(hidden: Tensor, weight: Tensor, labels: Tensor, rank: int, seed: int, info: dict[str, Any]) -> Head:
    """A head in float64 with the LoRA that peft puts on it (alpha = 2 r)."""
    plain = nn.ModuleDict({"lm_head": nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")})
    plain["lm_head"].weight = nn.Parameter(weight, requires_grad=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped = get_peft_model(plain, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["lm_head"]))
    tensors = {name: p.detach() for name, p in wrapped.named_parameters() if p.requires_grad}
    hidden = hidden.double()
    return Head(hidden, hidden @ weight.double().mT, labels, tensors, 2.0, {**info, "tokens": len(labels)})
