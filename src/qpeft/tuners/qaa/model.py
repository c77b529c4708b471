"""Where QAA goes in a model, as peft's tuner model."""

from torch import nn

from qpeft.tuners._residual import ResidualLayer, ResidualModel
from qpeft.tuners.qaa.config import QAAConfig
from qpeft.tuners.qaa.layer import QAADelta


class QAALayer(ResidualLayer):
    """A module of the base model with QAA after, beside or before it."""

    container = "qaa_modules"


class QAALinear(QAALayer):
    """QAA at a linear layer."""


class QAAModel(ResidualModel):
    """A base model with QAA at its attention and feed-forward modules, or wherever the config says."""

    prefix = "qaa_"
    tuner_layer_cls = QAALayer
    linear_layer_cls = QAALinear

    def build_delta(self, config: QAAConfig, d_in: int, d_out: int) -> nn.Module:
        """The delta of one place."""
        return QAADelta(config, d_in, d_out)
