"""Sessions: a run that broke off anywhere and went on ends with the numbers of one that did not."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from qpeft.errors import RecordError
from qpeft.records import RunRecord, RunSpec
from qpeft.training import callbacks
from qpeft.training.callbacks import Watch
from qpeft.training.checkpoints import COMPLETE, checkpoints
from qpeft.training.run import train_run
from qpeft.training.session import FILE

from .conftest import LORA, MakeSpec

DROPPED = {**LORA, "options": {**LORA["options"], "lora_dropout": 0.1}}
METHODS: dict[str, tuple[dict[str, Any], str, str]] = {
    "lora": (DROPPED, "exact", "auto"),
    "full": ({"name": "full"}, "exact", "auto"),
    "qaa": ({"name": "qaa", "options": {"depth": 1}}, "exact", "auto"),
    "sora": ({"name": "sora", "options": {"r": 2, "target_modules": ["q_proj"]}}, "exact", "auto"),
    "core": ({"name": "core", "options": {"r": 2, "basis_batches": 2, "target_modules": ["q_proj"]}}, "exact", "auto"),
    "shots": (
        {"name": "qpa", "options": {"n_mlp": 32, "depth": 1, "preset": "released"}, "over": DROPPED},
        "sampled:shots=5x",
        "spsa",
    ),
}
STEPS = 7


def specified(make_spec: MakeSpec, method: str, **train: Any) -> RunSpec:
    """Epochs of two steps, points of three, checkpoints every second: the last step is of neither kind."""
    body, backend, gradient = METHODS[method]
    parts = {"steps": STEPS, "gradient_accumulation": 2, "log_steps": 3, "checkpoint_steps": 2, **train}
    execution = {"execution": {"backend": backend, "gradient": gradient}} if backend != "exact" else {}
    spec = make_spec(body, train=parts, **execution)
    return spec.model_copy(update={"data": spec.data.model_copy(update={"train_rows": 7})})


def broken(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("killed here")


def break_off(spec: RunSpec, folder: Path, patch: pytest.MonkeyPatch, place: str) -> None:
    """Begin a run that ends at a place: in a step, or in a function of the run."""
    with patch.context() as inside:
        if place.isdigit():
            step = Watch.on_step_end

            def on_step_end(self: Watch, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                step(self, args, state, control, **kwargs)
                if state.global_step == int(place):
                    broken()

            inside.setattr(Watch, "on_step_end", on_step_end)
        else:
            inside.setattr(f"qpeft.training.run.{place}", broken)
        with pytest.raises(RuntimeError, match="killed here"):
            train_run(spec, folder)


def numbers(record: RunRecord) -> dict[str, Any]:
    """Everything of a record but times, memory, and what was spent."""
    body = record.model_dump(mode="json", exclude={"run_info", "train_info"})
    info = record.train_info
    body["counts"] = (info.train_tokens, info.effective_params, info.file_size, info.num_trainable_params)
    for key in ("executions_spent", "shots_spent"):
        (body["quantum"] or {}).pop(key, None)
    return body


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.fixture(scope="module")
def whole(make_spec: MakeSpec, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[RunRecord, Path]]:
    """A run of a method without a break, made once."""
    made: dict[str, tuple[RunRecord, Path]] = {}

    def of(method: str) -> tuple[RunRecord, Path]:
        if method not in made:
            folder = tmp_path_factory.mktemp(method) / "run"
            made[method] = train_run(specified(make_spec, method), folder), folder
        return made[method]

    return of


@pytest.mark.parametrize("place", ["6", "measure", "write_record"])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_broke_off_ends_as_one_that_did_not(
    method: str,
    place: str,
    make_spec: MakeSpec,
    whole: Callable[[str], tuple[RunRecord, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec, (first, folder) = specified(make_spec, method), whole(method)
    break_off(spec, tmp_path, monkeypatch, place)
    made: list[int] = []
    begin = Watch.on_step_begin

    def on_step_begin(self: Watch, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        made.append(state.global_step + 1)
        begin(self, args, state, control, **kwargs)

    monkeypatch.setattr(Watch, "on_step_begin", on_step_begin)
    second = train_run(spec, tmp_path)
    assert sorted(set(made)) == ([5, 6, 7] if place == "6" else [])
    assert numbers(second) == numbers(first)
    assert weights(tmp_path) == weights(folder)
    assert second.train_info.step_time_median > 0
    assert second.train_info.train_time > 0
    if second.quantum is not None and method in ("qaa", "shots"):
        more = (second.quantum.executions_spent or 0) - second.quantum.circuit_executions
        assert more > 0 if place == "6" or method == "shots" else more == 0
        assert first.quantum is not None
        assert first.quantum.executions_spent == first.quantum.circuit_executions
        assert first.quantum.shots_spent == first.quantum.shots_needed


def test_checkpoints_change_neither_numbers_nor_whose_folder_it_is(
    make_spec: MakeSpec,
    whole: Callable[[str], tuple[RunRecord, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (first, folder), free = whole("lora"), {"spec", "identity"}
    none = specified(make_spec, "lora", checkpoint_steps=0)
    record = train_run(none, tmp_path / "none")
    known = {key: value for key, value in numbers(first).items() if key not in free}
    assert {key: value for key, value in numbers(record).items() if key not in free} == known
    # The same run under another setting goes on, and is found when it is done.
    break_off(specified(make_spec, "lora"), tmp_path / "run", monkeypatch, "6")
    assert train_run(none, tmp_path / "run").curve == first.curve
    assert train_run(specified(make_spec, "lora", checkpoint_steps=3), tmp_path / "run").curve == first.curve
    assert weights(tmp_path / "run") == weights(folder)


def test_by_default_time_decides(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, seen = specified(make_spec, "lora", checkpoint_steps=0), []
    mark = callbacks.mark
    monkeypatch.setattr(callbacks, "mark", lambda folder: (seen.append(folder.name), mark(folder)))
    train_run(spec, tmp_path / "quick")
    assert seen == [f"checkpoint-{STEPS}"]
    seen.clear()
    monkeypatch.setattr(callbacks, "EVERY", 0.0)
    monkeypatch.setattr(callbacks, "SHARE", 0.0)
    train_run(spec, tmp_path / "slow")
    assert seen[-1] == f"checkpoint-{STEPS}"
    assert len(seen) > 1


@pytest.mark.parametrize("left", ["optimizer.pt", FILE, COMPLETE])
def test_a_checkpoint_that_lost_a_file_is_passed_over(
    left: str,
    make_spec: MakeSpec,
    whole: Callable[[str], tuple[RunRecord, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _ = whole("lora")
    spec = specified(make_spec, "lora")
    break_off(spec, tmp_path, monkeypatch, "7")
    kept = checkpoints(tmp_path / "checkpoints")
    assert [path.name for path in kept] == ["checkpoint-4", "checkpoint-6"]
    (kept[1] / left).unlink()
    assert numbers(train_run(spec, tmp_path)) == numbers(first)


def test_another_number_of_processes_is_refused(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = specified(make_spec, "lora")
    break_off(spec, tmp_path, monkeypatch, "7")
    for kept in checkpoints(tmp_path / "checkpoints"):
        body = json.loads((kept / FILE).read_text())
        (kept / FILE).write_text(json.dumps({**body, "losses": [0.0, 0.0]}))
        (kept / COMPLETE).unlink()
        callbacks.mark(kept)
    with pytest.raises(RecordError, match=r"written by 2 process\(es\), and 1 would go on"):
        train_run(spec, tmp_path)


def test_what_killed_sessions_left_is_removed(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    for name in (".record.json.k3j2h1g0", ".report.html.x", "checkpoints/.identity.txt.y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".adapter.k3j2h1g0").mkdir()
    train_run(spec, tmp_path)
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]
    # Killed between the record and the end.
    shutil.copytree(tmp_path / "adapter", tmp_path / "checkpoints" / "checkpoint-3")
    (tmp_path / f".record.json.{os.getpid()}.z").touch()
    train_run(spec, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "probe.safetensors", "record.json"]
