"""The contract an adapter keeps under QPA: identity at start, learning, bitwise resume, a stock file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import torch

from qpeft.qpa import QPAConfig, QPAOptimizer, save_adapter

CONFIG = QPAConfig(n_mlp=16, depth=2, seed=1)


def check_adapter_under_qpa(
    make_model: Callable[[], Any],
    adapter: Any,
    batch: dict[str, torch.Tensor],
    folder: Path,
    tolerance: float = 0.0,
) -> None:
    """Train an adapter under QPA and assert the whole contract.

    Args:
        make_model: Builds the same base model at each call.
        adapter: Any peft config.
        batch: What the model takes, with ``input_ids`` (B, T); some methods need ``task_ids`` (B,), too.
        folder: An empty folder.
        tolerance: Largest difference of a logit after saving and loading; 0 is bit for bit.

    Raises:
        AssertionError: Says which part of the contract does not hold.
    """
    model, optimizer = start(make_model, adapter)
    untouched, _ = wrapped(make_model, adapter)
    assert torch.equal(logits(model, batch), logits(untouched, batch)), "QPA changed the adapter before training"
    first = steps(model, optimizer, batch, 2)
    state = optimizer.state_dict()
    saved = {"optimizer": clone(state), "model": {n: t.detach().clone() for n, t in numbers(model)}}
    last = steps(model, optimizer, batch, 8)
    assert min(last) < first[0], f"the loss did not fall: {[*first, *last]}"
    # As a trainer resumes: the adapter is loaded first, the optimizer built after it.
    again, named = wrapped(make_model, adapter)
    with torch.no_grad():
        for name, tensor in numbers(again):
            tensor.copy_(saved["model"][name])
    resumed = QPAOptimizer(named, CONFIG, lr=3e-2)
    resumed.load_state_dict(saved["optimizer"])
    assert steps(again, resumed, batch, 8) == last, "a resumed run does not continue bitwise"
    save_adapter(model, folder / "adapter", optimizer)
    loaded = peft.PeftModel.from_pretrained(make_model(), str(folder / "adapter"))
    difference = (logits(loaded, batch) - logits(model, batch)).abs().max().item()
    assert difference <= tolerance, f"the saved adapter computes something else (logits differ by {difference:.1e})"


def wrapped(make_model: Callable[[], Any], adapter: Any) -> tuple[Any, list[tuple[str, torch.nn.Parameter]]]:
    """A peft model with equal initial values at each call, and its trainable Parameters."""
    torch.manual_seed(11)
    model = peft.get_peft_model(make_model(), adapter)
    return model, [(n, p) for n, p in model.named_parameters() if p.requires_grad]


def start(make_model: Callable[[], Any], adapter: Any) -> tuple[Any, QPAOptimizer]:
    """A peft model and its QPA optimizer."""
    model, named = wrapped(make_model, adapter)
    return model, QPAOptimizer(named, CONFIG, lr=3e-2)


def steps(model: Any, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor], count: int) -> list[float]:
    """Losses before each of some optimizer steps."""
    model.train()
    losses = []
    for step in range(count):
        torch.manual_seed(step)  # dropout
        loss = model(**batch, labels=batch["input_ids"]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits in evaluation mode."""
    model.eval()
    with torch.no_grad():
        out: torch.Tensor = model(**batch).logits
    return out


def clone(state: Any) -> Any:
    """A deep copy of a state of tensors, as a checkpoint on disk would be."""
    if isinstance(state, torch.Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {key: clone(value) for key, value in state.items()}
    return [clone(value) for value in state] if isinstance(state, list) else state


def numbers(model: Any) -> list[tuple[str, torch.Tensor]]:
    """Everything a model computes with: its Parameters and its buffers, which an adapter's file has as well."""
    return [*model.named_parameters(), *model.named_buffers()]
