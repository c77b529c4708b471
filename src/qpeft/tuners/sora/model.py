"""Where SoRA goes in a model, as peft's tuner model."""

from torch import nn

from qpeft.tuners._linear import LinearModel
from qpeft.tuners.sora.config import SoraConfig
from qpeft.tuners.sora.layer import SoraDelta, SoraLinear


class SoraModel(LinearModel):
    """A base model with SoRA at its linear layers."""

    prefix = "sora_"
    tuner_layer_cls = SoraLinear
    linear_layer_cls = SoraLinear

    def build_delta(self, config: SoraConfig, d_in: int, d_out: int) -> nn.Module:
        """The update of one linear layer."""
        return SoraDelta(config, d_in, d_out)
