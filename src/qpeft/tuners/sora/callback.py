"""SoraCallback: the proximal step inside a transformers Trainer (not imported by the package, see qpeft.tuners)."""

from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from qpeft.tuners.sora.layer import sora_layers
from qpeft.tuners.sora.prox import ProximalGates


class SoraCallback(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Attaches the proximal step for the length of a ``transformers.Trainer`` run and drives its schedule.

    Where the schedule is goes into each checkpoint's ``trainer_state.json``, so that a resumed run continues bitwise.

    Args:
        adapter_name: Whose gates.
    """

    def __init__(self, adapter_name: str = "default") -> None:
        self.adapter_name = adapter_name
        self.proximal: ProximalGates | None = None

    def state(self) -> dict[str, Any]:
        """What the Trainer writes into a checkpoint."""
        progress = {} if self.proximal is None else self.proximal.state_dict()
        return {"args": {"adapter_name": self.adapter_name}, "attributes": {}, "progress": progress}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Attach, at the beginning or where the checkpoint was."""
        if self.proximal is not None:
            self.proximal.detach()
        layers = sora_layers(kwargs["model"], self.adapter_name)
        self.proximal = ProximalGates(next(iter(layers.values())).delta(self.adapter_name).config)
        # The Trainer itself restores callbacks only where it was told to; its state is there in any case.
        saved = state.stateful_callbacks.get(type(self).__name__, {}).get("progress")
        if state.global_step > 0 and saved:
            self.proximal.load_state_dict(saved)
        state.stateful_callbacks[type(self).__name__] = self.state()
        self.proximal.attach(kwargs["optimizer"], kwargs["model"], self.adapter_name)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the schedule."""
        if self.proximal is not None:
            # The Trainer counts in fractions; at the beginning of an epoch it stands at a whole number.
            self.proximal.epoch = int((state.epoch or 0.0) + 1e-6)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Detach."""
        if self.proximal is not None:
            self.proximal.detach()
