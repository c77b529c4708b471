"""Experiment trackers: TensorBoard, Trackio, Weights & Biases and MLflow follow a run; its numbers do not change."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from transformers import TrainerCallback, integrations

from qpeft.errors import MissingExtraError, require_choice
from qpeft.records import Metric

# Each with transformers' question whether it is installed.
TRACKERS = {
    "tensorboard": integrations.is_tensorboard_available,
    "trackio": integrations.is_trackio_available,
    "wandb": integrations.is_wandb_available,
    "mlflow": integrations.is_mlflow_available,
}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that cannot be used, before anything is trained.

    Raises:
        ConfigError: It is none of `TRACKERS`.
        MissingExtraError: It is not installed.
    """
    for name in names:
        require_choice("--report-to", name, TRACKERS)
        if not TRACKERS[name]():
            raise MissingExtraError(f"--report-to {name} needs {name}, which is not installed; pip install {name}")


class Trackers(TrainerCallback):  # type: ignore[misc]
    """Passes the Trainer's events on to transformers' own callbacks of the trackers.

    Their end is held back until the run is measured: the Trainer ends a tracker with training, and MLflow and
    Trackio would open another run for the metrics that come after.
    """

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        """Follow with these trackers; TensorBoard writes below the folder of the run."""
        check_trackers(names)
        self.callbacks = {name: integrations.integration_utils.INTEGRATION_TO_CALLBACK[name]() for name in names}
        self.begun: tuple[Any, Any, Any, Any] | None = None
        if "tensorboard" in self.callbacks:
            # By default it is the Trainer's output folder, which goes when the run is done.
            self.callbacks["tensorboard"].logging_dir = str(folder / "tensorboard")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the run."""
        self.begun = (args, state, control, kwargs["model"])
        for callback in self.callbacks.values():
            callback.on_train_begin(args, state, control, **kwargs)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pass losses and rates on."""
        for callback in self.callbacks.values():
            callback.on_log(args, state, control, **kwargs)

    def finish(self, metrics: Sequence[Metric]) -> None:
        """Pass the metrics of the trained model on, at its last step; nothing to do where nothing was trained."""
        if self.begun is not None:
            args, state, control, model = self.begun
            self.on_log(args, state, control, model=model, logs=tracked(metrics))

    def __enter__(self) -> Self:
        """Nothing is open before training begins."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the run, also one that failed: the next run of a comparison must not go into it."""
        if self.begun is None:
            return
        args, state, control, model = self.begun
        for name, callback in self.callbacks.items():
            callback.on_train_end(args, state, control, model=model)
            if name == "wandb":  # its callback leaves the run open
                import_module(name).finish()


def tracked(metrics: Sequence[Metric]) -> dict[str, float]:
    """Metrics as transformers' callbacks file them: ``eval_x`` and ``test_x`` become ``eval/x`` and ``test/x``."""
    return {f"{'eval' if metric.split == 'valid' else metric.split}_{metric.name}": metric.value for metric in metrics}
