"""Study records: identity, immutability, and what a damaged file says."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from qpeft.errors import RecordError
from qpeft.records import MetaInfo, StudyRecord, StudySpec, kept_study, read_study, write_study

META = MetaInfo(model_info={}, dataset_info={}, package_info={}, system_info={}, pytorch_info="torch")
SPEC = StudySpec(study="counts", settings={"rank": 4, "sizes": [1, 2]})


def record(spec: StudySpec = SPEC, **changes: Any) -> StudyRecord:
    fields: dict[str, Any] = {
        "study": spec.study,
        "settings": spec.settings,
        "identity": spec.identity(),
        "created_at": "2026-01-01T00:00:00+00:00",
        "total_time": 1.5,
        "environment": META,
        "rows": [{"a": 1, "b": 0.5, "c": True, "d": "x", "e": None}],
    }
    return StudyRecord(**{**fields, **changes})


def test_identity_depends_on_study_and_settings_alone() -> None:
    assert SPEC.identity() == StudySpec(study="counts", settings={"sizes": [1, 2], "rank": 4}).identity()
    others = [
        StudySpec(study="count", settings=SPEC.settings),
        StudySpec(study="counts", settings={"rank": 4, "sizes": [2, 1]}),
        StudySpec(study="counts", settings={"rank": 4, "sizes": [1, 2], "seed": 0}),
    ]
    assert len({SPEC.identity(), *(other.identity() for other in others)}) == 4
    assert record(title="other", rows=[]).spec.identity() == SPEC.identity()


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "study.json"
    assert kept_study(SPEC, path) is None
    write_study(record(), path)
    assert read_study(path) == record() == kept_study(SPEC, path)
    kinds = [type(value) for value in read_study(path).rows[0].values()]
    assert kinds == [int, float, bool, str, type(None)]
    assert [p.name for p in path.parent.iterdir()] == ["study.json"]


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    write_study(record(), path)
    write_study(record(title="later"), path)
    assert read_study(path).title == ""
    other = StudySpec(study="counts", settings={"rank": 5})
    for action in (lambda: write_study(record(other), path), lambda: kept_study(other, path)):
        with pytest.raises(RecordError, match=rf"identity {SPEC.identity()}, asked for {other.identity()}.*another"):
            action()


def test_numbers_that_json_cannot_hold_are_refused() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValidationError, match="finite"):
            record(rows=[{"a": value}])


def test_a_file_that_is_no_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"a study's record was expected at .*none\.json"):
        read_study(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(RecordError, match=r"bad\.json must be the record of a study, version 1"):
        read_study(tmp_path / "bad.json")
    text = record().model_dump_json().replace('"rank":4', '"rank":8')
    (tmp_path / "edited.json").write_text(text)
    with pytest.raises(RecordError, match="the file was changed"):
        read_study(tmp_path / "edited.json")
