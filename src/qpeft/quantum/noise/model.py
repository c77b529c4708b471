"""What goes wrong when a circuit runs, as plain data: a calibrated device, or numbers of one's own."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from qpeft.errors import ConfigError, require_choice
from qpeft.quantum.noise.device import DEVICES

_PROBABILITIES = (
    *("depolarizing", "depolarizing2", "amplitude_damping", "phase_damping"),
    *("readout", "p10", "p01"),
)
_SECONDS = ("t1", "t2", "gate_time", "gate_time2")
_READOUT = ("readout", "p10", "p01")


@dataclass(frozen=True)
class NoiseModel:
    """Noise of a device after each of its native gates, or noise given by numbers after each gate of the circuit.

    Numbers act in this order: depolarizing on the gate's qubits together, then on each of them amplitude damping,
    phase damping and relaxation during the gate. Readout errors act on every qubit at the end; with a device, they
    replace the calibrated ones, so that ``readout=0`` leaves the noise of the gates alone.

    >>> NoiseModel(depolarizing=0.001, depolarizing2=0.01, readout=0.02).name
    'depolarizing=0.001, depolarizing2=0.01, readout=0.02'
    >>> NoiseModel(device="torino").name
    'torino'

    Args:
        device: a name of DEVICES, or None.
        depolarizing: probability, after each gate on one qubit, that the qubit is replaced by the mixed state.
        depolarizing2: the same for both qubits together, after each gate on two.
        amplitude_damping: probability, on each qubit of each gate, that a 1 decays to 0.
        phase_damping: probability, on each qubit of each gate, that the phase is lost.
        readout: probability to read the wrong value, from either.
        p10: probability to read 1 where 0 was, instead of readout.
        p01: probability to read 0 where 1 was, instead of readout.
        t1: relaxation time in seconds; None is infinite.
        t2: dephasing time in seconds, at most 2 t1; None is 2 t1.
        gate_time: seconds a gate on one qubit takes.
        gate_time2: seconds a gate on two qubits takes.

    Raises:
        ConfigError: a number is out of its range, or two settings exclude each other.
    """

    device: str | None = None
    depolarizing: float = 0.0
    depolarizing2: float = 0.0
    amplitude_damping: float = 0.0
    phase_damping: float = 0.0
    readout: float | None = None
    p10: float | None = None
    p01: float | None = None
    t1: float | None = None
    t2: float | None = None
    gate_time: float = 0.0
    gate_time2: float = 0.0

    def __post_init__(self) -> None:
        for key, value in self.given().items():
            if key in _PROBABILITIES and not 0 <= float(value) <= 1:
                raise ConfigError(f"{key} is a probability and must lie in [0, 1]; got {value}")
            if key in _SECONDS and not float(value) > 0:
                raise ConfigError(f"{key} is a time in seconds and must be above 0; got {value}; 100 us is 1e-4")
        self._check_readout()
        self._check_device()
        self._check_times()

    @classmethod
    def from_settings(cls, settings: Mapping[str, str | float]) -> "NoiseModel":
        """A model from names and values, as a recipe or the command line has them.

        >>> NoiseModel.from_settings({"device": "fez", "readout": "0.01"}).readout
        0.01

        Raises:
            ConfigError: there is no such setting, a value is no number, or the model refuses it.
        """
        values: dict[str, Any] = {}
        for key, value in settings.items():
            require_choice("noise setting", key, [field.name for field in fields(cls)])
            values[key] = value if key == "device" else _number(key, value)
        return cls(**values)

    def given(self) -> dict[str, str | float]:
        """The settings that differ from their defaults.

        >>> NoiseModel(device="fez", readout=0.0).given()
        {'device': 'fez', 'readout': 0.0}
        """
        pairs = ((field.name, getattr(self, field.name), field.default) for field in fields(self))
        return {name: value for name, value, default in pairs if value != default}

    @property
    def name(self) -> str:
        """The settings in words, for records and messages."""
        settings = self.given()
        device = [str(settings.pop("device"))] if "device" in settings else []
        return ", ".join([*device, *(f"{key}={value:g}" for key, value in settings.items())]) or "none"

    def flips(self) -> tuple[float, float] | None:
        """Probabilities to read 1 for 0 and 0 for 1, or None for those of the device.

        >>> NoiseModel(p10=0.1).flips()
        (0.1, 0.0)
        """
        if all(getattr(self, key) is None for key in _READOUT):
            return None if self.device else (0.0, 0.0)
        if self.readout is not None:
            return self.readout, self.readout
        return self.p10 or 0.0, self.p01 or 0.0

    def _check_readout(self) -> None:
        if self.readout is not None and not (self.p10 is None and self.p01 is None):
            raise ConfigError(
                f"readout sets both directions, p10 and p01 one each; got readout={self.readout}, p10={self.p10}, "
                f"p01={self.p01}; give either the one or the other"
            )

    def _check_device(self) -> None:
        if self.device is None:
            return
        require_choice("device", self.device, DEVICES)
        others = [key for key in self.given() if key not in ("device", *_READOUT)]
        if others:
            raise ConfigError(
                f"device={self.device} brings its own noise of gates; got {', '.join(others)} as well; leave out one "
                f"or the other (readout, p10 and p01 may replace the readout errors of the device)"
            )

    def _check_times(self) -> None:
        if self.t1 is not None and self.t2 is not None and self.t2 > 2 * self.t1:
            raise ConfigError(f"t2 must be at most 2 * t1, a law of nature; got t1={self.t1}, t2={self.t2}")
        relaxes, lasts = (self.t1, self.t2) != (None, None), (self.gate_time, self.gate_time2) != (0, 0)
        if relaxes != lasts:
            raise ConfigError(
                f"relaxation needs t1 or t2, and gate_time or gate_time2, all in seconds; "
                f"got only {', '.join(key for key in self.given() if key in _SECONDS)}; add the other"
            )


def _number(key: str, value: str | float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{key} must be a number such as 0.01; got {value!r}") from None
