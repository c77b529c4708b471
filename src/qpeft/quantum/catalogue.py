"""The catalogue of backends: the words that recipes and the command line use, and what each can do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from qpeft.circuits.setting import read_setting
from qpeft.errors import ConfigError, MissingExtraError, require_choice
from qpeft.quantum.backend import Backend
from qpeft.quantum.backends.aer import AerBackend
from qpeft.quantum.backends.desk import Patience
from qpeft.quantum.backends.exact import ExactBackend
from qpeft.quantum.backends.ibm import IBMBackend
from qpeft.quantum.backends.journal import Budget
from qpeft.quantum.backends.noisy import NoisyBackend
from qpeft.quantum.backends.pennylane import PennyLaneBackend
from qpeft.quantum.backends.sampled import SampledBackend
from qpeft.quantum.backends.sampling import Sampling
from qpeft.quantum.noise import DEVICES, NoiseModel
from qpeft.quantum.shots import Shots
from qpeft.registry import Registry

MISSING = "not installed"
YES, NO = ("true", "yes", "1"), ("false", "no", "0")


def switch(text: str) -> bool:
    """A yes or no of a setting."""
    if text.lower() not in YES + NO:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() in YES


def register_backend(name: str, entry: "Entry") -> None:
    """Make a backend known by a name, to recipes, the command line, lists and error messages.

    ::

        register_backend("mine", Entry("my simulator", {}, lambda given: MyBackend(), "all", "yes, without gradient"))

    `qpeft.testing.check_backend` says whether it keeps what is promised of every backend.

    Args:
        name: letters, digits and underscores; not taken.
        entry: What it is, its options, and how it is built from them.

    Raises:
        ConfigError: The name is taken by another backend, or is no word.
    """
    BACKENDS.register(name, entry)


@dataclass(frozen=True)
class Option:
    """One option of a backend: how its text is read, and what it means."""

    read: Callable[[str], Any]
    help: str


@dataclass(frozen=True)
class Entry:
    """One backend of the catalogue.

    Attributes:
        help: One line on what it is.
        options: By name.
        build: From options that were given to a backend.
        gradients: Which gradients of the angles it takes, in words.
        inputs: Whether it takes input states, and whether their gradient passes, in words.
        libraries: Distributions it needs; none for what is part of the core.
    """

    help: str
    options: Mapping[str, Option]
    build: Callable[[Mapping[str, Any]], Backend]
    gradients: str
    inputs: str
    libraries: tuple[str, ...] = field(default=())

    def versions(self) -> str:
        """Installed versions of its libraries, or which are missing."""
        return ", ".join(f"{name} {_version(name)}" for name in self.libraries) or "part of qpeft"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return MISSING


KERNEL = {"kernel": Option(str, "torch, or triton: the whole circuit as one kernel on a GPU, up to 12 qubits")}
SHOTS = {"shots": Option(Shots.parse, "measurements of a circuit: 4096, or 20x for 20 times 2^N; exact without")}
LEVEL = {
    "level": Option(int, "optimisation level of Qiskit's transpiler, 0 to 3"),
    "seed_transpiler": Option(int, "of its random choices"),
}
NOISE = {
    "device": Option(str, f"noise of a device: {', '.join(DEVICES)}"),
    "depolarizing": Option(float, "probability after each gate on one qubit"),
    "depolarizing2": Option(float, "probability after each gate on two qubits"),
    "amplitude_damping": Option(float, "probability on each qubit of each gate"),
    "phase_damping": Option(float, "probability on each qubit of each gate"),
    "readout": Option(float, "probability to read the wrong value"),
    "p10": Option(float, "probability to read 1 for 0"),
    "p01": Option(float, "probability to read 0 for 1"),
    "t1": Option(float, "relaxation time, seconds"),
    "t2": Option(float, "dephasing time, seconds"),
    "gate_time": Option(float, "seconds of a gate on one qubit"),
    "gate_time2": Option(float, "seconds of a gate on two qubits"),
}
JOBS = {
    "device": Option(str, "ibm_torino, or fake_torino for an offline copy"),
    "max_shots": Option(int, "budget of measurements of all jobs; required on real devices"),
    "max_seconds": Option(float, "budget of QPU seconds; required on real devices"),
    "journal": Option(Path, "folder of the jobs, to go on after an interruption"),
    "mode": Option(str, "batch, session or job"),
    "timeout": Option(float, "seconds to wait for one job"),
    "dynamical_decoupling": Option(str, "XX, XpXm or XY4"),
    "twirl_gates": Option(switch, "average over random Pauli frames of gates"),
    "twirl_measurement": Option(switch, "average over random flips before measuring"),
    "randomizations": Option(int, "random frames of twirling"),
    "rep_delay": Option(float, "seconds between two shots"),
    "private": Option(switch, "results can be read once only"),
    "force": Option(switch, "also circuits with input states on more than 6 qubits"),
}


def _picked(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _exact(given: Mapping[str, Any]) -> Backend:
    return ExactBackend(**_picked(given, "kernel"))


def _noisy(given: Mapping[str, Any]) -> Backend:
    settings = {key: value for key, value in given.items() if key != "shots"}
    if not settings:
        raise ConfigError("backend noisy needs a device or numbers, such as noisy:device=torino or noisy:readout=0.02")
    return _sampled(NoisyBackend(NoiseModel.from_settings(settings)), given)


def _pennylane(given: Mapping[str, Any]) -> Backend:
    return PennyLaneBackend(**_picked(given, "device", "shots", "noise"))


def _ibm(given: Mapping[str, Any]) -> Backend:
    for needed in ("device", "shots"):
        if needed not in given:
            raise ConfigError("backend ibm needs device and shots, such as ibm:device=fake_torino,shots=20x")
    twirling = ("twirl_gates", "twirl_measurement", "randomizations")
    return IBMBackend(
        budget=Budget(**_picked(given, "max_shots", "max_seconds")),
        sampling=Sampling(**_picked(given, "dynamical_decoupling", *twirling, "rep_delay", "private")),
        patience=Patience(**_picked(given, "timeout")),
        **_picked(given, "device", "shots", "journal", "mode", "level", "seed_transpiler", "force"),
    )


def _sampled(inner: Backend, given: Mapping[str, Any]) -> Backend:
    return SampledBackend(given["shots"], inner) if "shots" in given else inner


def _always_sampled(given: Mapping[str, Any]) -> Backend:
    if "shots" not in given:
        raise ConfigError("backend sampled needs shots, for example sampled:shots=20x")
    return _sampled(_exact(given), given)


OWN: dict[str, Entry] = {
    "exact": Entry(
        "state vectors in torch, on CPU or GPU",
        {**KERNEL, **SHOTS},
        lambda given: _sampled(_exact(given), given),
        "autograd and all others",
        "yes, with gradient",
    ),
    "sampled": Entry(
        "state vectors in torch, measured a finite number of times",
        {**KERNEL, **SHOTS},
        _always_sampled,
        "surrogate, shift, spsa, nelder-mead, cobyla",
        "yes, without gradient",
    ),
    "noisy": Entry(
        "density matrices in torch under the noise of a device or of numbers; up to 12 qubits",
        {**NOISE, **SHOTS},
        _noisy,
        "autograd without shots, and all others",
        "yes, with gradient without shots",
    ),
    "aer": Entry(
        "Qiskit Aer, with the noise of IBM's offline devices; any circuit, transpiled",
        {"device": Option(str, "torino, fez or another offline device; noiseless without"), **SHOTS, **LEVEL},
        lambda given: AerBackend(**given),
        "surrogate, shift, spsa, nelder-mead, cobyla",
        "yes, without gradient",
        ("qiskit", "qiskit-aer"),
    ),
    "pennylane": Entry(
        "any device of PennyLane",
        {"device": Option(str, "default.qubit, lightning.qubit, ..."), "noise": Option(str, "its name"), **SHOTS},
        _pennylane,
        "autograd on default.qubit without shots, and all others",
        "yes, with gradient on default.qubit without shots",
        ("pennylane",),
    ),
    "ibm": Entry(
        "quantum computers of IBM, or offline copies of them; jobs survive an interruption",
        {**JOBS, **SHOTS, **LEVEL},
        _ibm,
        "surrogate, shift, spsa, nelder-mead, cobyla",
        "up to 6 qubits, without gradient",
        ("qiskit", "qiskit-aer", "qiskit-ibm-runtime"),
    ),
}
BACKENDS: Registry[Entry] = Registry("backend")
for _name, _entry in OWN.items():
    BACKENDS.own(_name, _entry)
EXTRA = {"qiskit-aer": "qiskit", "qiskit": "qiskit", "pennylane": "pennylane", "qiskit-ibm-runtime": "ibm"}


def require_installed(name: str, entry: Entry) -> None:
    """Say what to install before anything is loaded or trained.

    Raises:
        MissingExtraError: A library of the backend is not installed.
    """
    missing = [library for library in entry.libraries if _version(library) == MISSING]
    if missing:
        raise MissingExtraError(
            f"backend {name} needs {', '.join(missing)}; pip install 'qpeft[{EXTRA[missing[-1]]}]'"
        )


def open_backend(text: str) -> Backend:
    """A backend from ``name`` or ``name:key=value,key=value``.

    >>> open_backend("sampled:shots=20x").shots
    Shots(number=20, relative=True)

    Raises:
        ConfigError: The name or an option is unknown, or a value cannot be used.
        MissingExtraError: It needs a library that is not installed.
    """
    name, given = read_setting(text)
    entry = BACKENDS.need("backend", name)
    for key in given:
        require_choice(f"backend {name}: option", key, entry.options)
    require_installed(name, entry)
    values = {}
    for key, value in given.items():
        try:
            values[key] = entry.options[key].read(value)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"backend {name}: {key} ({entry.options[key].help}) got {value!r}: {error}") from error
    return entry.build(values)
