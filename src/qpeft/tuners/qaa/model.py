"""Where QAA goes in a model, as peft's tuner model."""

import copy
from functools import cache
from typing import Any

from torch import Tensor, nn

from qpeft.circuits.own import drawn_by
from qpeft.tuners._residual import ResidualLayer, ResidualModel
from qpeft.tuners.qaa.config import QAAConfig
from qpeft.tuners.qaa.layer import QAADelta
from qpeft.tuners.qaa.sizing import Survey


class QAALayer(ResidualLayer):
    """A module of the base model with QAA after, beside or before it."""

    container = "qaa_modules"

    def update_of(self, delta: Any, x: Any, y: Tensor) -> Tensor:
        """What a delta adds to y; it is sized by y, also where it reads x."""
        update: Tensor = delta(x, y) if delta.insertion == "parallel" else delta(y)
        return update


class QAALinear(QAALayer):
    """QAA at a linear layer."""


class QAAModel(ResidualModel):
    """A base model with QAA at its attention and feed-forward modules, or wherever the config says."""

    prefix = "qaa_"
    tuner_layer_cls = QAALayer
    linear_layer_cls = QAALinear

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """Put the layers in, and let them know of each other: how much one may do depends on how many there are."""
        given = self.peft_config[adapter_name]
        if callable(given.ansatz):
            # The user's config stays as it is; each size is asked for once, so that a file holds what was built.
            self.peft_config[adapter_name] = copy.copy(given)
            self.peft_config[adapter_name].ansatz = cache(given.ansatz)
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        layers = [layer for layer in model.modules() if isinstance(layer, QAALayer)]
        found: list[Any] = [layer.deltas[adapter_name] for layer in layers if adapter_name in layer.deltas]
        config = self.peft_config[adapter_name]
        if callable(config.ansatz):
            config.ansatz = drawn_by(config.ansatz, (d.read.circuit.n_qubits for d in found), int(config.depth or 1))
            config.depth = 1
        # Who asks for a first step is warned at the rate of the training only.
        survey = Survey(len(found), setting_of(config), told=config.first_step is not None)
        for delta in found:
            delta.survey = survey

    def build_delta(self, config: QAAConfig, d_in: int, d_out: int) -> nn.Module:
        """The delta of one place."""
        return QAADelta(config, d_in, d_out)


def setting_of(config: QAAConfig) -> str:
    """What sizes the updates, in words."""
    if config.first_step is not None:
        return f"first_step {config.first_step:g}"
    return f"preset {config.preset!r} (scale {'sqrt(2^n)' if config.scale is None else f'{config.scale:g}'})"
