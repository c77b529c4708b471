"""Calibrated devices: what a few qubits of a real machine did wrong on one day, from a small file each."""

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from qpeft.errors import ConfigError, require_choice

_FOLDER = Path(__file__).parent / "devices"
DEVICES: tuple[str, ...] = tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@dataclass(frozen=True)
class Qubit:
    """One physical qubit: times in seconds, errors as average gate infidelity, readout as probability.

    Attributes:
        t1: relaxation time.
        t2: dephasing time; above 2 t1 only through the error of its measurement.
        sx_error: of the square root of X.
        sx_duration: of the same.
        x_error: of X.
        x_duration: of the same.
        p10: chance to read 1 where 0 was prepared.
        p01: chance to read 0 where 1 was prepared.
    """

    t1: float
    t2: float
    sx_error: float
    sx_duration: float
    x_error: float
    x_duration: float
    p10: float
    p01: float


@dataclass(frozen=True)
class Edge:
    """One coupled pair: average infidelity of CZ and its duration in seconds."""

    cz_error: float
    cz_duration: float


@dataclass(frozen=True)
class Device:
    """A line of qubits of a machine, as long as the circuit, in the order of the circuit's qubits.

    Attributes:
        name: of the file.
        calibrated: ISO date and time of the calibration.
        physical: the machine's numbers of the qubits.
        qubits: one a qubit of the line.
        edges: one a neighbouring pair of the line.
        level: of Qiskit's transpiler when it chose the line.
        seed: of the same.
    """

    name: str
    calibrated: str
    physical: tuple[int, ...]
    qubits: tuple[Qubit, ...]
    edges: tuple[Edge, ...]
    level: int
    seed: int


@lru_cache(maxsize=64)
def load_device(name: str, n_qubits: int) -> Device:
    """The line of this many qubits on a device.

    >>> load_device("torino", 5).physical
    (81, 80, 92, 99, 98)

    Args:
        name: one of DEVICES.
        n_qubits: 1 to 12.

    Raises:
        ConfigError: there is no such device, or its file has no line of this length.
    """
    require_choice("device", name, DEVICES)
    content = json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))
    registers = content["registers"]
    if str(n_qubits) not in registers:
        sizes = [int(size) for size in registers]
        raise ConfigError(
            f"the noise file of {name} holds registers of {min(sizes)} to {max(sizes)} qubits; the circuit has "
            f"{n_qubits}; use a circuit of that size, or noise without a device, such as depolarizing=0.001"
        )
    physical = tuple(registers[str(n_qubits)])
    return Device(
        name=content["device"],
        calibrated=content["calibrated"],
        physical=physical,
        qubits=tuple(_qubit(content["qubits"][str(number)]) for number in physical),
        edges=tuple(_edge(content["edges"]["{}-{}".format(*sorted(pair))]) for pair in pairwise(physical)),
        level=content["level"],
        seed=content["seed"],
    )


def _qubit(row: dict[str, float]) -> Qubit:
    return Qubit(
        t1=row["t1_us"] * 1e-6,
        t2=row["t2_us"] * 1e-6,
        sx_error=row["sx_error"],
        sx_duration=row["sx_ns"] * 1e-9,
        x_error=row["x_error"],
        x_duration=row["x_ns"] * 1e-9,
        p10=row["p10"],
        p01=row["p01"],
    )


def _edge(row: dict[str, float]) -> Edge:
    return Edge(cz_error=row["cz_error"], cz_duration=row["cz_ns"] * 1e-9)
