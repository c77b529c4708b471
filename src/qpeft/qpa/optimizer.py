"""QPAOptimizer: the QPA update (Eqs. 3-4) as a torch optimizer that writes the generated adapter back.

The adapter's Parameters stay ordinary leaves, so every trainer, gradient checkpointing, accumulation and
distributed wrapper works unchanged. One ``step()`` is: pull dL/da through the generator, step theta and b,
generate a again, write it. Every checkpoint on disk is therefore already a stock adapter.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from qpeft.errors import ConfigError, ModelError
from qpeft.qpa.config import QPAConfig
from qpeft.qpa.generator import Generator
from qpeft.qpa.plan import Plan
from qpeft.quantum import Execution

VECTORS = ("written", "offset", "factors")
# An optimizer without any state is stepped with gradients of zero before FSDP saves it, which would move the moments.
MARK = "qpa"
INNER: dict[str, type[Optimizer]] = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def whole(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """The full tensor of a sharded one; others unchanged."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


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


class QPAOptimizer(Optimizer):
    """Trains a generator of adapter numbers instead of the numbers themselves (arXiv:2410.09846, Eq. 3).

    Drop-in for any loop and for ``transformers.Trainer``::

        Trainer(..., optimizer_cls_and_kwargs=(QPAOptimizer, {"config": QPAConfig(n_mlp=512), "lr": 1e-2}))

    Args:
        params: The trainable adapter Parameters, as any torch optimizer takes them; (name, Parameter) pairs are
            needed for ``layout="released"``.
        config: The generator.
        lr: Learning rate of mapping and angles; schedulers that change ``param_groups[0]["lr"]`` act on both.
        inner: ``adamw`` or ``sgd``, the optimizer of the generator's own numbers.
        weight_decay: On the generator's own numbers.
        inner_options: More keyword arguments for the inner optimizer, such as ``{"eps": 1e-6}``.
        execution: Where the circuit runs and how its gradient is found, such as
            ``Execution.open("noisy:device=torino,shots=20x", "surrogate")``; exact by default.

    Raises:
        ConfigError: The inner optimizer is unknown, or the layout needs names that were not given.
        ModelError: There is nothing trainable.
    """

    def __init__(
        self,
        params: Iterable[Any],
        config: QPAConfig,
        *,
        lr: float = 1e-2,
        inner: str = "adamw",
        weight_decay: float = 0.0,
        inner_options: dict[str, Any] | None = None,
        execution: Execution | None = None,
    ) -> None:
        if inner not in INNER:
            raise ConfigError(f"inner must be one of {', '.join(INNER)}; got {inner!r}")
        super().__init__(params, {"lr": lr})
        self.config = config.resolved()
        tensors = [t.detach() for t in map(whole, self._parameters()) if t is not None]
        self.plan = Plan.of(zip(self._names(), [t.shape for t in tensors], strict=True), str(self.config.layout))
        self.generator = Generator(self.plan.m, self.config, execution).to(tensors[0].device)
        self.factors = block_scales(
            self.plan, tensors, float(self.config.scale or 0.0), by_block=bool(self.config.block_scale)
        ).to(tensors[0].device)
        self.inner = self._inner(inner, lr, {"weight_decay": weight_decay, **(inner_options or {})})
        self.written = self.plan.gather(tensors, self.factors)
        self._vector: torch.Tensor | None = None
        self.offset = torch.zeros_like(self.written)
        if self.config.start == "identity":
            self.offset = self.written - self.factors * self._evaluate().detach()
        else:
            self._generate()
        self.state[MARK] = {}  # type: ignore[index]

    def _inner(self, name: str, lr: float, options: dict[str, Any]) -> Optimizer:
        """The optimizer of the generator's numbers: mapping first, angles with their own factor."""
        named = [(n, p) for n, p in self.generator.named_parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for n, p in named if not n.endswith(".angles")], "factor": 1.0},
            {"params": [p for n, p in named if n.endswith(".angles")], "factor": self.config.angle_learning_rate},
        ]
        make: Callable[..., Optimizer] = INNER[name]
        return with_state(make([group for group in groups if group["params"]], lr=lr, **options))

    def _parameters(self) -> list[torch.Tensor]:
        """The adapter's Parameters now; wrappers may have replaced the objects since construction."""
        found = [p for group in self.param_groups for p in group["params"]]
        if not found:
            raise ModelError("the model has no trainable tensor to generate; wrap it with peft.get_peft_model first")
        return found

    def _names(self) -> list[str]:
        """Names given by the caller, or numbers where the layout does not need them."""
        names: list[str] = []
        for group in self.param_groups:
            given = group.get("param_names")
            if given is None and self.config.layout == "released":
                raise ConfigError(
                    "qpa.layout 'released' orders tensors by name; pass named parameters: "
                    "params=[(n, p) for n, p in model.named_parameters() if p.requires_grad]"
                )
            names += given or [f"tensor.{len(names) + i}" for i in range(len(group["params"]))]
        return names

    def _evaluate(self) -> torch.Tensor:
        """The generated vector with its graph; kept, so that forward and gradient share one evaluation."""
        if self._vector is None:
            with torch.enable_grad():
                self._vector = self.generator()
        return self._vector

    @torch.no_grad()
    def _generate(self, *, mean_basis: bool = False) -> None:
        """Generate a and write it into the adapter."""
        if mean_basis:
            vector = self.generator(mean_basis=True)
        else:
            self.generator.redraw()
            self._vector = None
            vector = self._evaluate().detach()
        values = self.offset + self.factors * vector
        for parameter, value in zip(self._parameters(), self.plan.slices(values), strict=True):
            overwrite(parameter, value)
        self.written = self._read()

    def _read(self) -> torch.Tensor:
        """The adapter as it is, one vector of shape (m,)."""
        return self.plan.gather([whole(p) for p in self._parameters()], self.factors)

    def _absorb(self) -> None:
        """Keep edits that others made in place (some peft methods mask or re-normalise their tensors)."""
        now = self._read()
        if not torch.equal(now, self.written):
            self.offset = self.offset + (now - self.written)
            self.written = now

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of the generator and of the adapter it writes."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._absorb()
        gradient = self.plan.gather([whole(p.grad) for p in self._parameters()], self.factors)
        vector = self._evaluate()
        if vector.requires_grad:  # a config may leave nothing to train
            torch.autograd.backward(vector, gradient * self.factors)
        self._vector = None
        self._clip()
        for group in self.inner.param_groups:
            group["lr"] = self.param_groups[0]["lr"] * group["factor"]
        self.inner.step()
        self.inner.zero_grad(set_to_none=True)
        self._generate()
        return loss

    def _clip(self) -> None:
        """Clip in the generator's own space; the trainer's clipping acts on dL/da."""
        if self.config.max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.generator.parameters(), self.config.max_grad_norm)

    def finish(self) -> None:
        """Write what is exported: for the released random basis the bits' mean, otherwise what is there already."""
        self._absorb()
        if self.config.basis == "random":
            self._generate(mean_basis=True)

    def state_dict(self) -> dict[str, Any]:
        """Everything a bitwise resume needs; plain tensors and numbers only.

        It has the layout of any optimizer's, one entry a Parameter, because FSDP keeps nothing else: there each
        tensor's part of the vectors, and in the first entry the generator, its optimizer and its random orders.
        """
        # A trainer may load the adapter before it builds the optimizer, so nothing is derived from it again.
        vectors = {name: self.plan.slices(getattr(self, name)) for name in VECTORS}
        state: dict[int, dict[str, Any]] = {
            place: {name: parts[place].detach().clone() for name, parts in vectors.items()}
            for place in range(len(self.plan.entries))
        }
        own = {"inner": self.inner.state_dict(), "generator": self.generator.state_dict()}
        state[0]["qpa"] = {**own, "orders": self.generator.orders.get_state().to(self.factors.device)}
        return {**super().state_dict(), "state": state}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state; the adapter's own tensors are restored too.

        Raises:
            ConfigError: The state is of another optimizer, or of an adapter of another size.
        """
        keys = [key for group in state_dict["param_groups"] for key in group["params"]]  # numbers, or FSDP's names
        entries = [state_dict["state"].get(key, {}) for key in keys]
        if not entries or "qpa" not in entries[0]:
            raise ConfigError("a state of QPAOptimizer was required (key 'qpa'); got one of another optimizer")
        held = sum(entry["written"].numel() for entry in entries)
        if held != self.plan.m or len(entries) != len(self.plan.entries):
            raise ConfigError(f"the state holds {held} adapter numbers; the model has {self.plan.m}")
        super().load_state_dict({"state": {}, "param_groups": state_dict["param_groups"]})
        self.state[MARK] = {}  # type: ignore[index]
        own = entries[0]["qpa"]
        self.generator.load_state_dict(own["generator"])
        self.generator.orders.set_state(own["orders"].cpu().byte())
        # FSDP turns the numbers of parameters into words, and leaves out what is empty.
        moments = {int(place): entry for place, entry in own["inner"].get("state", {}).items()}
        self.inner.load_state_dict({**own["inner"], "state": moments})
        for name in VECTORS:
            setattr(self, name, self.plan.gather([entry[name] for entry in entries], self.factors))
        for parameter, value in zip(self._parameters(), self.plan.slices(self.written), strict=True):
            overwrite(parameter, value)
        # The graph of the last evaluation is not in the state; what it measured is measured again, with the same seed.
        self._vector = None
        self.generator.rewind()
