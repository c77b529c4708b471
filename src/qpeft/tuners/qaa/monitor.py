"""QAAMonitor: watches what the paper says to watch while a Trainer trains QAA."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from qpeft.errors import ConfigError
from qpeft.quantum.engine.states import amplitude_embed
from qpeft.records.signatures import failure_signatures, loss_slope
from qpeft.tuners.qaa.layer import QAADelta
from qpeft.tuners.qaa.sizing import TOO_FAR, Survey, drowned


@dataclass(frozen=True)
class Reading:
    """One look at all QAA modules of a model.

    Attributes:
        step: Optimizer steps done before.
        state_norm: (smallest, largest) norm of an embedded state; 1 up to rounding, 0 for a hidden state of zeros.
        z_range: (smallest, largest) reading, in [-1, 1] for Pauli-Z.
        update_ratio: Mean over tokens and modules of the update's norm over the hidden state's.
    """

    step: int
    state_norm: tuple[float, float]
    z_range: tuple[float, float]
    update_ratio: float


class QAAMonitor(TrainerCallback, ExportableState):  # type: ignore[misc]
    """A Trainer callback that takes a reading every few steps and names failure signatures at the end.

    ``readings``, ``losses`` and, after training, ``warnings`` (plain sentences) hold what was seen. They are in each
    checkpoint's ``trainer_state.json``, so that a resumed run ends with the notes of one without a break. Before the
    first step it foretells by how much that changes the hidden states, and says so at once where it is too much.

    Args:
        every: Optimizer steps between readings; a reading costs one more pass through the circuits.
        tell: Takes the sentence about the first step; None warns as Python does.

    Raises:
        ConfigError: ``every`` is no whole number of at least 1.
    """

    def __init__(self, every: int = 10, tell: Callable[[str], None] | None = None) -> None:
        if type(every) is not int or every < 1:
            raise ConfigError(f"every must be a whole number of at least 1, steps between readings; got {every!r}")
        self.every, self.tell = every, tell
        self.survey: Survey | None = None
        self.first_step: float | None = None
        self.readings: list[Reading] = []
        self.losses: list[tuple[int, float]] = []
        self.warnings: list[str] = []
        self._looks: list[tuple[float, float, float, float, float]] = []
        self._watching = False
        self._handles: list[Any] = []

    def state(self) -> dict[str, Any]:
        """What the Trainer writes into a checkpoint."""
        seen: dict[str, Any] = {"readings": [asdict(reading) for reading in self.readings], "losses": self.losses}
        seen |= {"first_step": self.first_step, "warnings": self.warnings}
        return {"args": {"every": self.every}, "attributes": {}, "seen": seen}

    def _restore(self, seen: dict[str, Any]) -> None:
        self.readings = [
            Reading(row["step"], tuple(row["state_norm"]), tuple(row["z_range"]), row["update_ratio"])
            for row in seen["readings"]
        ]
        self.losses = [(step, loss) for step, loss in seen["losses"]]
        self.first_step, self.warnings = seen.get("first_step"), list(seen.get("warnings", []))

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Hook every QAA module of the model; hooks of a training that broke off go first."""
        self._unhook()
        # The Trainer itself restores callbacks only where it was told to; its state is there in any case.
        kept = getattr(state, "stateful_callbacks", {})  # a loop of one's own may keep nothing
        saved = kept.get(type(self).__name__, {}).get("seen")
        if saved and state.global_step > 0:
            self._restore(saved)
        kept[type(self).__name__] = self.state()
        modules = [module for module in kwargs["model"].modules() if isinstance(module, QAADelta)]
        self._handles = [module.register_forward_hook(self._look) for module in modules]
        self.survey = modules[0].survey if modules else None
        if self.survey is not None:
            self.survey.told = True  # at the rate of this training, below

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Watch the forward passes of this step, or not."""
        self._watching, self._looks = state.global_step % self.every == 0, []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Foretell the first step of a new adapter."""
        if state.global_step > 0 or self.survey is None:
            return
        self.first_step = self.survey.first_step(args.learning_rate)
        if self.first_step is not None and self.first_step > TOO_FAR:
            sentence = drowned(self.survey, args.learning_rate)
            self.warnings.append(sentence)
            (self.tell or warnings.warn)(sentence)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Sum up what this step's passes showed."""
        if self._looks:
            low, high, least, most, ratio = zip(*self._looks, strict=True)
            reading = Reading(state.global_step - 1, (min(low), max(high)), (min(least), max(most)), fmean(ratio))
            self.readings.append(reading)
        self._watching, self._looks = False, []

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember the training losses."""
        logs = kwargs.get("logs") or {}
        if "loss" in logs:
            self.losses.append((state.global_step, float(logs["loss"])))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the hooks out and say what is wrong, if anything is."""
        self._unhook()
        ratio = self.readings[-1].update_ratio if self.readings else None
        self.warnings += failure_signatures([loss for _, loss in self.losses], ratio)

    def summary(self) -> str:
        """What the last reading showed, in one line; empty before the first."""
        if not self.readings:
            return ""
        last = self.readings[-1]
        return (
            f"QAA at step {last.step}: norm of embedded states {last.state_norm[0]:.4f} to {last.state_norm[1]:.4f}, "
            f"z from {last.z_range[0]:.3f} to {last.z_range[1]:.3f}, update over hidden state "
            f"{last.update_ratio:.3f}, slope of the loss {self.slope():.5f} nat per step{self._foretold()}"
        )

    def _foretold(self) -> str:
        """What the first step was expected to do, where this training began with it."""
        return "" if self.first_step is None else f", first step foretold to change them by {self.first_step:.2g}"

    def slope(self) -> float:
        """Slope of the training loss, nats per step."""
        return loss_slope([step for step, _ in self.losses], [loss for _, loss in self.losses])

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @torch.no_grad()
    def _look(self, module: nn.Module, args: tuple[Any, ...], update: Tensor) -> None:
        if not self._watching or not isinstance(module, QAADelta):
            return
        hidden = args[0].detach().float()
        norms = amplitude_embed(hidden, module.read.circuit.n_qubits).norm(dim=-1)
        z = module.features(hidden)
        ratio = update.float().norm(dim=-1) / hidden.norm(dim=-1).clamp_min(1e-30)
        numbers = (norms.min(), norms.max(), z.min(), z.max(), ratio.mean())
        self._looks.append(tuple(float(number) for number in numbers))  # type: ignore[arg-type]
