"""The IBM backend on an offline copy of a device: end to end, through a killed process, and what it refuses."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from qpeft.circuits import Circuit, build_ansatz
from qpeft.errors import (
    BackendError,
    BudgetError,
    ConfigError,
    JobTimeoutError,
)
from qpeft.quantum import Shots
from qpeft.quantum.backends._services import LocalService
from qpeft.quantum.backends.aer import AerBackend
from qpeft.quantum.backends.desk import Patience
from qpeft.quantum.backends.ibm import IBMBackend
from qpeft.quantum.backends.journal import Budget
from qpeft.quantum.backends.sampling import Sampling

pytest.importorskip("qiskit_ibm_runtime")
CIRCUIT = build_ansatz("ry_cnot", 3, 2)
ANGLES = torch.linspace(0.3, 2.0, 6, dtype=torch.float64)
SHOTS = Shots(2000)


def close(result: torch.Tensor, tolerance: float = 0.06) -> bool:
    """Whether frequencies are those of the noisy simulation of the same device."""
    expected = AerBackend("torino").probabilities(CIRCUIT, ANGLES)
    return bool(((result - expected).abs() < tolerance).all())


@pytest.mark.parametrize("mode", ["batch", "session", "job"])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(dynamical_decoupling="XY4", rep_delay=1e-4),
        Sampling(twirl_gates=True, twirl_measurement=True, randomizations=3, private=True),
    ],
    ids=["plain", "decoupled", "twirled"],
)
def test_offline_copy(mode: str, sampling: Sampling, tmp_path: Path) -> None:
    backend = IBMBackend("fake_torino", SHOTS, journal=tmp_path, mode=mode, sampling=sampling)
    result = backend.probabilities(CIRCUIT, ANGLES, seed=2)
    assert close(result)
    assert result.sum().item() == pytest.approx(1)


def test_twirling_returns_more_shots_than_asked(tmp_path: Path) -> None:
    sampling = Sampling(twirl_gates=True)
    backend = IBMBackend("fake_torino", Shots(100), journal=tmp_path, sampling=sampling)
    result = backend.probabilities(CIRCUIT, ANGLES)
    assert sampling.shots_returned(100) == 128
    torch.testing.assert_close((result * 128).round(), result * 128)
    assert backend.estimate(CIRCUIT).shots == 128


def test_equal_calls_are_one_job_and_the_journal_outlives_the_backend(tmp_path: Path) -> None:
    def count() -> int:
        return len(list((tmp_path / "local").glob("*.json")))

    def backend(**options: Any) -> IBMBackend:
        return IBMBackend("fake_torino", SHOTS, journal=tmp_path, **options)

    first = backend().probabilities(CIRCUIT, ANGLES, seed=1)
    assert torch.equal(first, backend().probabilities(CIRCUIT, ANGLES, seed=1))
    assert count() == 1
    backend().probabilities(CIRCUIT, ANGLES, seed=2)
    backend().probabilities(CIRCUIT, ANGLES + 1e-12, seed=1)
    backend(sampling=Sampling(dynamical_decoupling="XX")).probabilities(CIRCUIT, ANGLES, seed=1)
    assert count() == 4


PROGRAM = """
    import sys
    from pathlib import Path
    import torch
    from qpeft.circuits import build_ansatz
    from qpeft.quantum import Shots
    from qpeft.quantum.backends._services import LocalService
    from qpeft.quantum.backends.ibm import IBMBackend

    folder, queue = Path(sys.argv[1]), float(sys.argv[2])
    service = LocalService("fake_torino", folder / "local", queue=queue)
    backend = IBMBackend("fake_torino", Shots(2000), journal=folder, service=service)
    angles = torch.linspace(0.3, 2.0, 6, dtype=torch.float64)
    print(backend.probabilities(build_ansatz("ry_cnot", 3, 2), angles, seed=1).tolist())
