"""Where sampler jobs run: IBM's service, or a folder of jobs on an offline copy of a device."""

import atexit
import base64
import io
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from qpeft.errors import BackendError, ConfigError, ConnectionLostError, JobFailedError, JobTimeoutError
from qpeft.foreign import first_line
from qpeft.quantum.backends._devices import calibration_date, cut, fake_device, fake_name
from qpeft.quantum.backends._evaluations import seed_of
from qpeft.quantum.backends._qiskit import isa_of, qiskit_module
from qpeft.quantum.backends.desk import Outcome
from qpeft.quantum.backends.journal import Counts
from qpeft.quantum.backends.sampling import RUNTIME, Request, counts_of, open_mode, pub_of, sample
from qpeft.records.store import write_atomically

ACCOUNT = (
    "save one with: python -c \"from qiskit_ibm_runtime import QiskitRuntimeService as S; S.save_account(token='...', "
    "instance='...')\", or set QISKIT_IBM_TOKEN; devices whose names start with fake_ need none"
)


class LocalService:
    """Jobs as files in a folder, run on an offline copy of a device by whoever waits for them.

    Args:
        device: such as ``fake_torino``.
        folder: where the jobs are kept.
        mode: ``batch``, ``session`` or ``job``; of no effect but that the same code runs.
        queue: seconds a job waits before it runs.
    """

    def __init__(self, device: str, folder: Path, mode: str = "batch", queue: float = 0.0) -> None:
        self.device, self.folder, self.mode, self.queue = fake_name(device), folder, mode, queue

    @property
    def backend(self) -> Any:
        """The offline device."""
        return fake_device(self.device)

    def calibrated(self) -> str:
        """The day of the calibration."""
        return calibration_date(self.backend)

    def submit(self, request: Request, tag: str, max_seconds: float | None) -> str:
        """Write a job."""
        stream = io.BytesIO()
        qiskit_module("qiskit.qpy").dump(list(request.programs), stream)
        content = {
            "tag": tag,
            "submitted": time.time(),
            "programs": base64.b64encode(stream.getvalue()).decode(),
            "angles": [rows.tolist() for rows in request.angles],
            "shots": request.shots,
            "seed": request.seed,
            "options": request.sampling.options(),
        }
        job_id = uuid4().hex
        write_atomically(self.folder / f"{job_id}.json", json.dumps(content))
        return job_id

    def find(self, tag: str) -> str | None:
        """The id of the job with this tag."""
        for path in sorted(self.folder.glob("*.json")):
            if read_job(path)["tag"] == tag:
                return path.stem
        return None

    def result(self, job_id: str, timeout: float | None) -> Outcome:
        """Let the job wait in its queue, then run it."""
        path = self.folder / f"{job_id}.json"
        if not path.exists():
            raise JobFailedError(f"no such job in {self.folder}")
        job = read_job(path)
        wait = job["submitted"] + self.queue - time.time()
        time.sleep(max(min(wait, math.inf if timeout is None else timeout), 0))
        if timeout is not None and wait > timeout:
            raise JobTimeoutError(f"job {job_id} is still queued")
        return Outcome(self._run(job))

    def _run(self, job: dict[str, Any]) -> Counts:
        try:
            programs = qiskit_module("qiskit.qpy").load(io.BytesIO(base64.b64decode(job["programs"])))
        except Exception as error:  # Qiskit reads it byte by byte, and fails in as many ways
            raise JobFailedError(f"its circuits are damaged: {error}") from error
        counts: Counts = []
        for number, (program, rows) in enumerate(zip(programs, job["angles"], strict=True)):
            # The part of the device under the circuit behaves the same and is a hundred times faster.
            patch = cut(isa_of(program), self.backend)
            simulator = {"simulator": {"seed_simulator": seed_of(job["seed"], number)}}
            pub = pub_of(patch.program, np.array(rows, dtype=np.float64))
            sent = sample(open_mode(self.mode, patch.simulator), [pub], job["shots"], job["options"] | simulator)
            counts += counts_of(sent.result())
        return counts


