"""Sources: what feeds the mapping one number per chunk - the circuit, or one of the twins that replace it."""

import math

import torch
from torch import nn

from qpeft.circuits import Circuit, build_ansatz
from qpeft.qpa.config import QPAConfig
from qpeft.quantum import Execution, Executor

EPSILON = 1e-12
# With 20 * 2^N shots a sixth of the states is never seen, and the slope of these transforms at p = 0 has no bound: a
# quarter of a count in every state keeps training from its first step on finite.
STEEP, PSEUDOCOUNT = ("released", "log"), 0.25


def smoothed(p: torch.Tensor, shots: int) -> torch.Tensor:
    """Frequencies with ``PSEUDOCOUNT`` more in every state.

    >>> smoothed(torch.tensor([1.0, 0.0]), shots=2)
    tensor([0.9000, 0.1000])
    """
    return (p * shots + PSEUDOCOUNT) / (shots + PSEUDOCOUNT * p.shape[-1])


def features(p: torch.Tensor, post: str) -> torch.Tensor:
    """The mapping's input from probabilities.

    ``released`` is (0.6 tanh(0.1 2^(N-1) p))^0.15 minus its mean over all 2^N states; its slope is infinite at
    p = 0, so p is kept at 1e-12 or more there and in ``log``.

    Args:
        p: Probabilities, shape (2^N,).
        post: ``raw``, ``released``, ``scaled`` or ``log``.

    Returns:
        Shape (2^N,).
    """
    size = p.shape[-1]
    if post == "raw":
        return p
    if post == "scaled":
        return size * p - 1
    safe = p.clamp_min(EPSILON)
    if post == "log":
        return (size * safe).log()
    bent = (0.6 * torch.tanh(0.1 * size / 2 * safe)) ** 0.15
    return bent - bent.mean()


class CircuitSource(nn.Module):
    """Probabilities of a parametrised circuit; angles from U(-pi, pi), trained or frozen."""

    def __init__(self, circuit: Circuit, execution: Execution, post: str, *, trained: bool) -> None:
        """Draw the angles from torch's current generator."""
        super().__init__()
        self.circuit, self.post = circuit, post
        shots = execution.backend.shots
        self.shots = None if shots is None else shots.of(circuit.n_qubits)
        angles = torch.empty(circuit.n_parameters).uniform_(-math.pi, math.pi)
        self.angles = nn.Parameter(angles, requires_grad=trained)
        self.executor = Executor(circuit, execution)

    def forward(self) -> torch.Tensor:
        """Features of shape (2^N,)."""
        p = self.executor(self.angles)
        if self.shots is not None and self.post in STEEP:
            p = smoothed(p, self.shots)
        return features(p, self.post)


class TableSource(nn.Module):
    """2^N free numbers that start at the features of the circuit they replace."""

    def __init__(self, start: torch.Tensor) -> None:
        """Copy the start, shape (2^N,)."""
        super().__init__()
        self.table = nn.Parameter(start.detach().clone())

    def forward(self) -> torch.Tensor:
        """Features of shape (2^N,)."""
        return self.table


class MlpSource(nn.Module):
    """A perceptron from basis bits to one number, about as many weights as the circuit has angles."""

    def __init__(self, bits: torch.Tensor, n_angles: int) -> None:
        """Choose the hidden width so that width * (N + 2) + 1 is closest to n_angles."""
        super().__init__()
        self.register_buffer("bits", bits, persistent=False)
        n_qubits = bits.shape[1]
        width = max(1, round((n_angles - 1) / (n_qubits + 2)))
        self.network = nn.Sequential(nn.Linear(n_qubits, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self) -> torch.Tensor:
        """Features of shape (2^N,)."""
        out: torch.Tensor = self.network(self.bits).squeeze(-1)
        return out


def basis_bits(n_qubits: int) -> torch.Tensor:
    """All basis states in order as rows of -1 and +1, qubit 0 first; shape (2^N, N).

    >>> basis_bits(2).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    shifts = torch.arange(n_qubits - 1, -1, -1)
    return (2 * (torch.arange(2**n_qubits)[:, None] >> shifts & 1) - 1).to(torch.get_default_dtype())


def build_source(config: QPAConfig, n_qubits: int, execution: Execution) -> nn.Module | None:
    """The source a config asks for, or None for the twin without any.

    The circuit's angles are drawn for every source, so that the mapping behind it starts from the same weights.
    """
    entangler = "none" if config.source == "no_entangler" else config.entangler
    circuit = build_ansatz(config.ansatz, n_qubits, int(config.depth or 1), entangler)
    trained = config.source in ("circuit", "no_entangler")
    source = CircuitSource(circuit, execution, str(config.post), trained=trained)
    if config.source == "table":
        with torch.no_grad():
            return TableSource(source())
    if config.source == "mlp":
        with torch.random.fork_rng(devices=[]):
            return MlpSource(basis_bits(n_qubits), circuit.n_parameters)
    return None if config.source == "none" else source
