"""Plan: which adapter tensors the generator writes, in which order, and where each number comes from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from qpeft.errors import ModelError

# Name parts of up-projections (the "B" of BA) in peft's tensors: the authors generate them first.
UP_PARTS = ("lora_B", "lora_embedding_B", "vera_lambda_b", "hada_w1_b", "oft_")


@dataclass(frozen=True)
class Entry:
    """One adapter tensor: its name, shape and place among the m numbers."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Numbers in the tensor."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Plan:
    """The ordered tensors of an adapter; m is their total size.

    >>> plan = Plan.of([("a", (2, 3)), ("b", (4,))])
    >>> plan.m, [entry.offset for entry in plan.entries]
    (10, [0, 6])
    """

    entries: tuple[Entry, ...]

    @property
    def m(self) -> int:
        """Numbers to generate."""
        return sum(entry.size for entry in self.entries)

    @classmethod
    def of(cls, tensors: Iterable[tuple[str, Sequence[int]]], layout: str = "module") -> "Plan":
        """Lay tensors out one after another; offsets follow the layout, entries keep the given order.

        Args:
            tensors: Name and shape of each tensor.
            layout: ``module`` and ``interleaved`` keep the order; ``released`` puts up-projections first.

        Raises:
            ModelError: There is nothing to generate.
        """
        named = [(name, tuple(shape)) for name, shape in tensors]
        if not named:
            raise ModelError(
                "the model has no trainable tensor to generate; wrap it with peft.get_peft_model(...) first, "
                "and check that the adapter is not in inference mode"
            )
        order = list(range(len(named)))
        if layout == "released":
            order.sort(key=lambda i: not any(part in named[i][0] for part in UP_PARTS))
        offsets, position = [0] * len(named), 0
        for index in order:
            offsets[index] = position
            position += torch.Size(named[index][1]).numel()
        return cls(tuple(Entry(name, shape, offset) for (name, shape), offset in zip(named, offsets, strict=True)))

    def gather(self, tensors: Sequence[torch.Tensor | None], like: torch.Tensor) -> torch.Tensor:
        """One flat vector of shape (m,) from the tensors of the plan; None counts as zeros."""
        flat = torch.zeros(self.m, dtype=like.dtype, device=like.device)
        for entry, tensor in zip(self.entries, tensors, strict=True):
            if tensor is not None:
                flat[entry.offset : entry.offset + entry.size] = tensor.detach().reshape(-1).to(flat)
        return flat

    def slices(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """The views of a vector of shape (m,) that belong to each tensor, in the tensors' own shapes."""
        return [vector[e.offset : e.offset + e.size].view(e.shape) for e in self.entries]


def whole(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """The full tensor of a sharded one, the dense one of a sparse gradient; others unchanged."""
    if isinstance(tensor, DTensor):
        return tensor.full_tensor()
    return tensor.to_dense() if tensor is not None and tensor.is_sparse else tensor


def overwrite(parameter: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a full value into a Parameter, sharding it where the Parameter is sharded."""
    value = value.to(parameter.dtype)
    if isinstance(parameter, DTensor):
        value = distribute_tensor(value, parameter.device_mesh, parameter.placements)
    parameter.copy_(value)


def block_scales(plan: Plan, tensors: list[torch.Tensor], scale: float, *, by_block: bool) -> torch.Tensor:
    """The factor on each generated number, shape (m,).

    With ``by_block`` a tensor's factor is multiplied by its initial root mean square, or by 1/sqrt(fan-in)
    (its last axis) where it starts at zero.
    """
    factors = torch.full((plan.m,), scale)
    if by_block:
        for part, tensor in zip(plan.slices(factors), tensors, strict=True):
            size = tensor.float().square().mean().sqrt().item()
            part.mul_(size if size > 0 else tensor.shape[-1] ** -0.5)
    return factors
