"""State: what a QPAOptimizer's state must hold to fit, and the generators of adapters that were saved."""

import dataclasses
import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from qpeft.errors import ConfigError
from qpeft.qpa.config import QPAConfig
from qpeft.qpa.generator import Generator
from qpeft.qpa.plan import Plan

# These may change between two parts of a run; all others decide what the generator's numbers mean.
FREE = ("angle_learning_rate", "max_grad_norm")
# Saved generators kept in memory, at most; beyond it the oldest go.
KEPT_BYTES = 1 << 30


def with_state(optimizer: Optimizer) -> Optimizer:
    """The same optimizer with its moments in place, all zero, as its first step would make them.

    FSDP hands a loaded state to the other processes by the entries they have already.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    for moments in optimizer.state.values():
        for value in moments.values():
            if isinstance(value, torch.Tensor):
                value.zero_()
    return optimizer


def written_config(config: QPAConfig) -> torch.Tensor:
    """A config as the bytes of its JSON: FSDP carries tensors and nothing else."""
    return torch.tensor(list(json.dumps(dataclasses.asdict(config), sort_keys=True).encode()), dtype=torch.uint8)


def check_state(
    entries: Sequence[dict[str, Any]], plan: Plan, config: QPAConfig, generator: Generator, inner: Optimizer
) -> None:
    """Compare a state with what it shall be loaded into, before anything is changed.

    Args:
        entries: One a Parameter, in order.
        plan: The adapter's tensors.
        config: Resolved.
        generator: Receives the state.
        inner: Its optimizer.

    Raises:
        ConfigError: The state is of another optimizer, adapter or generator; the message names what differs.
    """
    if not entries or "qpa" not in entries[0]:
        raise ConfigError("a state of QPAOptimizer was required (key 'qpa'); got one of another optimizer")
    held = sum(entry["written"].numel() for entry in entries)
    if held != plan.m or len(entries) != len(plan.entries):
        raise ConfigError(f"the state holds {held} adapter numbers; the model has {plan.m}")
    for entry, own in zip(entries, plan.entries, strict=True):
        if entry["written"].numel() != own.size:
            raise ConfigError(
                f"the state holds {entry['written'].numel()} numbers for {own.name}, which has {own.size} here; give "
                f"the Parameters in the order of the run the state is of"
            )
    state = entries[0]["qpa"]
    if "config" in state:
        check_config(json.loads(bytes(state["config"].tolist())), config)
    check_generator(state["generator"], generator)
    check_moments(state["inner"], inner)


def check_config(saved: dict[str, Any], config: QPAConfig) -> None:
    """Compare the generator's config with that of a state; a field the state does not know had its default.

    Raises:
        ConfigError: Names the fields that differ.
    """
    own = json.loads(json.dumps(dataclasses.asdict(config)))
    defaults = {field.name: field.default for field in dataclasses.fields(QPAConfig)}
    pairs = {key: (saved.get(key, defaults[key]), value) for key, value in own.items() if key not in FREE}
    differing = [f"{key} {there!r} there, {here!r} here" for key, (there, here) in pairs.items() if there != here]
    if differing:
        raise ConfigError(
            f"the state is of another generator ({'; '.join(differing)}); build the optimizer with the config of the "
            f"run the state is of"
        )


def check_generator(saved: dict[str, Any], generator: Generator) -> None:
    """Compare names and shapes of the generator's tensors with a state's.

    Raises:
        ConfigError: Names the first tensor that is missing, too many, or of another shape.
    """
    own = generator.state_dict()
    for name in sorted({*own, *saved}):
        there, here = (part.get(name) for part in (saved, own))
        shapes = [getattr(x, "shape", None) if x is not None else "nothing" for x in (there, here)]
        if shapes[0] != shapes[1]:
            words = [str(tuple(shape)) if isinstance(shape, torch.Size) else str(shape) for shape in shapes]
            raise ConfigError(
                f"the state is of another generator: {name} is {words[0]} there and {words[1]} here; n_mlp, widths, "
                f"depth, n_generators and source must be those of the run the state is of"
            )


def check_moments(saved: dict[str, Any], inner: Optimizer) -> None:
    """Compare the moments of the generator's optimizer with a state's.

    Raises:
        ConfigError: They are those of another kind of optimizer.
    """
    own = {place: set(moments) for place, moments in inner.state_dict()["state"].items()}
    there = {int(place): set(moments) for place, moments in saved.get("state", {}).items()}
    kinds = [sorted(set().union(*found.values())) for found in (there, own)]
    if kinds[0] != kinds[1] or len(there) != len(own):
        raise ConfigError(
            f"the state's moments ({', '.join(kinds[0]) or 'none'}) are not those of the inner optimizer "
            f"({', '.join(kinds[1]) or 'none'}); inner and inner_options must be those of the run the state is of"
        )


@dataclass(frozen=True)
class Snapshot:
    """The generator behind one saved adapter."""

    generator: dict[str, torch.Tensor]
    orders: torch.Tensor
    offset: torch.Tensor
    shares: list[float]

    @property
    def nbytes(self) -> int:
        """Bytes it keeps."""
        return sum(tensor.nbytes for tensor in (*self.generator.values(), self.offset))


class Snapshots:
    """The generators of the adapters saved so far, found by the adapter's numbers.

    A trainer that loads the best adapter at the end loads the adapter alone; the generator comes from here.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Snapshot] = OrderedDict()

    def keep(self, adapter: torch.Tensor, snapshot: Snapshot) -> None:
        """Remember what generated an adapter, a vector of shape (m,)."""
        self._kept[digest(adapter)] = snapshot
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)

    def find(self, adapter: torch.Tensor) -> Snapshot | None:
        """What generated this adapter, if it is one that was saved."""
        return self._kept.get(digest(adapter)) if self._kept else None


def digest(vector: torch.Tensor) -> bytes:
    """Tells vectors of numbers apart, bit for bit."""
    return hashlib.blake2b(vector.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()).digest()


def tensors_of(generator: Generator) -> dict[str, torch.Tensor]:
    """Copies of the generator's tensors; its counters are costs of the run, and stay."""
    return {name: t.detach().clone() for name, t in generator.state_dict().items() if isinstance(t, torch.Tensor)}


@torch.no_grad()
def put_back(generator: Generator, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors of `tensors_of` into the generator."""
    own = generator.state_dict()
    for name, tensor in tensors.items():
        own[name].copy_(tensor)
