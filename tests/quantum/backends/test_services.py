"""IBM's real service, by stand-ins: what it is asked, how it fails, sessions. It is never contacted from here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from qpeft.circuits import build_ansatz
from qpeft.errors import BackendError, ConfigError, ConnectionLostError, JobFailedError, JobTimeoutError
from qpeft.quantum import Shots
from qpeft.quantum.backends._devices import fake_device
from qpeft.quantum.backends._services import IBMService
from qpeft.quantum.backends.desk import Patience
from qpeft.quantum.backends.ibm import IBMBackend
from qpeft.quantum.backends.journal import Budget
from qpeft.quantum.backends.sampling import Sampling

runtime = pytest.importorskip("qiskit_ibm_runtime")

CIRCUIT = build_ansatz("ry_cnot", 3, 2)
ANGLES = torch.linspace(0.3, 2.0, 6, dtype=torch.float64)
SHOTS = Shots(2000)


class StandIn:
    """What IBM's service answers, with jobs that end as they are told."""

    def __init__(self, ending: Any) -> None:
        self.ending, self.asked = ending, dict[str, Any]()

    def __call__(self) -> "StandIn":
        return self

    def backend(self, name: str) -> Any:
        self.asked["backend"] = name
        return fake_device("torino")

    def jobs(self, **asked: Any) -> list[Any]:
        self.asked["jobs"] = asked
        return []

    def job(self, job_id: str) -> Any:
        self.asked["job"] = job_id
        return SimpleNamespace(job_id=lambda: job_id, result=self.result, usage=lambda: 2.5)

    def result(self, timeout: float | None) -> Any:
        self.asked["timeout"] = timeout
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending


def bit_array(n_qubits: int, index: int, shots: int) -> Any:
    containers = pytest.importorskip("qiskit.primitives.containers")
    return containers.BitArray.from_counts({format(index, f"0{n_qubits}b"): shots}, num_bits=n_qubits)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the Sampler is made with and asked for."""
    seen: dict[str, Any] = {}

    class Sampler:
        def __init__(self, mode: Any, options: dict[str, Any]) -> None:
            seen.update(mode=mode, options=runtime.options_models.sampler.SamplerOptions(**options))

        def run(self, pubs: list[Any], shots: int) -> Any:
            seen.update(pubs=pubs, shots=shots)
            return SimpleNamespace(job_id=lambda: "job-1")

    monkeypatch.setattr("qiskit_ibm_runtime.executor_sampler.Sampler", Sampler)
    return seen


def real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stand_in: Any, **options: Any) -> IBMBackend:
    monkeypatch.setattr(runtime, "QiskitRuntimeService", stand_in)
    service = IBMService("ibm_torino", options.get("mode", "batch"))
    budget = Budget(max_shots=10_000, max_seconds=60)
    patience = Patience(timeout=9, retries=1, backoff=0.0)
    return IBMBackend("ibm_torino", SHOTS, budget, tmp_path, patience=patience, service=service, **options)


def test_what_the_real_service_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: dict[str, Any]) -> None:
    data = SimpleNamespace(data=SimpleNamespace(c=bit_array(3, 6, 2048)))
    stand_in = StandIn([data])
    sampling = Sampling("XX", twirl_gates=True, randomizations=16, rep_delay=2e-4)
    backend = real(monkeypatch, tmp_path, stand_in, sampling=sampling)
    result = backend.probabilities(CIRCUIT, ANGLES)
    assert result.tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    assert isinstance(sent["mode"], runtime.Batch)
    options = sent["options"]
    assert (options.dynamical_decoupling.enable, options.dynamical_decoupling.sequence_type) == (True, "XX")
    assert (options.twirling.enable_gates, options.twirling.num_randomizations) == (True, 16)
    assert options.execution.rep_delay == 2e-4
    assert options.max_execution_time == 60
    (tag,) = options.environment.job_tags
    assert tag.startswith("qpeft-")
    (program, values), shots = sent["pubs"][0], sent["shots"]
    assert (program.num_qubits, values.shape, shots) == (133, (1, 6), 2000)
    assert (stand_in.asked["backend"], stand_in.asked["job"], stand_in.asked["timeout"]) == ("ibm_torino", "job-1", 9)
    assert '"seconds": 2.5' in next(tmp_path.glob("*-end.json")).read_text()


def test_how_the_real_service_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: dict[str, Any]) -> None:
    theirs = runtime.exceptions
    for number, (error, expected, match) in enumerate(
        [
            (theirs.RuntimeJobTimeoutError("late"), JobTimeoutError, "job-1 did not end within 9 s"),
            (theirs.RuntimeJobFailureError("burnt"), JobFailedError, "burnt"),
            (theirs.RuntimeInvalidStateError("was cancelled"), JobFailedError, "was cancelled"),
            (theirs.RuntimeJobMaxTimeoutError("ran too long"), JobFailedError, "ran too long"),
            (theirs.IBMRuntimeError("gateway"), ConnectionLostError, "in 2 tries"),
            (ConnectionResetError("reset"), ConnectionLostError, "reset"),
            (theirs.RuntimeJobNotFound("unknown"), BackendError, "another account"),
            (theirs.IBMInputValueError("wrong"), BackendError, "refuses"),
            (theirs.IBMNotAuthorizedError("who"), ConfigError, "save_account"),
        ]
    ):
        backend = real(monkeypatch, tmp_path / str(number), StandIn(error))
        with pytest.raises(expected, match=match):
            backend.probabilities(CIRCUIT, ANGLES)


def test_no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nobody() -> Any:
        raise runtime.accounts.AccountNotFoundError("Unable to find account.")

    with pytest.raises(ConfigError, match=r"Unable to find account.*save_account.*QISKIT_IBM_TOKEN.*fake_"):
        real(monkeypatch, tmp_path, nobody)


def test_sessions_are_opened_once_closed_and_opened_anew_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: dict[str, Any]
) -> None:
    data = SimpleNamespace(data=SimpleNamespace(c=bit_array(3, 1, 2000)))
    backend = real(monkeypatch, tmp_path, StandIn([data]), mode="session")
    backend.probabilities(CIRCUIT, ANGLES, seed=1)
    first = sent["mode"]
    backend.probabilities(CIRCUIT, ANGLES, seed=2)
    assert sent["mode"] is first
    assert type(first) is runtime.Session
    assert isinstance(backend.service, IBMService)
    backend.service.close()
    backend.probabilities(CIRCUIT, ANGLES, seed=3)
    assert sent["mode"] is not first
