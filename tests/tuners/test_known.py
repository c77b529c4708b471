"""What is true of a tuner that nobody described: its card says so, and merging is refused as the card says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest

from qpeft.errors import ConfigError
from qpeft.method import METHODS, Method, of_kind
from qpeft.tuners import FFAConfig, register_method
from qpeft.tuners.ffa import FFAModel
from qpeft.tuners.known import derived


@dataclass
class Mine(FFAConfig):
    METHOD: ClassVar[str] = "mine"


class MineModel(FFAModel):
    prefix = "mine_"


@pytest.fixture
def mine() -> Iterator[Method]:
    register_method(Method("mine", "MINE"), Mine, MineModel)
    yield METHODS["mine"]
    METHODS.remove("mine")


def test_package_and_mergeability_come_from_the_classes(mine: Method) -> None:
    assert mine.provider == Mine.__module__.split(".")[0] != "qpeft"
    assert mine.unmergeable
    assert mine.fixed == {"peft_type": "MINE"}
    assert of_kind("MINE") == mine
    with pytest.raises(ConfigError, match="method 'mine' is registered already"):
        register_method(Method("mine", "LORA"))


def test_types_that_have_no_row() -> None:
    assert (derived("IA3").provider, derived("IA3").unmergeable) == ("", "")
    assert derived("POLY").unmergeable == "peft does not merge it"
    assert not derived("CARTRIDGE").lengthens
    assert derived("PROMPT_TUNING").lengthens
    assert derived("SORA").provider == "qpeft"
    assert derived("NOBODYS").unmergeable.startswith("the package it comes from is not loaded")
