"""run_study: a record is made once, a second call reads it, and another spec is refused."""

from pathlib import Path

import pytest

from qpeft.errors import LockError, RecordError
from qpeft.records import StudySpec, holding_file, read_study
from qpeft.records.spec import Strict
from qpeft.training.studies.study import Found, Study, Tick, run_study, silent


class Settings(Strict):
    count: int = 2


class Counter:
    """A study that knows how often it ran."""

    runs = 0

    def measure(self, settings: Settings, tick: Tick) -> Found:
        self.runs += 1
        tick(0, "first")
        return Found(rows=[{"n": n} for n in range(settings.count)], notes=["a note"], model={"name": "none"})


def test_equal_settings_are_measured_once(tmp_path: Path) -> None:
    counter, seen = Counter(), []
    study = Study(Settings, lambda settings: [{"n": 0}], counter.measure)
    spec, path = StudySpec(study="count", settings={"count": 2}), tmp_path / "record.json"
    first = run_study(study, spec, path, lambda done, name: seen.append((done, name)), "title", {"id": "x"})
    again = run_study(study, spec, path)
    assert counter.runs == 1
    assert first == again == read_study(path)
    assert seen == [(0, "first")]
    assert (first.rows, first.notes, first.title) == ([{"n": 0}, {"n": 1}], ["a note"], "title")
    assert first.identity == spec.identity()
    assert first.environment.model_info == {"name": "none"}
    assert first.environment.package_info["torch-version"]
    with pytest.raises(RecordError, match="other settings"):
        run_study(study, StudySpec(study="count", settings={"count": 3}), path)
    assert counter.runs == 1


def test_a_study_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    def breaks(settings: Settings, tick: Tick) -> Found:
        raise KeyboardInterrupt

    study = Study(Settings, lambda settings: [], breaks)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, StudySpec(study="count", settings={}), tmp_path / "record.json", silent)
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_measure_the_same_study(tmp_path: Path) -> None:
    counter = Counter()
    study = Study(Settings, lambda settings: [], counter.measure)
    spec, path = StudySpec(study="count", settings={"count": 2}), tmp_path / "record.json"
    with holding_file(path), pytest.raises(LockError, match=r"record\.json is in use by process"):
        run_study(study, spec, path)
    assert counter.runs == 0
    record = run_study(study, spec, path)
    with holding_file(path):
        assert run_study(study, spec, path) == record
    assert [found.name for found in tmp_path.iterdir()] == ["record.json"]
