"""What the IBM runtime's Sampler is asked for and gives: error suppression, requests, execution modes, counts."""

import math
from dataclasses import dataclass
from typing import Any

from qpeft.errors import ConfigError, require_choice
from qpeft.quantum.backends._evaluations import Row
from qpeft.quantum.backends._qiskit import REGISTER, count_indices, qiskit_module
from qpeft.quantum.backends.journal import Counts

RUNTIME = "qiskit_ibm_runtime"
MODES = {"batch": "Batch", "session": "Session", "job": None}
SEQUENCES = ("XX", "XpXm", "XY4")


@dataclass(frozen=True)
class Sampling:
    """How the service treats a circuit against errors.

    >>> Sampling(twirl_gates=True).shots_returned(1000)
    1024

    Attributes:
        dynamical_decoupling: pulses on idle qubits, ``XX``, ``XpXm`` or ``XY4``; None is without.
        twirl_gates: average over random Pauli frames of the two-qubit gates.
        twirl_measurement: average over random flips before the readout.
        randomizations: how many random circuits share the shots; None leaves it to the service.
        rep_delay: seconds between shots; None leaves it to the device, whose default is 0.00025.
        private: have the service delete inputs and result once the result is read. A crash between reading and noting
            then loses it.

    Raises:
        ConfigError: an unknown sequence, or a number out of range.
    """

    dynamical_decoupling: str | None = None
    twirl_gates: bool = False
    twirl_measurement: bool = False
    randomizations: int | None = None
    rep_delay: float | None = None
    private: bool = False

    def __post_init__(self) -> None:
        if self.dynamical_decoupling is not None:
            require_choice("dynamical_decoupling", self.dynamical_decoupling, SEQUENCES)
        if self.randomizations is not None and self.randomizations < 1:
            raise ConfigError(f"randomizations must be 1 or more, or None; got {self.randomizations}")
        if self.rep_delay is not None and self.rep_delay < 0:
            raise ConfigError(f"rep_delay must be 0 seconds or more, or None; got {self.rep_delay}")

    def shots_returned(self, shots: int) -> int:
        """Shots that are run when so many are asked for: twirling rounds up to equal shares."""
        if not (self.twirl_gates or self.twirl_measurement):
            return shots
        # What the runtime documents for its automatic choice.
        share = (
            max(64, math.ceil(shots / 32)) if self.randomizations is None else math.ceil(shots / self.randomizations)
        )
        return share * (self.randomizations or math.ceil(shots / share))

    def options(self) -> dict[str, Any]:
        """The same as options of the runtime's Sampler."""
        decoupling = {"enable": self.dynamical_decoupling is not None}
        twirling = {"enable_gates": self.twirl_gates, "enable_measure": self.twirl_measurement}
        return {
            "dynamical_decoupling": decoupling
            | ({"sequence_type": self.dynamical_decoupling} if self.dynamical_decoupling else {}),
            "twirling": twirling | {"num_randomizations": self.randomizations or "auto"},
            "execution": {"rep_delay": self.rep_delay},
            "environment": {"private": self.private},
        }


@dataclass(frozen=True, eq=False)
class Request:
    """One sampler job.

    Attributes:
        programs: transpiled, measured programs.
        angles: of each program, shape ``(rows, its parameters)``; a program without parameters has one row.
        shots: per row.
        seed: of a simulated device.
        sampling: how errors are treated.
    """

    programs: tuple[Any, ...]
    angles: tuple[Row, ...]
    shots: int
    seed: int
    sampling: Sampling


def sample(mode: Any, pubs: list[Any], shots: int, options: dict[str, Any]) -> Any:
    """The job of the runtime's Sampler for some programs with their angles."""
    sampler = qiskit_module(f"{RUNTIME}.executor_sampler").Sampler(mode=mode, options=options)
    return sampler.run(pubs, shots=shots)


def pub_of(program: Any, angles: Row) -> tuple[Any, ...]:
    """A program with its angles as the Sampler takes them."""
    return (program, angles) if angles.shape[1] else (program,)


def counts_of(result: Any) -> Counts:
    """Counts of all rows of all programs, in the order of the request."""
    counts: Counts = []
    for item in result:
        bits = getattr(item.data, REGISTER)
        counts += count_indices(bits.array.reshape(-1, *bits.array.shape[-2:]), bits.num_bits).tolist()
    return counts


def open_mode(mode: str, backend: Any) -> Any:
    """What jobs are handed to: a session, a batch, or the device itself."""
    kind = MODES[mode]
    return backend if kind is None else getattr(qiskit_module(RUNTIME), kind)(backend=backend)
