"""Noise models: hashable, named, and clear about what they refuse."""

import pytest

from qpeft.errors import ConfigError
from qpeft.quantum.noise import NoiseModel


def test_models_are_values() -> None:
    assert {NoiseModel(device="fez"), NoiseModel(device="fez")} == {NoiseModel(device="fez")}
    assert NoiseModel() != NoiseModel(readout=0.1)


def test_names() -> None:
    assert NoiseModel().name == "none"
    assert NoiseModel(device="torino", readout=0).name == "torino, readout=0"
    assert NoiseModel(t1=1e-4, gate_time=3e-8).name == "t1=0.0001, gate_time=3e-08"


def test_readout_flips() -> None:
    assert NoiseModel().flips() == (0, 0)
    assert NoiseModel(readout=0.1).flips() == (0.1, 0.1)
    assert NoiseModel(p01=0.2).flips() == (0, 0.2)
    assert NoiseModel(device="fez").flips() is None
    assert NoiseModel(device="fez", readout=0.0).flips() == (0, 0)


def test_settings_may_be_text() -> None:
    assert NoiseModel.from_settings({"depolarizing": "1e-3", "readout": 0.02}) == NoiseModel(
        depolarizing=1e-3, readout=0.02
    )
    assert NoiseModel.from_settings({"device": "torino"}) == NoiseModel(device="torino")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depolarizing": 1.5}, r"depolarizing is a probability and must lie in \[0, 1\]; got 1.5"),
        ({"readout": -0.1}, "readout is a probability"),
        ({"depolarizing": float("nan")}, "got nan"),
        ({"t1": -1.0, "gate_time": 1e-8}, "t1 is a time in seconds"),
        ({"readout": 0.1, "p10": 0.1}, "either the one or the other"),
        ({"device": "tornio"}, "nearest: torino"),
        ({"device": "torino", "depolarizing": 0.1}, "brings its own noise of gates; got depolarizing"),
        ({"t1": 1e-4}, "relaxation needs t1 or t2, and gate_time or gate_time2"),
        ({"gate_time": 1e-8}, "got only gate_time"),
        ({"t1": 1e-4, "t2": 3e-4, "gate_time": 1e-8}, "t2 must be at most"),
        ({"readot": 0.1}, "nearest: readout"),
        ({"readout": "high"}, "readout must be a number such as 0.01; got 'high'"),
    ],
)
def test_refusals(settings: dict[str, str | float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NoiseModel.from_settings(settings)
