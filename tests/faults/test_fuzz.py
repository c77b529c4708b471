"""A short sample of the fuzzer, so that its inputs keep fitting the package; the campaign is run by hand."""

import random
from contextlib import suppress
from pathlib import Path

import pytest
from tests.faults import inputs, mutate

from qpeft.errors import ConfigError, QpeftError
from qpeft.recipes import load_recipe, packaged


@pytest.mark.parametrize("seed", range(4))
def test_changed_recipes_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    rng, path = random.Random(seed), tmp_path / "mine.yaml"
    sources = [source for source in packaged().values() if "extends" not in source.read_text("utf-8")]
    for _ in range(25):
        path.write_text(mutate.text(rng, rng.choice(sources).read_text("utf-8")), "utf-8")
        with suppress(ConfigError):
            load_recipe(str(path))


@pytest.mark.parametrize("seed", range(50))
def test_damaged_journals_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    work = inputs.journals(random.Random(seed), tmp_path, None)  # type: ignore[arg-type]
    assert callable(work)
    with suppress(QpeftError):
        work()
