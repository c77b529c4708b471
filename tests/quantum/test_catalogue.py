"""Backends by word: every option reaches its constructor, and what cannot be opened says what would."""

from importlib import metadata
from pathlib import Path

import pytest

from qpeft.errors import ConfigError, MissingExtraError
from qpeft.quantum import BACKENDS, ExactBackend, SampledBackend, Shots, open_backend
from qpeft.quantum.backends.aer import AerBackend
from qpeft.quantum.backends.ibm import IBMBackend
from qpeft.quantum.backends.journal import Budget
from qpeft.quantum.backends.noisy import NoisyBackend
from qpeft.quantum.backends.pennylane import PennyLaneBackend
from qpeft.quantum.catalogue import require_installed
from qpeft.quantum.noise import NoiseModel

TORINO = NoisyBackend(NoiseModel(device="torino"))
CORE = {
    "exact": ExactBackend(),
    "exact:shots=8": SampledBackend(Shots(8)),
    "sampled:shots=20x": SampledBackend(Shots(20, relative=True)),
    "noisy:device=torino": TORINO,
    "noisy:device=torino,shots=5": SampledBackend(Shots(5), TORINO),
    "noisy:depolarizing2=0.01,p10=0.1": NoisyBackend(NoiseModel(depolarizing2=0.01, p10=0.1)),
}
VENDORS = {
    "aer": AerBackend(),
    "aer:device=torino,shots=20x,level=1": AerBackend("torino", Shots(20, relative=True), 1),
    "pennylane:device=lightning.qubit,shots=9": PennyLaneBackend("lightning.qubit", Shots(9)),
    "ibm:device=ibm_fez,shots=9,max_shots=100,max_seconds=3,journal=jobs": IBMBackend(
        "ibm_fez", Shots(9), Budget(100, 3.0), Path("jobs")
    ),
}


@pytest.mark.parametrize("text", CORE)
def test_the_core(text: str) -> None:
    assert open_backend(text) == CORE[text]


@pytest.mark.parametrize("text", VENDORS)
def test_vendors(text: str) -> None:
    for library in BACKENDS[text.split(":")[0]].libraries:
        pytest.importorskip(library.replace("-", "_"))
    assert open_backend(text) == VENDORS[text]


def test_switches_of_ibm() -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    backend = open_backend("ibm:device=fake_fez,shots=9,twirl_gates=yes,private=false,timeout=3,mode=session")
    assert isinstance(backend, IBMBackend)
    assert (backend.sampling.twirl_gates, backend.sampling.private) == (True, False)
    assert (backend.patience.timeout, backend.mode) == (3.0, "session")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exakt", "backend must be one of .*; got 'exakt'; nearest: exact"),
        ("exact:shot=1", "backend exact: option must be one of kernel, shots; got 'shot'; nearest: shots"),
        ("sampled", "needs shots, for example sampled:shots=20x"),
        ("sampled:shots=many", "4096, or 20x"),
        ("noisy", "needs a device or numbers"),
        ("noisy:device=rome", "device must be one of fez, torino; got 'rome'"),
        ("noisy:readout=a lot", r"readout \(probability to read the wrong value\) got 'a lot'"),
        ("noisy:readout=2", r"must lie in \[0, 1\]; got 2"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_backend(text)


def test_refusals_of_ibm() -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    with pytest.raises(ConfigError, match="needs device and shots"):
        open_backend("ibm:device=fake_fez")
    with pytest.raises(ConfigError, match=r"private .* got 'maybe': 'maybe' is neither true nor false"):
        open_backend("ibm:device=fake_fez,shots=9,private=maybe")
    with pytest.raises(ConfigError, match="max_s"):
        open_backend("ibm:device=ibm_fez,shots=9")


def test_a_missing_library_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("qpeft.quantum.catalogue.metadata.version", absent)
    for name, extra in (("aer", "qiskit"), ("pennylane", "pennylane"), ("ibm", "ibm")):
        with pytest.raises(MissingExtraError, match=rf"pip install 'qpeft\[{extra}\]'"):
            require_installed(name, BACKENDS[name])
        assert "not installed" in BACKENDS[name].versions()
    assert open_backend("exact") == ExactBackend()
