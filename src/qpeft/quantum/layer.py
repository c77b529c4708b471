"""QuantumLayer: a circuit as a layer of any torch model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qpeft.circuits.circuit import Circuit
from qpeft.errors import ConfigError, ShapeError
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.quantum.backend import Backend
from qpeft.quantum.catalogue import open_backend
from qpeft.quantum.embeddings import Embedding, embedding_of
from qpeft.quantum.engine.states import amplitude_embed
from qpeft.quantum.gradient import SEARCHES, Gradient, chosen_method, surrogate
from qpeft.quantum.measured import VJPS, Measurement, joined, measured
from qpeft.quantum.meter import Meter
from qpeft.quantum.readouts import Readout, readout_of
from qpeft.quantum.starts import Init, start_of


class QuantumLayer(nn.Module):
    """A circuit as a layer of any torch model: embedding, angles of its own, readout, wherever the circuit runs.

    >>> from qpeft.circuits import build_ansatz
    >>> from qpeft.quantum.embeddings import Angle
    >>> layer = QuantumLayer(build_ansatz("ry_cnot", 3, 1), embedding=Angle(uploads=2), readout=["ZII", "IXX"])
    >>> layer(torch.randn(5, 3)).shape, layer.angles.shape
    (torch.Size([5, 2]), torch.Size([6]))

    Computed in the precision of angles and input, float32 at least; the result has torch's common dtype of both.

    Args:
        circuit: n qubits; from Qiskit, PennyLane or OpenQASM by `Circuit.from_qiskit` and its like.
        embedding: ``amplitude``, ``angle``, or one with settings: `Amplitude`, `Angle`, `Inputs`, `LinearMap`.
        readout: ``pauli_z``, ``probabilities``, a list of Pauli words (``["XX", "ZI"]``), or `PauliZ`,
            `Probabilities` with chosen wires.
        backend: a word of `open_backend` (``exact``, ``sampled:shots=1000``, ``noisy:device=torino``,
            ``pennylane:device=lightning.qubit``) or a Backend.
        gradient: a word of `Gradient.parse` or a Gradient; ``auto`` is autograd where the backend has it, else
            ``surrogate``.
        init: of the angles: ``uniform`` in (-pi, pi), ``zeros``, ``identity`` (random, but so that the circuit does
            nothing at first; for circuits made by `mirrored`), a tensor, or a function as in torch.nn.init that fills
            one.
        seed: of shots and random directions.

    Attributes:
        angles: radians, shape ``(P,)``.
        data_map: the trained map of `LinearMap`, else None.
        meter: counts circuits and shots, those of backward included.
        n_features: length of the result's last axis.

    Raises:
        ConfigError: parts that do not go together; all that can be known before an input comes.
    """

    meter: Meter

    def __init__(
        self,
        circuit: Circuit,
        embedding: str | Embedding = "amplitude",
        readout: str | Sequence[str] | Readout = "pauli_z",
        backend: str | Backend = "exact",
        gradient: str | Gradient = "auto",
        init: Init = "uniform",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(circuit, Circuit):
            raise ConfigError(
                f"QuantumLayer takes a Circuit; got {type(circuit).__name__}; an EmbeddedCircuit's parts are "
                f"arguments of the layer now: QuantumLayer(circuit, readout=..., backend=...)"
            )
        self.circuit, self.embedding = circuit, embedding_of(embedding)
        opened = open_backend(backend) if isinstance(backend, str) else backend
        wanted = Gradient.parse(gradient) if isinstance(gradient, str) else gradient
        self.method = chosen_method(wanted, opened)
        self.gradient = replace(wanted, method=self.method)
        n_own = self.embedding.n_own(circuit)
        _check_gradient(self.gradient, n_own)
        self.settings = readout_of(readout).settings(circuit.n_qubits)
        self.n_features = sum(len(setting.columns) for setting in self.settings)
        self.data_map = self.embedding.module(circuit)
        self.angles = nn.Parameter(start_of(init, circuit, self.embedding.blocks(circuit), n_own))
        # Kept out of the module's children, so that a state_dict holds one small tensor for it.
        self.__dict__["meter"] = Meter(opened, seed)
        self._made: dict[int, tuple[EmbeddedCircuit, ...]] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Read numbers from vectors.

        Args:
            x: shape ``(..., d)``.

        Returns:
            Shape ``(..., n_features)``.

        Raises:
            ShapeError: d does not fit the embedding.
            ConfigError: layers below ask for a gradient that cannot be found in this way.
        """
        dtype = torch.promote_types(x.dtype, self.angles.dtype).to_real()
        if x.dim() == 0:
            raise ShapeError("a layer takes vectors, features on the last axis; got a single number")
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(dtype, torch.float32)
            rows = x.reshape(-1, x.shape[-1])
            rows, own = rows.to(precise.to_complex() if x.is_complex() else precise), self.angles.to(precise)
            reads = self._reads(x.shape[-1])
            # No vectors are no circuits; the graph still leads to the angles.
            nothing = 0 * own.sum() * own.new_zeros(0, self.n_features)
            parts = [self._read(read, rows, own) for read in reads] if len(rows) else [nothing]
        z = torch.cat(parts, -1) if len(parts) > 1 else parts[0]
        if len(parts) > 1:
            order = [column for setting in self.settings for column in setting.columns]
            z = z[:, torch.tensor(order, device=z.device).argsort()]
        return z.view(*x.shape[:-1], self.n_features).to(dtype)

    def _reads(self, n_features: int) -> tuple[EmbeddedCircuit, ...]:
        """The circuit of each basis, the data's gates in it; kept."""
        if n_features not in self._made:
            whole, backend = self.embedding.whole(self.circuit, n_features)[0], self.meter.backend
            self._made[n_features] = tuple(
                EmbeddedCircuit(whole + each.turns, each.readout, each.wires, backend, each.parities)
                for each in self.settings
            )
        return self._made[n_features]

    def _read(self, read: EmbeddedCircuit, x: Tensor, own: Tensor) -> Tensor:
        """The readings of one basis, shape ``(B, k)``, of vectors ``(B, d)``."""
        if not self.embedding.amplitudes:
            return read.read_off(self._probabilities(read.circuit, own, self._data(x), None))
        if self.method in ("autograd", "none") and self.meter.backend.input_gradient:
            self.meter.count(read.circuit, x.shape[:-1])
            return read(x, own if self.method == "autograd" else own.detach())
        states = amplitude_embed(x, read.circuit.n_qubits)
        return read.read_off(self._probabilities(read.circuit, own, None, states))

    def _data(self, x: Tensor) -> Tensor:
        """The data's angles, shape ``(B, Q)``."""
        if x.is_complex():
            raise ShapeError("angles are real numbers; got complex features; take their real and imaginary parts")
        if self.data_map is None:
            return x
        mapped: Tensor = self.data_map(x.to(self.angles.dtype))
        return mapped.to(x.dtype)

    def _probabilities(self, circuit: Circuit, own: Tensor, data: Tensor | None, states: Tensor | None) -> Tensor:
        """Shape ``(B, 2**n)``; their graph leads to the angles, and to data or states, in the gradient's way."""
        if self.method in VJPS or self.method in SEARCHES:
            return measured(Measurement(circuit, self.meter, self.gradient, states), own, data)
        angles = joined(own.detach() if self.method == "none" else own, data)
        if self.meter.backend.differentiable:
            return self.meter.probabilities(circuit, angles, states)
        inputs = states if data is None else data
        if self.method == "none" and torch.is_grad_enabled() and inputs is not None and inputs.requires_grad:
            raise ConfigError(
                f"gradient none on backend {self.meter.name!r} gives the layer's input no gradient, which layers "
                f"below it need; take gradient surrogate, or detach the input"
            )
        with torch.no_grad():
            found = Measurement(circuit, self.meter, self.gradient, states)(circuit, angles)
        return found if self.method == "none" else surrogate(circuit, angles, found, states)

    def get_extra_state(self) -> Tensor:
        """Evaluations, circuits and shots so far: a resumed training goes on with other shots, and counting."""
        return torch.tensor([self.meter.evaluations, self.meter.circuits, self.meter.shots_spent])

    def set_extra_state(self, state: Tensor) -> None:
        """Go on counting."""
        self.meter.evaluations, self.meter.circuits, self.meter.shots_spent = state.tolist()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, metadata: Any, strict: bool, *lists: Any) -> None:
        """As in torch; a file of parameters alone will do."""
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *lists)
        missing = lists[0]
        if f"{prefix}_extra_state" in missing:
            missing.remove(f"{prefix}_extra_state")

    def extra_repr(self) -> str:
        """What print shows."""
        return (
            f"{self.circuit.n_qubits} qubits, {len(self.circuit)} gates, {type(self.embedding).__name__} -> "
            f"{self.n_features} readings in {len(self.settings)} basis, {self.meter.name}, {self.gradient}"
        )


def _check_gradient(gradient: Gradient, n_own: int) -> None:
    """Refuse what could only fail in a backward pass."""
    if gradient.refresh > 1:
        raise ConfigError("gradient refresh keeps a measurement for the next input, which is another one in a layer")
    if gradient.method in SEARCHES:
        gradient.budget(Circuit(1), n_own)
