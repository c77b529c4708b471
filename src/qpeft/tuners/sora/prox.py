"""The proximal step of SoRA for any torch optimizer: after each step, gates pass a threshold (arXiv:2311.11696).

The paper's update is ``g <- T(g - lr dL/dg, lr xi)`` with ``T(g, c) = sign(g) max(|g| - c, 0)``, proximal gradient
descent on ``L(g) + xi |g|_1``. The gradient step is the optimizer's, the threshold a hook after it.

**Where it is exact.** ``torch.optim.SGD`` and ``prox_scale="lr"``: the hook is proximal gradient descent. On the lasso
of our tests (16 gates, 7 of them zero in scikit-learn's solution) it has the same zeros and an error of 5e-7. With
momentum mu it reaches as exactly (3e-7) the lasso of ``(1 - mu) xi``: momentum lengthens the gradient steps, by
``1 / (1 - mu)``, and not the threshold. With ``prox_scale="none"`` the penalty solved for is ``xi / lr``, which grows
as the learning rate falls.

**Where it is a heuristic.** Optimizers that divide by the size of the gradients, such as Adam, AdamW, RMSprop and
Adagrad, move a gate by about the learning rate whatever its gradient is. Thresholds of ``lr`` or ``none`` are then
compared with that, no longer with the gradient, and noise decides which gates become zero: on the same lasso, AdamW
with ``lr`` finds 3 of the 7 zeros (error 0.15), Adagrad makes all 16 gates zero in 4,000 steps.

**For Adam**, ``prox_scale="precond"`` divides the threshold by what Adam divides the gradient by. On the full gradient
AdamW then reaches the lasso solution (same zeros, error 2e-7); on batches of 8 of the 64 rows the error is 0.02, and
one zero sits elsewhere. Mind that a gate with a small gradient has a large threshold, as all gates do while B is near
zero: start with a schedule from 0.

**How far a gate travels.** Without a gradient it loses the sum of all thresholds: ``steps * xi`` with ``none``, and
``xi * sum(lr)`` with ``lr``. Gates start at about 1, so 3e-4, the released code's xi, belongs to ``none``; with ``lr``
it moves gates by less than 1e-2 in any usual run, and none of them becomes zero. With Adam, ``lr`` wants a xi of about
0.1 to 1. Keep gates in float32, as peft does by default: rounded to bfloat16, one near 1 does not move by 3e-4 at all.
Gates should have no weight decay, which draws them towards zero and never to it: see ``parameter_groups``.
"""

from typing import Any

import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from qpeft.errors import ConfigError
from qpeft.tuners.sora.config import SoraConfig
from qpeft.tuners.sora.layer import SoraDelta, sora_layers


def soft_threshold(g: Tensor, xi: float | Tensor) -> Tensor:
    """``sign(g) max(|g| - xi, 0)``, the proximal operator of ``xi |g|``.

    >>> soft_threshold(torch.tensor([1.5, -2.0, 2.5, 0.5]), 1.0)
    tensor([ 0.5000, -1.0000,  1.5000,  0.0000])

    Args:
        g: Any shape.
        xi: At least 0; a tensor broadcasts against g.
    """
    return g - g.clamp(-xi, xi)  # type: ignore[arg-type]


def released_threshold(g: Tensor, lam: float | Tensor) -> Tensor:
    """The threshold of the released code: values above lam lose it, then what lies strictly below lam becomes zero.

    Below ``2 lam`` nothing is left, there it jumps to lam, and a value of exactly lam is left alone.

    >>> released_threshold(torch.tensor([1.0, 1.5, 1.9, 2.0, -2.5]), 1.0)
    tensor([ 1.0000,  0.0000,  0.0000,  1.0000, -1.5000])

    Args:
        g: Any shape.
        lam: At least 0; a tensor broadcasts against g.
    """
    shrunk = torch.where(g.abs() > lam, g - g.sign() * lam, g)
    return torch.where(shrunk.abs() < lam, torch.zeros_like(g), shrunk)


THRESHOLDS = {"soft": soft_threshold, "released": released_threshold}


