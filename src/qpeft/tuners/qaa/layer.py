"""The delta of QAA: hidden state to circuit to update (arXiv:2509.16244), and the twins of the circuit."""

import math

import torch
from torch import Tensor, nn

from qpeft.circuits import build_ansatz, qubits_for_dimension
from qpeft.quantum.engine.states import amplitude_embed
from qpeft.quantum.layer import EmbeddedCircuit, random_angles
from qpeft.tuners._residual import exact
from qpeft.tuners.qaa.config import QAAConfig

MIXED = ("circuit", "frozen", "no_entangler")


class QAADelta(nn.Module):
    """The update of a hidden state, ``scale * W^T z(h) (+ bias)``.

    Args:
        config: A checked config.
        d_in: Width of what is embedded.
        d_out: Width of the update.

    Attributes:
        angles: radians, shape ``(K,)``; a buffer where they are frozen.
        up: W, shape ``(n_features, d_out)``, or ``(n_features, 2**n)`` with width ``padded``.

    Raises:
        ConfigError: A wire lies outside the register that d_in needs.
    """

    angles: Tensor
    projection: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, config: QAAConfig, d_in: int, d_out: int) -> None:
        super().__init__()
        self.insertion, self.source, self.d_out = config.insertion, config.source, d_out
        n_qubits = qubits_for_dimension(d_in)
        entangler = "none" if config.source == "no_entangler" else config.entangler
        wires = None if config.wires is None else tuple(config.wires)
        circuit = build_ansatz(str(config.ansatz), n_qubits, int(config.depth or 1), entangler)
        self.read = EmbeddedCircuit(circuit, config.readout, wires)
        self.scale = float(2 ** (n_qubits / 2) if config.scale is None else config.scale)
        self._add_source(d_in)
        # The paper's count has the update as wide as the register: what lies beyond d_out is never used.
        width = max(d_out, 2 ** qubits_for_dimension(d_out)) if config.width == "padded" else d_out
        start = torch.zeros if config.init_weights else torch.randn
        self.up = nn.Parameter(start(self.read.n_features, width))
        self.bias = nn.Parameter(torch.zeros(width)) if config.up_bias else None

    def _add_source(self, d_in: int) -> None:
        """The numbers that read z: angles, or those of a twin."""
        k = self.read.n_features
        if self.source == "frozen":
            self.register_buffer("angles", random_angles(self.read.circuit.n_parameters))
        elif self.source in MIXED:
            self.angles = nn.Parameter(random_angles(self.read.circuit.n_parameters))
        elif self.source == "linear":
            self.down = nn.Parameter(torch.randn(d_in, k) / d_in**0.5)
        elif self.source == "mlp":
            self.register_buffer("projection", torch.randn(d_in, k))
            self.slopes = nn.Parameter(torch.ones(k))
        else:
            self.register_buffer("left", torch.randn(d_in, k))
            self.register_buffer("right", torch.randn(d_in, k))

    def features(self, x: Tensor) -> Tensor:
        """z, shape ``(..., n_features)``, from x of shape ``(..., d_in)`` in float32 or more.

        Pauli-Z readings lie in [-1, 1], probabilities in [0, 1]; a zero vector gives zeros.
        """
        if self.source in MIXED:
            return self.read(x, self.angles.float())
        unit = amplitude_embed(x, self.read.circuit.n_qubits)[..., : x.shape[-1]]
        z: Tensor
        if self.source == "linear":
            z = unit @ self.down.float()
            return z
        # The projections are about 1, the circuit's readings about 1/sqrt(2^n).
        if self.source == "mlp":
            z = torch.tanh(unit @ self.projection.float() * self.slopes.float())
        else:
            z = (unit @ self.left.float()) * (unit @ self.right.float())
        return z / math.sqrt(x.shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        """The update, shape ``(..., d_out)``, float32."""
        with exact(x):
            up = self.up.float()[:, : self.d_out]
            update: Tensor = self.features(x.float()) @ (self.scale * up)
            return update if self.bias is None else update + self.bias.float()[: self.d_out]
