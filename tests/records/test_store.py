"""The store: what is written is read back, whole or not at all, and damage is named."""

import json
import math
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from qpeft.errors import RecordError, StorageError
from qpeft.records import PLAN, RECORD, RunRecord, RunSpec, find_records, read_record, write_atomically, write_record

Make = Callable[..., RunRecord]


def test_a_record_survives_the_disk(make: Make, tmp_path: Path) -> None:
    record = make()
    write_record(record, tmp_path / "run" / RECORD)
    again = read_record(tmp_path / "run" / RECORD)
    assert again == record
    assert again.spec.identity() == again.identity == record.identity
    assert again.metric("perplexity") == 12.25
    assert again.metric("perplexity", "valid") is None
    block = again.block("test")
    assert block is not None
    assert block.tokens == [3, 4]
    assert again.block("valid") is None


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_diverged_run_survives_the_disk(value: float, make: Make, tmp_path: Path) -> None:
    metrics = [{"name": "perplexity", "split": "test", "value": value, "signature": "ppl"}]
    curve = [{"step": 1, "loss": value, "learning_rate": 0.1}]
    blocks = [{"split": "test", "nll": [value, 1.0], "tokens": [3, 4]}]
    write_record(make(metrics=metrics, curve=curve, blocks=blocks), tmp_path / RECORD)
    again = read_record(tmp_path / RECORD)
    found = [again.metrics[0].value, again.curve[0].loss, again.blocks[0].nll[0]]
    assert all(x == value or (math.isnan(x) and math.isnan(value)) for x in found)
    # Plain JSON, for other readers: no bare NaN or Infinity.
    json.loads((tmp_path / RECORD).read_text(), parse_constant=pytest.fail)


def test_writing_leaves_nothing_else_and_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "x.json"
    write_atomically(path, "one")
    write_atomically(path, "zwei ü")
    assert path.read_text("utf-8") == "zwei ü"
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_failed_writing_keeps_the_old_file(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(where, full)
    with pytest.raises(StorageError, match=r"writing .*x.json: the disk is full; make room"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_writing_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_record_says_where_it_was_expected(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"expected at .*record\.json.*run the comparison first"):
        read_record(tmp_path / RECORD)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("spec", "train", "steps"), "many"),
        (("train_info", "status"), "perhaps"),
        (("metrics", 0, "value"), None),
        (("version",), 2),
        (("surprise",), 1),
    ],
)
def test_damage_is_named_with_the_way_on(
    keys: tuple[str | int, ...], value: object, make: Make, tmp_path: Path
) -> None:
    body = json.loads(make().model_dump_json())
    place = body
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (tmp_path / RECORD).write_text(json.dumps(body))
    with pytest.raises(RecordError) as caught:
        read_record(tmp_path / RECORD)
    message = str(caught.value)
    assert f" {'.'.join(map(str, keys))}: " in message
    assert str(tmp_path / RECORD) in message
    assert message.endswith("delete it to run again")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b'{"version": 1}'])
def test_no_record_at_all(content: bytes, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(RecordError, match="delete it to run again"):
        read_record(tmp_path / RECORD)


def test_a_cut_record_is_refused_at_every_length(make: Make, tmp_path: Path) -> None:
    text = make().model_dump_json()
    for length in range(0, len(text), 97):
        (tmp_path / RECORD).write_text(text[:length])
        with pytest.raises(RecordError):
            read_record(tmp_path / RECORD)


def test_records_are_found_below_a_folder_in_order(make: Make, spec: RunSpec, tmp_path: Path) -> None:
    for label, seed in (("b", 1), ("b", 0), ("a", 2)):
        run = spec.model_copy(update={"label": label, "seed": seed})
        write_record(make(spec=run), tmp_path / "runs" / run.folder() / RECORD)
    write_record(make(), tmp_path / "runs" / "flat.record.json")
    found = find_records(tmp_path)
    assert [(r.spec.label, r.seed) for r in found] == [("a", 2), ("b", 0), ("b", 1), ("qpa", 0)]
    assert find_records(tmp_path / "runs" / found[0].spec.folder()) == found[:1]


def test_a_comparison_below_a_folder_is_another_one(make: Make, spec: RunSpec, tmp_path: Path) -> None:
    for seed, place in enumerate((tmp_path, tmp_path / "second", tmp_path / "second" / "third")):
        run = spec.model_copy(update={"seed": seed})
        write_record(make(spec=run), place / run.folder() / RECORD)
        write_atomically(place / PLAN, "{}")
    assert [record.seed for record in find_records(tmp_path)] == [0]
    assert [record.seed for record in find_records(tmp_path / "second")] == [1]
    assert [record.seed for record in find_records(tmp_path / "second" / "third")] == [2]
    (tmp_path / "second" / PLAN).unlink()
    assert [record.seed for record in find_records(tmp_path)] == [0, 1]


def test_find_refuses_what_is_no_folder_and_names_damage(make: Make, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="folder with records was expected"):
        find_records(tmp_path / "none")
    write_record(make(), tmp_path / "good" / RECORD)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / RECORD).write_text("{")
    with pytest.raises(RecordError, match="bad"):
        find_records(tmp_path)
