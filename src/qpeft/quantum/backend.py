"""What every place that can run a circuit has in common: one method and what it declares about itself."""

from typing import Protocol

from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.quantum.shots import Shots


class Backend(Protocol):
    """Something that turns a circuit and angles into basis-state probabilities.

    Settings such as shots and noise belong to the constructor, so a backend is a value: chosen once, handed around,
    compared. What is random about an evaluation follows from the seed of the call alone, so that whoever counts
    evaluations can repeat or resume them. A new backend is one file that provides these members.

    It may also have ``observed(circuit, angles, x, observables)``: expectations, shape ``(..., K)``, of K diagonal
    observables, shape ``(2**n, K)``, after real vectors x, shape ``(..., d)``, as amplitudes; or None where it is
    not to be had. Embedded circuits prefer it to `probabilities`.
    """

    @property
    def name(self) -> str:
        """A short word for records and messages."""

    @property
    def differentiable(self) -> bool:
        """Whether autograd passes from the probabilities to the angles; else a `Gradient` without it is needed."""

    @property
    def input_gradient(self) -> bool:
        """Whether autograd also passes to the input states, as layers below a circuit need."""

    @property
    def shots(self) -> Shots | None:
        """Measurements per circuit; None is the exact distribution."""

    @property
    def noise(self) -> str | None:
        """Name of the noise model or device; None is noiseless."""

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Probabilities, or relative frequencies, of all basis states.

        Args:
            circuit: any circuit.
            angles: radians, shape ``(..., P)``.
            states: amplitudes before the circuit, shape ``(..., 2**n)``; None is ``|0...0>``. Leading axes of angles
                and states broadcast.
            seed: of whatever is random here: equal seeds give equal results on simulators.

        Returns:
            Values in [0, 1], shape ``(..., 2**n)``, qubit 0 the most significant bit of the index, in the precision
            and on the device of the angles.

        Raises:
            ShapeError: the last axis of angles or states does not fit the circuit.
        """

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """What a record has to tell about running this circuit here: layout, calibration date, gates; may be empty."""


def is_exact(backend: Backend) -> bool:
    """Whether a backend gives noiseless probabilities without sampling error.

    >>> from qpeft.quantum.backends.exact import ExactBackend
    >>> is_exact(ExactBackend())
    True
    """
    return backend.shots is None and backend.noise is None
