"""The delta of QAA: hidden state to circuit to update (arXiv:2509.16244), and the twins of the circuit."""

import math

import torch
from torch import Tensor, nn

from qpeft.circuits import build_ansatz, qubits_for_dimension
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.quantum.engine.states import amplitude_embed
from qpeft.quantum.starts import random_angles
from qpeft.tuners._residual import exact
from qpeft.tuners.qaa.config import QAAConfig
from qpeft.tuners.qaa.sizing import RATE, Survey, look

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
        scale: The factor; a buffer where it is measured, 0 until it was.
        survey: Shared by the modules of one adapter.

    Raises:
        ConfigError: A wire lies outside the register that d_in needs.
    """

    angles: Tensor
    projection: Tensor
    left: Tensor
    right: Tensor
    scale: Tensor | float

    def __init__(self, config: QAAConfig, d_in: int, d_out: int) -> None:
        super().__init__()
        self.insertion, self.source, self.d_out = config.insertion, config.source, d_out
        n_qubits = qubits_for_dimension(d_in)
        entangler = "none" if config.source == "no_entangler" else config.entangler
        wires = None if config.wires is None else tuple(config.wires)
        circuit = build_ansatz(config.ansatz, n_qubits, int(config.depth or 1), entangler)
        self.read = EmbeddedCircuit(circuit, config.readout, wires)
        self.survey, self.first_step = Survey(), config.first_step
        # Whether the first batch is still to come; asked at each pass, so no tensor that a device would have to send.
        self.waiting = config.init_weights
        scale = float(2 ** (n_qubits / 2) if config.scale is None else config.scale)
        if config.first_step is None:
            self.scale = scale
        else:
            self.register_buffer("scale", torch.tensor(0.0 if self.waiting else scale))
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

    def forward(self, x: Tensor, added_to: Tensor | None = None) -> Tensor:
        """The update, shape ``(..., d_out)``, float32; ``added_to`` is what it is added to where that is not x."""
        with exact(x):
            up, z = self.up.float()[:, : self.d_out], self.features(x.float())
            # Some loops never call train(); a checkpointed block first runs without gradients.
            if self.waiting and self.up.requires_grad and (self.training or torch.is_grad_enabled()):
                self.take_size(x if added_to is None else added_to, z)
            update: Tensor = z @ (self.scale * up)
            if self.bias is None:
                return update
            bias = self.bias.float()[: self.d_out]
            return update + (bias if self.first_step is None else self.scale * bias)

    @torch.no_grad()
    def take_size(self, hidden: Tensor, z: Tensor) -> None:
        """Look at the first batch of a new adapter: measure the scale, if that is asked for, and tell the survey."""
        if bool(self.scale.any()) if isinstance(self.scale, Tensor) else bool(self.up.any()):
            self.waiting = False  # loaded from a file, or seen through another reference to the same numbers
            return
        seen = look(hidden, z, biased=self.bias is not None and self.first_step is not None)
        if seen is None:
            return
        self.waiting = False
        size, reading = seen
        if isinstance(self.scale, Tensor):
            assert self.first_step is not None
            self.scale.fill_(self.first_step * size / (RATE * reading * math.sqrt(self.survey.n_modules)))
        self.survey.note(float(self.scale) * reading / size)
