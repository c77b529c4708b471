"""The IBM backend: quantum computers of IBM through the current Sampler, with a budget and a journal of jobs."""

import json
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.qasm import to_qasm3
from qpeft.errors import ConfigError, require_choice
from qpeft.quantum.backends._evaluations import Evaluations, evaluations_of, seed_of
from qpeft.quantum.backends._qiskit import Isa, bindings, describe, require_transpiling, to_qiskit, transpile, versions
from qpeft.quantum.backends._services import IBMService, LocalService
from qpeft.quantum.backends.desk import Desk, Job, Patience, Prepared, Service
from qpeft.quantum.backends.journal import Budget, Counts, Estimate, Journal
from qpeft.quantum.backends.sampling import MODES, Request, Sampling
from qpeft.quantum.shots import Shots

# Seconds from one shot to the next on IBM's devices, unless rep_delay says otherwise.
REPETITION = 250e-6
MOST_QUBITS_WITH_STATES = 6


class DeviceService(Service, Hashable, Protocol):
    """A service that also describes its device."""

    @property
    def backend(self) -> Any:
        """Qiskit's BackendV2 of the device."""

    def calibrated(self) -> str:
        """The day of its calibration."""


@dataclass(frozen=True)
class IBMBackend:
    """A quantum computer of IBM, or with a name like ``fake_torino`` the same code on an offline copy of one.

    Every call is one job. It is noted in the journal before it is sent and before it is waited for; the same call in a
    later process, with the same journal, collects it instead of sending it again. On a real device nothing is sent
    beyond the budget.

    >>> IBMBackend("fake_torino", Shots.parse("20x")).local
    True

    Args:
        device: such as ``ibm_torino``, of the account saved on this machine, or ``fake_torino``.
        shots: per circuit with its angles.
        budget: what all jobs of the journal may cost; required for real devices.
        journal: folder of the jobs; one for each run that is to be resumed as a whole.
        mode: ``batch``, ``session`` (paid by the time it is open), or ``job``.
        sampling: error suppression, repetition delay, privacy.
        patience: how long to wait, and how often to try again.
        level: optimisation level of the transpiler, 0 to 3.
        seed_transpiler: of its random choices.
        force: run circuits with input states on more than 6 qubits.
        service: where the jobs run instead; for tests and for other ways to reach a device.

    Raises:
        ConfigError: an unknown mode or level, or a real device without a complete budget.
    """

    device: str
    shots: Shots
    budget: Budget = field(default_factory=Budget)
    journal: Path = Path("ibm-jobs")
    mode: str = "batch"
    sampling: Sampling = field(default_factory=Sampling)
    patience: Patience = field(default_factory=Patience)
    level: int = 3
    seed_transpiler: int = 0
    force: bool = False
    service: DeviceService | None = field(default=None, compare=False, repr=False)
    name: ClassVar[str] = "ibm"
    differentiable: ClassVar[bool] = False
    input_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_transpiling(self.level)
        require_choice("mode", self.mode, MODES)
        if not self.local and not self.budget.complete:
            shots = self.sampling.shots_returned(self.shots.of(8))
            example = Estimate(1, shots, shots * self._delay)
            raise ConfigError(
                f"{self.device} costs money: max_shots and max_seconds are required before anything is sent; got "
                f"max_shots={self.budget.max_shots}, max_seconds={self.budget.max_seconds}. With shots={self.shots}, "
                f"8 qubits take about {example} per evaluation, without the time of the gates; "
                "a fake_ device costs nothing"
            )

    @property
    def local(self) -> bool:
        """Whether this is an offline copy of a device."""
        return self.device.startswith("fake_")

    @property
    def noise(self) -> str:
        """The device."""
        return self.device

    def estimate(self, circuit: Circuit, evaluations: int = 1) -> Estimate:
        """What evaluations of a circuit cost, from ``|0...0>``; nothing is sent.

        Reads the description of the device, for which a real one needs the account.

        Args:
            circuit: any circuit.
            evaluations: sets of angles: 1 for a forward step, twice the number of parameters for a gradient by
                parameter shift of an ansatz.
        """
        return evaluations * self._cost(self._isa(circuit), self.shots.of(circuit.n_qubits))

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Relative frequencies (see ``Backend.probabilities``), without gradients.

        Equal calls are one job: to measure the same circuit again, give another seed.

        Raises:
            ConfigError: states on more than 6 qubits, unless forced; no account; no such device.
            BudgetError: it would cost more than is left; nothing was sent.
            JobTimeoutError: it did not end in time; the same call goes on waiting.
            JobFailedError: it was cancelled or failed; the same call sends it anew.
            ConnectionLostError: the service could not be reached; the same call goes on.
        """
        asked = evaluations_of(circuit, angles, states)
        if states is not None and circuit.n_qubits > MOST_QUBITS_WITH_STATES and not self.force:
            raise ConfigError(
                f"input states need at most {MOST_QUBITS_WITH_STATES} qubits on hardware; got {circuit.n_qubits}. "
                "Preparing one takes about 2.6 * 2**n two-qubit gates: at 10 qubits 2690, which succeed once in 30000 "
                "shots. Use a simulator for these circuits, fewer dimensions, or force=True"
            )
        journal = Journal(self.journal)
        key = self._key(circuit, asked, seed)
        counts = journal.counts(key)
        if counts is None:
            job = Job(key, lambda: self._prepare(circuit, asked, seed))
            counts = Desk(journal, self.budget, self.patience).collect(self._service(), job)
        order = np.concatenate([rows for _, rows in asked.groups()])
        self._check(journal, key, counts, len(order), circuit.n_qubits)
        table = np.empty((len(order), 2**circuit.n_qubits))
        # Twirling may return more shots than were asked for.
        table[order] = [np.array(row) / sum(row) for row in counts]
        return asked.tensor(table, angles)

    def _check(self, journal: Journal, key: str, counts: Counts, evaluations: int, n_qubits: int) -> None:
        """Refuse counts that this job cannot have given: a wrong number must not become a probability.

        Raises:
            RecordError: there are too few or too many circuits or basis states, or too few shots.
        """
        states, shots = 2**n_qubits, self.shots.of(n_qubits)
        if len(counts) != evaluations or any(len(row) != states for row in counts):
            raise journal.refused(key, f"counts: {evaluations} circuits of {states} basis states were expected")
        if any(sum(row) < shots for row in counts):
            raise journal.refused(key, f"counts: {shots} shots a circuit were expected, some have fewer")

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """Device, calibration date, execution options, layout and gates, versions."""
        options = {key: value for key, value in asdict(self.sampling).items() if value not in (None, False)}
        return {
            "device": self.device,
            "calibrated": self._service().calibrated(),
            "mode": self.mode,
            **options,
            **describe(self._isa(circuit), self.level, self.seed_transpiler),
            **versions("qiskit-ibm-runtime"),
        }

    @property
    def _delay(self) -> float:
        return REPETITION if self.sampling.rep_delay is None else self.sampling.rep_delay

    def _service(self) -> DeviceService:
        return self.service or _open(self.device, self.mode, self.journal)

    def _isa(self, circuit: Circuit) -> Isa:
        return _transpiled(circuit, self._service(), self.level, self.seed_transpiler)

    def _key(self, circuit: Circuit, asked: Evaluations, seed: int) -> str:
        """What the result depends on, but for the device's state of the day.

        The transpiled circuit is not in it: after a recalibration it may be another one, and a job that was sent
        before would not be found any more.
        """
        settings = {
            **{"device": self.device, "shots": self.shots.of(circuit.n_qubits), "sampling": asdict(self.sampling)},
            **{"level": self.level, "seed_transpiler": self.seed_transpiler, "seed": seed},
            **{"circuit": to_qasm3(circuit), "shape": asked.angles.shape},
        }
        digest = sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(asked.angles.tobytes())
        digest.update(b"" if asked.states is None else asked.states.tobytes())
        return digest.hexdigest()[:32]

    def _prepare(self, circuit: Circuit, asked: Evaluations, seed: int) -> Prepared:
        shots, cost = self.shots.of(circuit.n_qubits), Estimate()
        programs: list[Any] = []
        angles: list[Any] = []
        for state, rows in asked.groups():
            isa = self._isa(circuit) if state is None else self._transpile(circuit, state)
            values = bindings(isa.program, asked.angles[rows])
            # The Sampler repeats a program for its angles only.
            parts = [values] if values.shape[1] else [values[:1]] * len(rows)
            programs += [isa.program] * len(parts)
            angles += parts
            cost += len(rows) * self._cost(isa, shots)
        request = Request(tuple(programs), tuple(angles), shots, seed_of(seed, 0), self.sampling)
        about: dict[str, str | int | float] = {"device": self.device, "n_qubits": circuit.n_qubits, "seed": seed}
        return Prepared(request, cost, about)

    def _transpile(self, circuit: Circuit, state: Any) -> Isa:
        return transpile(to_qiskit(circuit, state), self._service().backend.target, self.level, self.seed_transpiler)

    def _cost(self, isa: Isa, shots: int) -> Estimate:
        returned = self.sampling.shots_returned(shots)
        duration = isa.program.estimate_duration(self._service().backend.target, "s")
        return Estimate(1, returned, returned * (self._delay + duration))


@lru_cache(maxsize=8)
def _open(device: str, mode: str, journal: Path) -> DeviceService:
    if device.startswith("fake_"):
        return LocalService(device, journal / "local", mode)
    return IBMService(device, mode)


@lru_cache(maxsize=64)
def _transpiled(circuit: Circuit, service: DeviceService, level: int, seed: int) -> Isa:
    return transpile(to_qiskit(circuit), service.backend.target, level, seed)
