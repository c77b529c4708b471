"""QPAOptimizer: the QPA update (Eqs. 3-4) as a torch optimizer that writes the generated adapter back.

The adapter's Parameters stay ordinary leaves, so every trainer, gradient checkpointing, accumulation and
distributed wrapper works unchanged. One ``step()`` is: pull dL/da through the generator, step theta and b,
generate a again, write it. Every checkpoint on disk is therefore already a stock adapter.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from qpeft.errors import ConfigError, ModelError
from qpeft.qpa.config import QPAConfig
from qpeft.qpa.generator import Generator
from qpeft.qpa.groups import INNER, check_group, check_inner, check_rate, decays, shares, top_rate
from qpeft.qpa.plan import Plan, block_scales, overwrite, whole
from qpeft.qpa.state import Snapshot, Snapshots, check_state, tensors_of, with_state, written_config
from qpeft.qpa.written import NOTHING, Written
from qpeft.quantum import Execution

VECTORS = ("written", "offset", "factors")
COPIED = (
    *("config", "plan", "generator", "inner", "offset", "factors", "written", "skipped"),
    *("_scales", "_shares", "_replaced", "_repeat", "_snapshots", "_laid_out"),
)
# An optimizer without any state is stepped with gradients of zero before FSDP saves it, which would move the moments.
MARK = "qpa"


class QPAOptimizer(Written):
    """Trains a generator of adapter numbers instead of the numbers themselves (arXiv:2410.09846, Eq. 3).

    Drop-in for any loop and for ``transformers.Trainer``::

        Trainer(..., optimizer_cls_and_kwargs=(QPAOptimizer, {"config": QPAConfig(n_mlp=512), "lr": 1e-2}))

    It keeps torch's contract: groups have their own ``lr`` and ``weight_decay`` (`qpeft.qpa.groups` says what they
    mean for generated numbers), a Parameter without a gradient or with rate 0 stays where it is, and a step whose
    gradient is not finite is left out, counted in ``skipped`` and warned of. Where a saved adapter is loaded back, as
    ``load_best_model_at_end`` does, its generator comes back with it.

    Args:
        params: The trainable adapter Parameters, as any torch optimizer takes them; (name, Parameter) pairs are
            needed for ``layout="released"``.
        config: The generator.
        lr: Learning rate of mapping and angles, and of groups without their own; schedulers act on the groups' ``lr``.
        inner: ``adamw`` or ``sgd``, the optimizer of the generator's own numbers.
        weight_decay: On the generator's own numbers; a group's ``weight_decay`` acts on the adapter's, as in torch.
        inner_options: More keyword arguments for the inner optimizer, such as ``{"eps": 1e-6}``.
        execution: Where the circuit runs and how its gradient is found, such as
            ``Execution.open("noisy:device=torino,shots=20x", "surrogate")``; exact by default.

    Raises:
        ConfigError: The inner optimizer or an option is unknown, a rate or a group cannot be used, or the layout needs
            names that were not given.
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
        options = {"weight_decay": check_rate("weight_decay", weight_decay), **(inner_options or {})}
        check_inner(inner, inner_options or {})
        self._laid_out = False
        given = params if isinstance(params, (torch.Tensor, dict)) else list(params)
        if isinstance(given, list) and not given:
            raise ModelError(NOTHING)
        super().__init__(given, {"lr": check_rate("lr", lr), "weight_decay": 0.0})
        self.config = config.resolved()
        tensors = [t.detach() for t in map(whole, self._parameters()) if t is not None]
        self.plan = Plan.of(zip(self._names(), [t.shape for t in tensors], strict=True), str(self.config.layout))
        self._laid_out = True
        self.generator = Generator(self.plan.m, self.config, execution).to(tensors[0].device)
        self._scales = block_scales(
            self.plan, tensors, float(self.config.scale or 0.0), by_block=bool(self.config.block_scale)
        ).to(tensors[0].device)
        self.inner = self._inner(inner, lr, options)
        self.factors, self._shares = self._scales, [1.0] * len(tensors)
        self.skipped, self._replaced, self._snapshots = 0, False, Snapshots()
        self.written = self.plan.gather(tensors, self.factors)
        self._vector: torch.Tensor | None = None
        # How the next gradient's evaluation repeats the one a loaded state was made with: not at all, counted or not.
        self._repeat: bool | None = None
        self.offset = torch.zeros_like(self.written)
        if self.config.start == "identity":
            self.offset = self.written - self.factors * self._evaluate().detach()
        else:
            self._generate()
        self.state[MARK] = {}  # type: ignore[index]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group while the optimizer is built; later the generator is laid out, and its m numbers are all taken.

        Raises:
            ConfigError: It is too late, or the group cannot be used.
        """
        if self._laid_out:
            raise ConfigError(
                f"the generator was laid out for {self.plan.m} numbers when the optimizer was built, and a group "
                f"cannot be added; build a new QPAOptimizer with all Parameters"
            )
        params = param_group.get("params")
        if params is not None and not isinstance(params, (torch.Tensor, set)):
            param_group = {**param_group, "params": list(params)}
            check_group(param_group, self.param_groups)
        super().add_param_group(param_group)

    def _inner(self, name: str, lr: float, options: dict[str, Any]) -> Optimizer:
        """The optimizer of the generator's numbers: mapping first, angles with their own factor."""
        named = [(n, p) for n, p in self.generator.named_parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for n, p in named if not n.endswith(".angles")], "factor": 1.0},
            {"params": [p for n, p in named if n.endswith(".angles")], "factor": self.config.angle_learning_rate},
        ]
        make: Callable[..., Optimizer] = INNER[name]
        try:
            return with_state(make([group for group in groups if group["params"]], lr=lr, **options))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"inner_options {options} cannot be used by {INNER[name].__name__}: {error}") from error

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of the generator and of the adapter it writes; none where no gradient is there, or finite."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.absorb()
        parameters = self._parameters()
        if all(p.grad is None for p in parameters):
            return loss
        gradient = self.plan.gather([whole(p.grad) for p in parameters], self.factors)
        if not self._usable(gradient):
            return loss
        top = top_rate(self.param_groups)
        self._weigh(shares(self.param_groups, top, self.inner))
        lost = decays(self.param_groups, self.inner)
        coupled = isinstance(self.inner, torch.optim.SGD)
        if coupled and any(lost):
            gradient += self._spread(lost) * self.written
        if self._pull_back(gradient):
            if not coupled and any(lost):
                self.offset = self.offset - self._spread(lost) * self.written
            self._advance(top)
        return loss

    def _usable(self, gradient: torch.Tensor) -> bool:
        """Whether dL/da is finite; otherwise the step is left out, and the tensors are named."""
        if bool(torch.isfinite(gradient).all()):
            return True
        parts = zip(self.plan.entries, self.plan.slices(gradient), strict=True)
        self._skip(", ".join([entry.name for entry, part in parts if not bool(torch.isfinite(part).all())]))
        return False

    def _skip(self, where: str) -> None:
        """Count a step that is left out, and say so."""
        self.skipped += 1
        warnings.warn(
            f"a step of QPAOptimizer was left out ({self.skipped} so far): NaN or infinity in the gradient "
            f"of {where}; generator and adapter stay as they were. A lower learning rate, or float32, may help",
            stacklevel=4,
        )

    def _pull_back(self, gradient: torch.Tensor) -> bool:
        """The generator's own gradient from dL/da, shape (m,); whether it is finite."""
        vector = self._evaluate()
        if vector.requires_grad:  # a config may leave nothing to train
            torch.autograd.backward(vector, gradient * self.factors)
        self._vector = None
        found = [p.grad for p in self.generator.parameters() if p.grad is not None]
        if found and not bool(torch.stack([torch.isfinite(g).all() for g in found]).all()):
            self.inner.zero_grad(set_to_none=True)
            self.generator.rewind()
            self._skip("the generator")
            return False
        return True

    def _advance(self, top: float) -> None:
        """Step the generator at a rate, and write what it generates then."""
        if self.config.max_grad_norm > 0:  # the trainer's clipping acts on dL/da
            torch.nn.utils.clip_grad_norm_(self.generator.parameters(), self.config.max_grad_norm)
        for group in self.inner.param_groups:
            group["lr"] = top * group["factor"]
        self.inner.step()
        self.inner.zero_grad(set_to_none=True)
        # At rate 0 nothing moves, not even by another order of the basis; what is measured is measured anew.
        if top > 0 or self.generator.execution.backend.shots is not None:
            self._generate()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: all but the graph of the last evaluation, which a copy makes again."""
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in COPIED}, "_vector": None}

    def state_dict(self) -> dict[str, Any]:
        """Everything a bitwise resume needs; plain tensors and numbers only.

        It has the layout of any optimizer's, one entry a Parameter, because FSDP keeps nothing else: there each
        tensor's part of the vectors, and in the first entry the generator, its optimizer and its random orders.
        """
        self.absorb()
        orders = self.generator.orders.get_state()
        self._snapshots.keep(
            self.written, Snapshot(tensors_of(self.generator), orders, self.offset, list(self._shares))
        )
        # A trainer may load the adapter before it builds the optimizer, so nothing is derived from it again.
        held = {"written": self.written, "offset": self.offset, "factors": self._scales}
        vectors = {name: self.plan.slices(vector) for name, vector in held.items()}
        state: dict[int, dict[str, Any]] = {
            place: {name: parts[place].detach().clone() for name, parts in vectors.items()}
            for place in range(len(self.plan.entries))
        }
        plain = {
            "orders": orders,
            "shares": torch.tensor(self._shares, dtype=torch.float64),
            "skipped": torch.tensor(self.skipped),
            # Whether the next gradient belongs to the last evaluation, so that a resume has to repeat it.
            "live": torch.tensor(self._vector is not None or self._repeat is not None),
            "config": written_config(self.config),
        }
        state[0]["qpa"] = {
            "inner": self.inner.state_dict(),
            "generator": self.generator.state_dict(),
            **{name: tensor.to(self.factors.device) for name, tensor in plain.items()},
        }
        return {**super().state_dict(), "state": state}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state; the adapter's own tensors are restored too.

        Raises:
            ConfigError: The state is of another optimizer, adapter or generator; nothing was changed.
        """
        sizes = [
            [len(group["params"]) for group in groups] for groups in (state_dict["param_groups"], self.param_groups)
        ]
        keys = [key for group in state_dict["param_groups"] for key in group["params"]]  # numbers, or FSDP's names
        entries = [state_dict["state"].get(key, {}) for key in keys]
        check_state(entries, self.plan, self.config, self.generator, self.inner)
        if sizes[0] != sizes[1]:
            raise ConfigError(f"the state has groups of {sizes[0]} Parameters; the optimizer has groups of {sizes[1]}")
        super().load_state_dict({"state": {}, "param_groups": state_dict["param_groups"]})
        self.state[MARK] = {}  # type: ignore[index]
        own, before = entries[0]["qpa"], self.generator.evaluated
        self.generator.load_state_dict(own["generator"])
        self.generator.orders.set_state(own["orders"].cpu().byte())
        # FSDP turns the numbers of parameters into words, and leaves out what is empty.
        moments = {int(place): entry for place, entry in own["inner"].get("state", {}).items()}
        self.inner.load_state_dict({**own["inner"], "state": moments})
        for name in VECTORS:
            gathered = self.plan.gather([entry[name] for entry in entries], self.factors)
            setattr(self, "_scales" if name == "factors" else name, gathered)
        # States from before there were shares: every tensor follows the generator wholly.
        self._set_shares(own["shares"].tolist() if "shares" in own else [1.0] * len(entries))
        self.skipped = int(own.get("skipped", 0))
        for parameter, value in zip(self._parameters(), self.plan.slices(self.written), strict=True):
            overwrite(parameter, value)
        # The graph of the last evaluation is not in the state; what it measured is measured again, with the same seed.
        # Every run does so once, as accelerate loads the state it has just saved, and counts it. A resumed run does so
        # for the state of a checkpoint; its counters stay those of a run without a break.
        self._vector, self._replaced = None, False
        self._repeat = self.generator.evaluated == before if bool(own.get("live", True)) else None
