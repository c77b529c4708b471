"""Every backend keeps the contract that ships: one table of constructors, one row a backend."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from qpeft.circuits import Circuit, Operation, build_ansatz
from qpeft.errors import MissingExtraError
from qpeft.quantum import Backend, ExactBackend, Shots
from qpeft.quantum.backends.aer import AerBackend
from qpeft.quantum.backends.ibm import IBMBackend
from qpeft.quantum.backends.noisy import NoisyBackend
from qpeft.quantum.backends.pennylane import PennyLaneBackend
from qpeft.quantum.backends.sampled import SampledBackend
from qpeft.quantum.noise import NoiseModel
from qpeft.testing import BACKEND_PARTS

SHOTS = Shots(4000)


@dataclass(frozen=True)
class Row:
    """One backend under test: its constructor, which gets an empty folder, and the libraries it needs."""

    name: str
    make: Callable[[Path], Backend]
    needs: tuple[str, ...] = ()


NUMBERS = NoiseModel(depolarizing=0.001, depolarizing2=0.01, readout=0.02)  # a device has gates on neighbours only
QISKIT = ("qiskit", "qiskit_aer")
IBM = (*QISKIT, "qiskit_ibm_runtime")
TABLE = [
    Row("exact", lambda folder: ExactBackend()),
    Row("sampled", lambda folder: SampledBackend(SHOTS)),
    Row("noisy", lambda folder: NoisyBackend(NUMBERS)),
    Row("noisy-shots", lambda folder: SampledBackend(SHOTS, NoisyBackend(NUMBERS))),
    Row("aer", lambda folder: AerBackend(), QISKIT),
    Row("aer-shots", lambda folder: AerBackend(shots=SHOTS), QISKIT),
    Row("aer-torino", lambda folder: AerBackend("torino"), IBM),
    Row("aer-torino-shots", lambda folder: AerBackend("torino", SHOTS), IBM),
    Row("default.qubit", lambda folder: PennyLaneBackend(), ("pennylane",)),
    Row("default.qubit-shots", lambda folder: PennyLaneBackend(shots=SHOTS), ("pennylane",)),
    Row("lightning.qubit", lambda folder: PennyLaneBackend("lightning.qubit"), ("pennylane",)),
    Row("lightning.qubit-shots", lambda folder: PennyLaneBackend("lightning.qubit", SHOTS), ("pennylane",)),
    Row("ibm", lambda folder: IBMBackend("fake_torino", SHOTS, journal=folder), IBM),
]


@pytest.fixture(params=TABLE, ids=lambda row: row.name)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    for module in request.param.needs:
        pytest.importorskip(module)
    made: Backend = request.param.make(tmp_path)
    return made


@pytest.mark.parametrize("part", BACKEND_PARTS)
def test_keeps_the_contract(backend: Backend, part: str) -> None:
    BACKEND_PARTS[part](backend)


@pytest.mark.parametrize("row", [row for row in TABLE if row.needs], ids=lambda row: row.name)
def test_says_which_extra_is_missing(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where this process has the library loaded: every module of it is hidden."""
    vendors = ("qiskit", "qiskit_aer", "qiskit_ibm_runtime", "pennylane")
    for module in [name for name in sys.modules if name.split(".")[0] in vendors] + list(vendors):
        monkeypatch.setitem(sys.modules, module, None)
    circuit = build_ansatz("ry_cnot", 2, 1)
    # A circuit no other test has run, for which nothing is cached.
    circuit += Circuit(2, (Operation("ry", (0,), 0.1 + TABLE.index(row)),))
    with pytest.raises(MissingExtraError, match=r"pip install 'qpeft\[(qiskit|ibm|pennylane)\]'"):
        row.make(tmp_path).probabilities(circuit, torch.zeros(2))