"""


def test_kill_9_while_the_job_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)]
    process = subprocess.Popen([*command, "600"])
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*-job.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(tmp_path.glob("*-counts.json"))
    done = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    values = torch.tensor([float(value) for value in done.stdout.strip(" []\n").split(",")], dtype=torch.float64)
    assert close(values)
    assert len(list((tmp_path / "local").glob("*.json"))) == 1, "submitted exactly once"


def test_a_queue_longer_than_our_patience(tmp_path: Path) -> None:
    def backend(queue: float) -> IBMBackend:
        service = LocalService("fake_torino", tmp_path / "local", queue=queue)
        return IBMBackend("fake_torino", SHOTS, journal=tmp_path, patience=Patience(timeout=0.05), service=service)

    with pytest.raises(JobTimeoutError, match=r"did not end within 0\.05 s; it goes on"):
        backend(600).probabilities(CIRCUIT, ANGLES)
    assert close(backend(0).probabilities(CIRCUIT, ANGLES))
    assert len(list((tmp_path / "local").glob("*.json"))) == 1


def test_real_devices_need_a_budget() -> None:
    with pytest.raises(
        ConfigError, match=r"max_shots and max_seconds are required.*max_seconds=None.*5120 shots, 1\.3"
    ):
        IBMBackend("ibm_torino", Shots.parse("20x"), Budget(max_shots=10))
    assert not IBMBackend("ibm_torino", SHOTS, Budget(10, 10)).local


def test_estimate_sends_nothing(tmp_path: Path) -> None:
    circuit = build_ansatz("ry_cnot", 8, 8)
    backend = IBMBackend("fake_torino", Shots.parse("20x"), Budget(10_000, 5), journal=tmp_path / "jobs")
    cost = backend.estimate(circuit, evaluations=3)
    assert (cost.circuits, cost.shots) == (3, 3 * 5120)
    # 250 us between shots and a few us of gates.
    assert 3 * 1.28 < cost.seconds < 3 * 1.35
    assert not (tmp_path / "jobs").exists()
    with pytest.raises(BudgetError, match="max_shots=10000"):
        backend.probabilities(circuit, torch.zeros(2, 64))
    assert not list((tmp_path / "jobs").rglob("*.json"))


def test_states_are_refused_beyond_six_qubits(tmp_path: Path) -> None:
    circuit, states = build_ansatz("ry_cnot", 7, 1), torch.eye(128)[0]
    with pytest.raises(ConfigError, match=r"at most 6 qubits.*got 7.*2690.*simulator.*force=True"):
        IBMBackend("fake_torino", SHOTS, journal=tmp_path).probabilities(circuit, torch.zeros(7), states)
    forced = IBMBackend("fake_torino", SHOTS, journal=tmp_path, force=True, service=Refusing())
    with pytest.raises(BackendError, match="the stand-in sends nothing"):
        forced.probabilities(circuit, torch.zeros(7), states)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="mode must be one of batch, session, job; got 'bach'; nearest: batch"):
        IBMBackend("fake_torino", SHOTS, mode="bach")
    with pytest.raises(ConfigError, match="dynamical_decoupling must be one of"):
        Sampling(dynamical_decoupling="XYX")
    with pytest.raises(ConfigError, match="randomizations must be 1 or more"):
        Sampling(randomizations=0)
    with pytest.raises(ConfigError, match="rep_delay must be 0 seconds or more"):
        Sampling(rep_delay=-1.0)


class Refusing(LocalService):
    """Prepares everything and sends nothing."""

    def __init__(self) -> None:
        super().__init__("fake_torino", Path("nowhere"))

    def submit(self, request: Any, tag: str, max_seconds: float | None) -> str:
        raise BackendError("the stand-in sends nothing")


def test_details(tmp_path: Path) -> None:
    backend = IBMBackend("fake_torino", SHOTS, journal=tmp_path, sampling=Sampling(dynamical_decoupling="XX"))
    told = backend.details(CIRCUIT)
    assert told["calibrated"] == "2025-02-26"
    assert told["dynamical_decoupling"] == "XX"
    assert "twirl_gates" not in told
    assert {"physical_qubits", "two_qubit_gates", "depth", "level", "qiskit-ibm-runtime"} <= set(told)


def test_rows_and_states_keep_their_places(tmp_path: Path) -> None:
    """Two states in turn, with other angles each: groups are sent together and come back apart."""
    circuit = build_ansatz("ry_cnot", 2, 1)
    states = torch.eye(4, dtype=torch.float64)[[0, 3, 0, 3]]
    angles = torch.tensor([[0.0, 0.0], [0.0, 0.0], [torch.pi, 0.0], [torch.pi, 0.0]], dtype=torch.float64)
    backend = IBMBackend("fake_torino", SHOTS, journal=tmp_path)
    assert backend.probabilities(circuit, angles, states).argmax(-1).tolist() == [0, 2, 3, 1]
    empty = backend.probabilities(Circuit(2), torch.zeros(3, 0))
    assert empty.shape == (3, 4)
    assert empty.argmax(-1).tolist() == [0, 0, 0]