def adam_denominator(state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """What Adam divides a step by, ``sqrt(v / (1 - beta2^t)) + eps``; infinite where no gradient ever arrived.

    Raises:
        ConfigError: The optimizer keeps no running mean of squared gradients.
    """
    if "exp_avg_sq" not in state or "betas" not in group:
        raise ConfigError(
            "prox_scale 'precond' needs an optimizer of Adam's kind, whose state holds 'exp_avg_sq'; take "
            "torch.optim.AdamW, or prox_scale 'lr' or 'none'"
        )
    squares = state.get("max_exp_avg_sq", state["exp_avg_sq"])
    size = (squares / (1 - group["betas"][1] ** state["step"])).sqrt() + group["eps"]
    return torch.where(squares > 0, size, torch.inf)


class ProximalGates:
    """Applies the threshold to the gates of one adapter after each step of an optimizer.

    ::

        proximal = ProximalGates(config)
        handle = proximal.attach(optimizer, model)
        ...                                   # any training loop; proximal.epoch += 1 where the schedule counts epochs
        handle.remove()

    Only gates that the optimizer holds and that have a gradient are touched. A step that a gradient scaler skips,
    since its gradients overflowed, has no threshold either.

    Args:
        config: Says threshold, scale and schedule.

    Attributes:
        steps: Proximal steps done.
        epoch: Epochs done; set it in your loop where ``schedule_unit`` is ``epoch``.
    """

    def __init__(self, config: SoraConfig) -> None:
        self.config = config
        self.steps = 0
        self.epoch = 0
        self._penalties = config.penalties()
        self._deltas: list[SoraDelta] = []
        self._handle: RemovableHandle | None = None

    @property
    def xi(self) -> float:
        """The penalty that the next step uses."""
        done = self.steps if self.config.schedule_unit == "step" else self.epoch
        return self._penalties[min(done // self.config.schedule_every, len(self._penalties) - 1)]

    def attach(self, optimizer: Optimizer, model: nn.Module, adapter_name: str = "default") -> RemovableHandle:
        """Hook into an optimizer; a second call moves the one hook, it never adds another.

        Args:
            optimizer: Any torch optimizer, also inside accelerate's wrapper.
            model: Holds the adapter.
            adapter_name: Whose gates.

        Returns:
            A handle whose ``remove()`` takes the hook away.

        Raises:
            ModelError: The model has no SoRA adapter of this name.
            ConfigError: The optimizer is none of torch's, holds none of the gates, or thresholds them already.
        """
        inner = optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer
        if not isinstance(inner, Optimizer):
            raise ConfigError(f"a torch.optim.Optimizer was required, which can be hooked; got {type(inner).__name__}")
        deltas = [layer.delta(adapter_name) for layer in sora_layers(model, adapter_name).values()]
        held = {id(p) for group in inner.param_groups for p in group["params"]}
        if not any(id(delta.gate) in held for delta in deltas):
            raise ConfigError(
                f"the optimizer must hold the gates of adapter {adapter_name!r}; it holds none of {len(deltas)}; "
                f"build it after the adapter, from parameters that require gradients"
            )
        self.detach()
        for hook in inner._optimizer_step_post_hooks.values():
            other = getattr(hook, "__self__", None)
            if isinstance(other, ProximalGates) and any(delta in other._deltas for delta in deltas):
                raise ConfigError(
                    "these gates have a proximal step already, and a second would double the threshold; remove the "
                    "first, or leave out the SoraCallback"
                )
        self._deltas = deltas
        self._handle = inner.register_step_post_hook(self._after_step)
        return self._handle

    def detach(self) -> None:
        """Take the hook away; nothing happens without one."""
        if self._handle is not None:
            self._handle.remove()
        self._handle = None

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The threshold, after one step of the optimizer."""
        # Fused optimizers run under a gradient scaler even where gradients overflowed, and then change nothing.
        overflow = getattr(optimizer, "found_inf", None)
        if overflow is not None and bool(overflow):
            return
        # Read anew at each step: wrappers may have replaced the Parameters.
        gates = {id(delta.gate) for delta in self._deltas}
        xi, threshold = self.xi, THRESHOLDS[self.config.prox_mode]
        for group in optimizer.param_groups:
            for gate in group["params"]:
                if id(gate) in gates and gate.grad is not None:
                    gate.copy_(threshold(gate, self._scaled(xi, optimizer, group, gate)))
        self.steps += 1

    def _scaled(self, xi: float, optimizer: Optimizer, group: dict[str, Any], gate: Tensor) -> float | Tensor:
        """The threshold on one gate."""
        if self.config.prox_scale == "none":
            return xi
        rate: float | Tensor = xi * group["lr"]
        if self.config.prox_scale == "lr":
            return rate
        return rate / adam_denominator(optimizer.state.get(gate, {}), group)

    def state_dict(self) -> dict[str, int]:
        """Where the schedule is, for a run that goes on later."""
        return {"steps": self.steps, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a state.

        Raises:
            ConfigError: The state is of something else.
        """
        if set(state) != {"steps", "epoch"}:
            raise ConfigError(f"a state of ProximalGates with steps and epoch was required; got {sorted(state)}")
        self.steps, self.epoch = state["steps"], state["epoch"]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable Parameters as two groups for an optimizer: gates without weight decay, the rest with it.

    Args:
        model: Holds SoRA adapters.
        weight_decay: Of the other Parameters, at least 0.
    """
    gates = {id(m.gate) for m in model.modules() if isinstance(m, SoraDelta)}
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) not in gates], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) in gates], "weight_decay": 0.0},
    ]
