"""A tuner on trial: a base model, what is attached to it, a batch, and the few steps every promise is tried with."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from torch import Tensor
from torch.optim import Optimizer

from qpeft.testing.contract import logits

# Steps so small that the loss falls wherever gradients are right, and enough of them to see it in bfloat16.
STEPS, LEARNING_RATE = 8, 3e-3


def adamw(model: Any, lr: float = LEARNING_RATE) -> Optimizer:
    """AdamW over what requires gradients."""
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)


def attach(base: Any, config: Any) -> tuple[Any, Optimizer]:
    """A peft model, and AdamW over its adapter; the config itself is left as it is."""
    model = peft.get_peft_model(base, copy.deepcopy(config))
    return model, adamw(model)


@dataclass(frozen=True)
class Trial:
    """What is tried, and on what.

    Attributes:
        make_model: Builds the same base model at each call: a small causal language model of transformers, float32.
        config: A peft config with ``task_type="CAUSAL_LM"``, or whatever ``start`` takes.
        batch: ``input_ids`` (B, T); ``attention_mask`` (B, T) where some rows are padded on the left.
        folder: Receives what is saved.
        start: From base model and config to model and optimizer.
        autocast: Compute under bfloat16 autocast.
    """

    make_model: Callable[[], Any]
    config: Any
    batch: dict[str, Tensor]
    folder: Path
    start: Callable[[Any, Any], tuple[Any, Optimizer]] = attach
    autocast: bool = False

    def begin(self, base: Any = None, config: Any = None) -> tuple[Any, Optimizer]:
        """Model and optimizer before training; equal at each call."""
        torch.manual_seed(11)
        return self.start(self.make_model() if base is None else base, self.config if config is None else config)

    def trained(self, base: Any = None, config: Any = None) -> Any:
        """The model after a few steps.

        Raises:
            AssertionError: Training left the logits as they were, so that nothing can be told from them.
        """
        model, optimizer = self.begin(base, config)
        before = self.logits(model)
        self.steps(model, optimizer, STEPS)
        assert not torch.equal(self.logits(model), before), "training does not change what the model computes"
        return model

    def logits(self, model: Any) -> Tensor:
        """Logits of the batch in evaluation mode, shape (B, T, V)."""
        with self.precision():
            return logits(model, self.batch)

    def loss(self, model: Any, **options: Any) -> Tensor:
        """Mean loss of the tokens that are no padding; the model is called with the options."""
        ids = self.batch["input_ids"]
        labels = ids.masked_fill(self.batch.get("attention_mask", torch.ones_like(ids)) == 0, -100)
        # Left at once, as trainers do: autocast keeps the cast weights of a context, optimizer steps or not.
        with self.precision():
            found: Tensor = model(**self.batch, labels=labels, **options).loss
        return found

    def precision(self) -> torch.autocast:
        """The context in which the model computes."""
        return torch.autocast(self.batch["input_ids"].device.type, dtype=torch.bfloat16, enabled=self.autocast)

    def quality(self, model: Any) -> float:
        """The loss in evaluation mode."""
        model.eval()
        with torch.no_grad():
            return float(self.loss(model))

    def steps(self, model: Any, optimizer: Optimizer, count: int) -> set[str]:
        """Train; the names of the Parameters that got a gradient other than zero at some step."""
        model.train()
        reached = set()
        for step in range(count):
            torch.manual_seed(step)  # dropout
            optimizer.zero_grad()
            torch.autograd.backward(self.loss(model))
            reached |= {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
            optimizer.step()
        return reached

    def gradients(self, model: Any) -> tuple[dict[str, Tensor], int]:
        """Gradients by name, and how many modules were called, those called again in the backward pass included.

        The cache is off, as transformers turns it off under gradient checkpointing: attention over the cache's copies
        of keys and values rounds otherwise on some processors.
        """
        model.train()
        model.zero_grad()
        torch.manual_seed(0)
        with counted_calls() as calls:
            torch.autograd.backward(self.loss(model, use_cache=False))
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}, len(calls)


@contextmanager
def counted_calls() -> Iterator[list[None]]:
    """A list that grows by one with each call of any module."""
    calls: list[None] = []
    handle = torch.nn.modules.module.register_module_forward_pre_hook(lambda module, args: calls.append(None))
    try:
        yield calls
    finally:
        handle.remove()


def same(found: Tensor, expected: Tensor, message: str) -> None:
    """Assert equality bit for bit; the message names the broken promise."""
    assert torch.equal(found, expected), f"{message}{apart(found, expected)}"


def close(found: Tensor, expected: Tensor, message: str) -> None:
    """Assert equality up to rounding: 1e-4 of the largest value."""
    limit = 1e-4 * float(expected.abs().max())
    assert float((found - expected).abs().max()) <= limit, f"{message}{apart(found, expected)}"


def apart(found: Tensor, expected: Tensor) -> str:
    """How far two tensors are from each other, for a message."""
    if found.shape != expected.shape:
        return f" (shape {tuple(found.shape)}, not {tuple(expected.shape)})"
    return f" (logits differ by {float((found.float() - expected.float()).abs().max()):.1e})"


def listed(names: list[str]) -> str:
    """The first names of a list, for a message."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
