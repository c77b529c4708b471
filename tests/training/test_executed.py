"""Runs whose circuits run elsewhere: what they train, record, refuse, and how a saved one is measured there."""

from pathlib import Path
from typing import Any

import pytest

from qpeft.cli import run as command_line
from qpeft.errors import ConfigError
from qpeft.records import RECORD, RunRecord, RunSpec, read_record
from qpeft.training.reload import measure_saved
from qpeft.training.run import train_run

from .conftest import LORA, MakeSpec

QPA: dict[str, Any] = {"name": "qpa", "options": {"n_mlp": 32, "depth": 2, "widths": [8]}, "over": LORA}
QAA: dict[str, Any] = {"name": "qaa", "options": {"depth": 1}}


def executed(
    make_spec: MakeSpec, method: dict[str, Any], backend: str, gradient: str = "auto", **parts: Any
) -> RunSpec:
    return make_spec(method, execution={"backend": backend, "gradient": gradient}, **parts)


def test_the_record_tells_where_how_and_what_it_took(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = executed(make_spec, QPA, "noisy:device=torino,shots=20x", "spsa:samples=2")
    record = train_run(spec, tmp_path / "run")
    block = record.quantum
    assert block is not None
    assert (block.backend, block.noise, block.grad_method) == ("noisy", "torino", "spsa:samples=2")
    assert block.shots == 20 * 2**block.n_qubits
    # Once to begin, once more as accelerate loads the state again, and three steps of one and four circuits.
    assert block.circuit_executions == 2 + 3 * (1 + 4)
    assert block.shots_spent == block.shots * block.circuit_executions
    details = block.backend_details or {}
    assert {"physical_qubits", "calibrated", "transpile_level", "transpile_seed", "gates_cz"} <= details.keys()
    assert read_record(tmp_path / "run" / RECORD) == record


def test_exact_runs_keep_their_identity_and_their_record(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(QPA)
    assert "execution" not in spec.model_dump()
    assert executed(make_spec, QPA, "exact").identity() == spec.identity()
    assert executed(make_spec, QPA, "sampled:shots=9").identity() != spec.identity()
    block = train_run(spec, tmp_path / "run").quantum
    assert block is not None
    assert (block.backend, block.shots, block.noise, block.grad_method) == ("exact", None, None, "autograd")
    assert not {"shots_spent", "backend_details"} & block.model_dump().keys()


def test_qaa_trains_under_noise(make_spec: MakeSpec, tmp_path: Path) -> None:
    noisy = train_run(executed(make_spec, QAA, "noisy:depolarizing2=0.2,readout=0.1"), tmp_path / "noisy")
    exact = train_run(make_spec(QAA), tmp_path / "exact")
    assert noisy.quantum is not None
    assert (noisy.quantum.backend, noisy.quantum.noise) == ("noisy", "depolarizing2=0.2, readout=0.1")
    assert noisy.curve[0].loss == pytest.approx(exact.curve[0].loss, abs=1e-5)  # W starts at zero
    assert noisy.curve[-1].loss != exact.curve[-1].loss


@pytest.mark.parametrize(
    ("method", "backend", "message"),
    [
        (LORA, "sampled:shots=9", "execution is about circuits, and method 'lora' has none"),
        (QAA, "sampled:shots=9", r"QAA trains where autograd passes.*qpeft eval RUN --backend sampled:shots=9"),
        (QPA, "sampeld:shots=9", "backend must be one of .*nearest: sampled"),
    ],
)
def test_refusals_come_before_a_model_is_loaded(
    method: dict[str, Any], backend: str, message: str, make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = executed(make_spec, method, backend, model={"name": "nowhere"})
    with pytest.raises(ConfigError, match=message):
        train_run(spec, tmp_path / "run")


@pytest.fixture(scope="module")
def qaa(make_spec: MakeSpec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRecord]:
    folder = tmp_path_factory.mktemp("qaa") / "run"
    return folder, train_run(make_spec(QAA, train={"learning_rate": 0.3}), folder)


def perplexity(folder: Path, backend: str | None) -> float:
    return measure_saved(folder, data=None, split="test", padded=False, backend=backend)[0].value


def test_a_saved_qaa_is_measured_elsewhere(qaa: tuple[Path, RunRecord]) -> None:
    folder, record = qaa
    own = record.metric("perplexity")
    assert perplexity(folder, "exact") == perplexity(folder, None) == pytest.approx(own)
    few, again, many = (perplexity(folder, f"sampled:shots={n}") for n in (4, 4, 200_000))
    assert few == again, "the same run measured twice gives the same"
    assert abs(many - own) < abs(few - own)
    assert perplexity(folder, "noisy:readout=0") == pytest.approx(own, rel=1e-5)
    assert perplexity(folder, "noisy:readout=0.3") != pytest.approx(own, rel=1e-5)


def test_only_qaa_has_circuits_left(make_spec: MakeSpec, tmp_path: Path) -> None:
    train_run(make_spec(QPA), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"a run of 'qpa' has none \(QPA's circuit is done"):
        perplexity(tmp_path / "run", "sampled:shots=9")


def test_the_command_line(
    qaa: tuple[Path, RunRecord], tmp_path: Path, capsys: pytest.CaptureFixture[str], base_folder: Path, texts: Path
) -> None:
    assert command_line(["eval", str(qaa[0]), "--no-padded", "--backend", "sampled:shots=4"]) == 0
    assert float(capsys.readouterr().out.split()[2]) == pytest.approx(perplexity(qaa[0], "sampled:shots=4"), abs=1e-4)
    method = "{name: qpa, n_mlp: 64, depth: 1, over: {name: lora, r: 2, target_modules: [q_proj]}}"
    flags = ["--method", method, "--model", str(base_folder), "--data", str(texts), "--steps", "1"]
    words = ["train", *flags, "--backend", "sampled:shots=8", "--gradient", "shift", "--out", str(tmp_path / "run")]
    assert command_line(words) == 0
    block = read_record(tmp_path / "run" / RECORD).quantum
    assert block is not None
    assert (block.backend, block.shots, block.grad_method) == ("sampled", 8, "shift")
