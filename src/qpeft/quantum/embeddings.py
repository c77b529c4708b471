"""How the values of a vector enter a circuit: as amplitudes, as angles, or through a trained map into angles."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from torch import nn

from qpeft.circuits.circuit import Circuit, Operation, Parameter
from qpeft.errors import ConfigError, ShapeError, require_choice

ROTATIONS = ("rx", "ry", "rz", "p")


class Embedding(Protocol):
    """A way in. The whole circuit is one whose first angles are data, the others the layer's own."""

    amplitudes: bool

    def whole(self, circuit: Circuit, n_features: int) -> tuple[Circuit, int]:
        """The circuit with the data's gates in it, and how many of its first angles are data.

        Raises:
            ShapeError: so many features do not fit.
        """

    def n_own(self, circuit: Circuit) -> int:
        """Trained angles of the whole circuit."""

    def blocks(self, circuit: Circuit) -> int:
        """How often the circuit stands in the whole one, each time with angles of its own."""

    def module(self, circuit: Circuit) -> nn.Module | None:
        """A trained map from features to data angles, or None where features are the data angles."""


@dataclass(frozen=True)
class Amplitude:
    """A vector of up to 2**n values as the state before the circuit, padded with zeros, at length one."""

    amplitudes = True

    def whole(self, circuit: Circuit, n_features: int) -> tuple[Circuit, int]:
        """The circuit itself; none of its angles are data."""
        return circuit, 0

    def n_own(self, circuit: Circuit) -> int:
        """All angles."""
        return circuit.n_parameters

    def blocks(self, circuit: Circuit) -> int:
        """Once."""
        return 1

    def module(self, circuit: Circuit) -> None:
        """None."""


@dataclass(frozen=True)
class Angle:
    """Features as the angles of rotations before the circuit, ``scale * x + shift`` radians.

    Feature i turns wire i; features beyond the wires take the next rotation: with ``rotations="ry+rz"`` four features
    enter two qubits. With ``uploads`` of more than one, features enter again before each of so many copies of the
    circuit, which have angles of their own (data re-uploading, arXiv:1907.02085).

    >>> from qpeft.circuits import build_ansatz
    >>> whole, n_data = Angle(uploads=2).whole(build_ansatz("ry_cnot", 3, 1), 3)
    >>> n_data, whole.n_parameters
    (3, 9)

    Args:
        rotations: ``rx``, ``ry``, ``rz`` or ``p``, joined by + where there are more features than wires.
        uploads: copies of the circuit, 1 or more.
        scale: factor on the features, not 0.
        shift: radians.
        circuit: a circuit whose parameters are the features, in place of rotations.

    Raises:
        ConfigError: an unknown rotation, or a number out of range.
    """

    rotations: str = "ry"
    uploads: int = 1
    scale: float = 1.0
    shift: float = 0.0
    circuit: Circuit | None = None
    amplitudes = False

    def __post_init__(self) -> None:
        _check(self.rotations, self.uploads)
        if self.scale == 0:
            raise ConfigError("scale must not be 0: the circuit would not see the features")

    def whole(self, circuit: Circuit, n_features: int) -> tuple[Circuit, int]:
        """Data and circuit in turns; every upload has the same features."""
        data = self.circuit or rotations_of(self.rotations, circuit.n_qubits, n_features)
        if data.n_parameters != n_features:
            raise ShapeError(f"the data circuit takes {data.n_parameters} features on the last axis; got {n_features}")
        return uploaded(circuit, scaled(data, self.scale, self.shift), self.uploads, shared=True), n_features

    def n_own(self, circuit: Circuit) -> int:
        """Those of every copy."""
        return self.uploads * circuit.n_parameters

    def blocks(self, circuit: Circuit) -> int:
        """One an upload."""
        return self.uploads

    def module(self, circuit: Circuit) -> None:
        """None."""


@dataclass(frozen=True)
class Inputs:
    """The circuit's own first angles are the features, the others are trained; PennyLane's ``inputs`` in a QNode.

    Any way to upload data can be written so: a Parameter may stand at many gates, with a scale and a shift each time.

    Args:
        features: how many, 1 or more.

    Raises:
        ConfigError: fewer.
    """

    features: int
    amplitudes = False

    def __post_init__(self) -> None:
        if self.features < 1:
            raise ConfigError(f"features must be a whole number of at least 1; got {self.features}")

    def whole(self, circuit: Circuit, n_features: int) -> tuple[Circuit, int]:
        """The circuit itself."""
        self.n_own(circuit)
        if n_features != self.features:
            raise ShapeError(f"{self.features} angles of the circuit are features; got {n_features} on the last axis")
        return circuit, n_features

    def n_own(self, circuit: Circuit) -> int:
        """What is left.

        Raises:
            ConfigError: the circuit has fewer angles than there are features.
        """
        if circuit.n_parameters < self.features:
            raise ConfigError(
                f"the first {self.features} angles of the circuit are to be features; it has {circuit.n_parameters}"
            )
        return circuit.n_parameters - self.features

    def blocks(self, circuit: Circuit) -> int:
        """Once."""
        return 1

    def module(self, circuit: Circuit) -> None:
        """None."""


