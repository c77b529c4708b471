"""Written: an adapter whose numbers are offset + factors * G(theta), and how others' edits of it are taken over."""

import torch
from torch.optim import Optimizer

from qpeft.errors import ConfigError, ModelError
from qpeft.qpa.config import QPAConfig
from qpeft.qpa.generator import Generator
from qpeft.qpa.plan import Plan, overwrite, whole
from qpeft.qpa.state import Snapshots, put_back

# Another adapter was loaded where every tensor moved by more than this part of its own size.
REPLACED = 1e-3
NOTHING = "the model has no trainable tensor to generate; wrap it with peft.get_peft_model first"


class Written(Optimizer):
    """The part of QPAOptimizer that reads and writes the adapter.

    Attributes:
        offset: What the generator's numbers are added to, shape (m,).
        factors: On each generated number, shares included, shape (m,).
        written: The adapter as it was written last, shape (m,).
    """

    config: QPAConfig
    plan: Plan
    generator: Generator
    offset: torch.Tensor
    factors: torch.Tensor
    written: torch.Tensor
    _scales: torch.Tensor
    _shares: list[float]
    _vector: torch.Tensor | None
    _repeat: bool | None
    _replaced: bool
    _snapshots: Snapshots

    def _parameters(self) -> list[torch.Tensor]:
        """The adapter's Parameters now; wrappers may have replaced the objects since construction."""
        found = [p for group in self.param_groups for p in group["params"]]
        if not found:
            raise ModelError(NOTHING)
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
            if self._repeat is not None:
                self.generator.rewind(counted=self._repeat)
                self._repeat = None
            with torch.enable_grad():
                self._vector = self.generator()
        return self._vector

    @torch.no_grad()
    def _generate(self, *, mean_basis: bool = False) -> None:
        """Generate a and write it into the adapter."""
        self._repeat = None
        if mean_basis:
            vector = self.generator(mean_basis=True)
        else:
            self.generator.redraw()
            self._vector = None
            vector = self._evaluate().detach()
        values = self.offset + self.factors * vector
        for parameter, value, share in zip(self._parameters(), self.plan.slices(values), self._shares, strict=True):
            if share > 0:
                overwrite(parameter, value)
        self.written, self._replaced = self._read(), False

    def _read(self) -> torch.Tensor:
        """The adapter as it is, one vector of shape (m,)."""
        return self.plan.gather([whole(p) for p in self._parameters()], self.factors)

    @torch.no_grad()
    def absorb(self) -> None:
        """Take over what others wrote into the adapter: a saved one with its generator, other edits into the offset.

        Some peft methods mask or re-normalise their tensors; trainers load the best adapter back.
        """
        now = self._read()
        if torch.equal(now, self.written):
            return
        snapshot = self._snapshots.find(now)
        if snapshot is None:
            self.offset = self.offset + (now - self.written)
            pairs = zip(self.plan.slices(now), self.plan.slices(self.written), strict=True)
            self._replaced = all(bool((new - old).norm() > REPLACED * new.norm()) for new, old in pairs)
        else:
            put_back(self.generator, snapshot.generator)
            self.generator.orders.set_state(snapshot.orders)
            self.offset, self._replaced, self._vector = snapshot.offset, False, None
            self._set_shares(snapshot.shares)
        self.written = now

    def _set_shares(self, found: list[float]) -> None:
        """Let each tensor follow the generator by its share."""
        self._shares = found
        moved = any(share != 1 for share in found)
        self.factors = self._scales * self._spread(found) if moved else self._scales

    def _spread(self, values: list[float]) -> torch.Tensor:
        """One value a tensor as one value a number, shape (m,)."""
        spread = torch.empty_like(self.offset)
        for part, value in zip(self.plan.slices(spread), values, strict=True):
            part.fill_(value)
        return spread

    def _weigh(self, found: list[float]) -> None:
        """Change shares without moving the adapter."""
        if found != self._shares:
            before = self.factors
            self._set_shares(found)
            self.offset = self.offset + (before - self.factors) * self._evaluate().detach()

    def finish(self) -> None:
        """Write what is exported: for the released random basis the bits' mean, otherwise what is there already.

        Raises:
            ConfigError: Another adapter was loaded since the last step, and what generated it is not known.
        """
        self.absorb()
        if self.config.basis != "random":
            return
        if self._replaced:
            raise ConfigError(
                "the adapter was replaced after the last step (load_best_model_at_end?), and the generator behind it, "
                "whose mean over basis orders is exported, is not in memory; load its state first: "
                "optimizer.load_state_dict(torch.load('<that checkpoint>/optimizer.pt')), or leave finish() out to "
                "export the adapter as it is"
            )
        self._generate(mean_basis=True)
