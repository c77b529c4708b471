"""SoraConfig: schedules against the released formulas, files, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest

from qpeft.errors import ConfigError
from qpeft.tuners.sora import SoraConfig

RANGE = {"prox_lambda": 3e-4, "schedule_max": 7e-4, "schedule_count": 7}


def released(kind: str, first: float, last: float, count: int) -> Any:
    """The values of the released optimizer's schedules, as its formulas say."""
    return {
        "linear": lambda: np.linspace(first, last, count),
        "log": lambda: np.log(np.linspace(np.exp(first), np.exp(last), count)),
        "exp": lambda: np.exp(np.linspace(np.log(first), np.log(last), count)),
    }[kind]()


@pytest.mark.parametrize("kind", ["linear", "log", "exp"])
@pytest.mark.parametrize(("first", "last", "count"), [(3e-4, 7e-4, 7), (0.5, 3.0, 4), (2.0, 0.1, 2)])
def test_schedules_are_the_released_ones(kind: str, first: float, last: float, count: int) -> None:
    config = SoraConfig(schedule=kind, prox_lambda=first, schedule_max=last, schedule_count=count)
    np.testing.assert_allclose(config.penalties(), released(kind, first, last, count), rtol=1e-12)
    assert len(set(config.penalties())) == count


def test_schedules_differ_between_their_ends() -> None:
    ends = {"prox_lambda": 0.5, "schedule_max": 3.0, "schedule_count": 3}
    middle = {kind: SoraConfig(schedule=kind, **ends).penalties()[1] for kind in ("linear", "log", "exp")}
    assert middle["exp"] < middle["linear"] < middle["log"]


def test_list_and_no_schedule() -> None:
    assert SoraConfig(schedule="list", schedule_values=[0.1, 0.0, 0.2]).penalties() == [0.1, 0.0, 0.2]
    assert SoraConfig(prox_lambda=0.7).penalties() == [0.7]


def test_file_keeps_every_field(tmp_path: Path) -> None:
    config = SoraConfig(r=3, schedule="list", schedule_values=[0.1, 0.2], prox_scale="precond", prox_mode="released")
    config.save_pretrained(str(tmp_path))
    loaded = peft.PeftConfig.from_pretrained(str(tmp_path))
    assert isinstance(loaded, SoraConfig)
    assert loaded.to_dict() == config.to_dict()
    assert "import qpeft" in (tmp_path / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, "sora.r must be a whole number of at least 1; got 0"),
        ({"r": True}, "sora.r must be"),
        ({"lora_alpha": 0}, "sora.lora_alpha must be a number above 0; got 0"),
        ({"lora_dropout": 1.0}, "sora.lora_dropout must be a number of at least 0 and below 1; got 1.0"),
        ({"prox_lambda": -1e-4}, "sora.prox_lambda must be a number of at least 0; got -0.0001"),
        ({"prox_lambda": float("nan")}, "sora.prox_lambda must be"),
        ({"gate_init": "one"}, "sora.gate_init must be one of normal, ones; got 'one'; nearest: ones"),
        ({"prox_scale": "adam"}, "sora.prox_scale must be one of none, lr, precond; got 'adam'"),
        ({"prox_mode": "sofd"}, "sora.prox_mode must be one of soft, released; got 'sofd'; nearest: soft"),
        ({"schedule": "cosine"}, "sora.schedule must be one of linear, log, exp, list; got 'cosine'"),
        ({"schedule_unit": "batch"}, "sora.schedule_unit must be one of epoch, step"),
        ({"schedule_every": 0}, "sora.schedule_every must be a whole number of at least 1"),
        ({"schedule": "linear"}, "sora.schedule_max must be the last value of the schedule"),
        ({"schedule": "linear", **RANGE, "schedule_count": 1}, "sora.schedule_count must be a whole number of at lea"),
        ({"schedule": "exp", **RANGE, "prox_lambda": 0.0}, "sora.prox_lambda must be a number above 0 with schedule"),
        ({"schedule": "exp", **RANGE, "schedule_max": 0.0}, "sora.schedule_max must be a number above 0 with schedul"),
        ({"schedule": "list"}, "sora.schedule_values must be a list of at least one number"),
        ({"schedule": "list", "schedule_values": [-1.0]}, "sora.schedule_values must be a list"),
        ({"schedule_max": 1.0}, "sora.schedule_max must be left out, since schedule None does not read it; got 1.0"),
    ],
)
def test_refused_at_the_door(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        SoraConfig(**options)
    assert message in str(error.value)


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        SoraConfig(r=0, lora_alpha=-1, schedule="linear")
    assert len(str(error.value).splitlines()) == 4