@dataclass(frozen=True)
class LinearMap:
    """A trained linear map from any number of features to the angles of rotations before the circuit.

    Args:
        features: length of the vectors, 1 or more.
        rotations: on every wire, joined by +.
        uploads: copies of rotations and circuit; each has angles, and so rows of the map, of its own.

    Raises:
        ConfigError: an unknown rotation, or a number out of range.
    """

    features: int
    rotations: str = "ry"
    uploads: int = 1
    amplitudes = False

    def __post_init__(self) -> None:
        _check(self.rotations, self.uploads)
        if self.features < 1:
            raise ConfigError(f"features must be a whole number of at least 1; got {self.features}")

    def whole(self, circuit: Circuit, n_features: int) -> tuple[Circuit, int]:
        """Rotations and circuit in turns."""
        if n_features != self.features:
            raise ShapeError(f"the trained map takes {self.features} features on the last axis; got {n_features}")
        data = self._data(circuit)
        return uploaded(circuit, data, self.uploads, shared=False), self.uploads * data.n_parameters

    def n_own(self, circuit: Circuit) -> int:
        """Those of every copy."""
        return self.uploads * circuit.n_parameters

    def blocks(self, circuit: Circuit) -> int:
        """One an upload."""
        return self.uploads

    def module(self, circuit: Circuit) -> nn.Module:
        """The map."""
        return nn.Linear(self.features, self.uploads * self._data(circuit).n_parameters)

    def _data(self, circuit: Circuit) -> Circuit:
        n = circuit.n_qubits
        return rotations_of(self.rotations, n, n * len(self.rotations.split("+")))


def embedding_of(given: "str | Embedding") -> Embedding:
    """An embedding, from its word where it has no settings.

    Raises:
        ConfigError: the word is unknown.
    """
    if not isinstance(given, str):
        return given
    if given == "linear":
        raise ConfigError("embedding linear needs the length of its vectors: LinearMap(features=...)")
    require_choice("embedding", given, ("amplitude", "angle"))
    return Amplitude() if given == "amplitude" else Angle()


@lru_cache(maxsize=256)
def rotations_of(rotations: str, n_qubits: int, n_features: int) -> Circuit:
    """One rotation a feature: wire by wire, rotation by rotation.

    Raises:
        ShapeError: more features than rotations, or none.
    """
    kinds = rotations.split("+")
    if not 1 <= n_features <= n_qubits * len(kinds):
        raise ShapeError(
            f"{rotations} on {n_qubits} qubit(s) takes 1 to {n_qubits * len(kinds)} features on the last axis; got "
            f"{n_features}; add rotations, such as ry+rz, or take LinearMap(features={n_features})"
        )
    places = ((kinds[i // n_qubits], (i % n_qubits,), Parameter(i)) for i in range(n_features))
    return Circuit(n_qubits, tuple(Operation(*place) for place in places))


def scaled(circuit: Circuit, scale: float, shift: float) -> Circuit:
    """The circuit with ``scale * theta + shift`` for each theta."""
    if (scale, shift) == (1.0, 0.0):
        return circuit

    def turned(angle: Parameter) -> Parameter:
        return Parameter(angle.index, angle.scale * scale, angle.scale * shift + angle.shift)

    operations = (
        op.turned([turned(a) if isinstance(a, Parameter) else a for a in op.angles]) for op in circuit.operations
    )
    return Circuit(circuit.n_qubits, tuple(operations))


@lru_cache(maxsize=256)
def uploaded(circuit: Circuit, data: Circuit, times: int, *, shared: bool) -> Circuit:
    """Data and circuit in turns; the data's parameters come first, one set for all turns or one for each.

    Raises:
        ConfigError: the two differ in their number of qubits.
    """
    if data.n_qubits != circuit.n_qubits:
        raise ConfigError(f"the data circuit must have {circuit.n_qubits} qubits, as the circuit; got {data.n_qubits}")
    n_data, n_own = data.n_parameters, circuit.n_parameters
    first_own = n_data if shared else times * n_data
    operations: list[Operation] = []
    for turn in range(times):
        operations += _moved(data, 0 if shared else turn * n_data)
        operations += _moved(circuit, first_own + turn * n_own)
    return Circuit(circuit.n_qubits, tuple(operations))


def _moved(circuit: Circuit, offset: int) -> Iterable[Operation]:
    for op in circuit.operations:
        yield op.turned([replace(a, index=a.index + offset) if isinstance(a, Parameter) else a for a in op.angles])


def _check(rotations: str, uploads: int) -> None:
    for rotation in rotations.split("+"):
        require_choice("rotations", rotation, ROTATIONS)
    if uploads < 1:
        raise ConfigError(f"uploads must be a whole number of at least 1; got {uploads}")