def read_job(path: Path) -> dict[str, Any]:
    """A job as it was written.

    Raises:
        JobFailedError: the file is damaged.
    """
    try:
        job: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise JobFailedError(f"{path} is damaged: {first_line(error)}; delete it") from error
    needed = {"tag": str, "submitted": float, "programs": str, "angles": list, "shots": int, "seed": int}
    for key, kind in {**needed, "options": dict}.items():
        if not isinstance(job, dict) or not isinstance(job.get(key), kind):
            raise JobFailedError(f"{path} is damaged: {key} must be a {kind.__name__}; delete it")
    return job


class IBMService:
    """A device of IBM Quantum, through the account the user has saved.

    Args:
        device: such as ``ibm_torino``.
        mode: ``batch``, ``session`` or ``job``.

    Raises:
        ConfigError: there is no account, or it has no such device.
        ConnectionLostError: the service cannot be reached.
    """

    def __init__(self, device: str, mode: str) -> None:
        self.mode, self._handed_to = mode, None
        with _translated():
            self._service = qiskit_module(RUNTIME).QiskitRuntimeService()
            self.backend = self._service.backend(device)
        atexit.register(self.close)

    def calibrated(self) -> str:
        """The day of the device's last calibration."""
        with _translated():
            return calibration_date(self.backend)

    def submit(self, request: Request, tag: str, max_seconds: float | None) -> str:
        """Send a job, in the open session or batch or in a new one."""
        options = request.sampling.options()
        options["environment"] |= {"job_tags": [tag]}
        if max_seconds is not None:
            options["max_execution_time"] = max(math.ceil(max_seconds), 1)
        pubs = [pub_of(program, rows) for program, rows in zip(request.programs, request.angles, strict=True)]
        with _translated():
            try:
                if self._handed_to is None:
                    self._handed_to = open_mode(self.mode, self.backend)
                return str(sample(self._handed_to, pubs, request.shots, options).job_id())
            except Exception:
                # A session may have ended meanwhile; the next try opens another.
                self._handed_to = None
                raise

    def find(self, tag: str) -> str | None:
        """The id of the job with this tag."""
        with _translated():
            jobs = self._service.jobs(job_tags=[tag], limit=1)
        return str(jobs[0].job_id()) if jobs else None

    def result(self, job_id: str, timeout: float | None) -> Outcome:
        """Wait for the job; seconds are what is charged."""
        with _translated():
            job = self._service.job(job_id)
            counts = counts_of(job.result(timeout=timeout))
            # Charges are settled a little after the job; 0 means not yet.
            return Outcome(counts, job.usage() or None)

    def close(self) -> None:
        """Take no more jobs into the session or batch; those sent go on."""
        if self._handed_to is not None and self._handed_to is not self.backend:
            with _translated():
                self._handed_to.close()
        self._handed_to = None


@contextmanager
def _translated() -> Iterator[None]:
    """The library's errors as ours."""
    theirs = qiskit_module(f"{RUNTIME}.exceptions")
    providers = qiskit_module("qiskit.providers.exceptions")
    try:
        yield
    except (theirs.IBMAccountError, theirs.IBMNotAuthorizedError) as error:
        raise ConfigError(f"IBM Quantum needs an account: {error}; {ACCOUNT}") from error
    except providers.QiskitBackendNotFoundError as error:
        raise ConfigError(f"your account has no such device: {error}") from error
    except theirs.RuntimeJobTimeoutError as error:
        raise JobTimeoutError(str(error)) from error
    except (
        theirs.RuntimeJobFailureError,
        theirs.RuntimeJobMaxTimeoutError,
        theirs.RuntimeInvalidStateError,
    ) as error:
        raise JobFailedError(str(error)) from error
    except theirs.RuntimeJobNotFound as error:
        raise BackendError(f"{error}; it was sent from another account or instance: use that one") from error
    except (theirs.IBMInputValueError, theirs.IBMBackendValueError) as error:
        raise BackendError(f"IBM Quantum refuses: {error}") from error
    except (theirs.IBMError, OSError) as error:
        raise ConnectionLostError(str(error)) from error
