"""QAAConfig: what the presets say, faults at the door, and a file that gives the same config back."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from qpeft.circuits import ANSATZE
from qpeft.errors import ConfigError
from qpeft.tuners import QAAConfig
from qpeft.tuners.qaa.config import PRESETS

MANY: dict[str, Any] = {
    "preset": "paper",
    "target_modules": ["mlp", "self_attn"],
    "exclude_modules": ["q_proj"],
    "layers_to_transform": 1,
    "insertion": "parallel",
    "ansatz": "ryrz_cnot",
    "entangler": "ring",
    "depth": 3,
    "readout": "probabilities",
    "wires": [2, 0],
    "width": "model",
    "scale": 0.5,
    "up_bias": True,
    "source": "frozen",
    "init_weights": False,
}


def test_paper_is_one_layer_of_rx_after_attention_as_wide_as_the_register() -> None:
    paper = QAAConfig(preset="paper")
    assert (paper.placement, paper.width, paper.ansatz, paper.entangler) == ("attention", "padded", "rx_cnot", "chain")
    assert (paper.depth, paper.scale, paper.insertion, paper.readout) == (1, 1.0, "after", "pauli_z")
    assert not paper.up_bias
    text = QAAConfig(preset="text")
    assert (text.placement, text.width) == ("both", "model")


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_said_goes_over_the_preset(preset: str) -> None:
    options = {"placement": "feed_forward", "width": "model", "ansatz": "rxrz_cnot", "depth": 7, "scale": 3}
    config = QAAConfig(preset=preset, **options)
    assert {key: getattr(config, key) for key in options} == options
    assert config.first_step is None, "a fixed scale leaves nothing to measure"
    assert (QAAConfig(preset=preset, first_step=0.1).scale, QAAConfig(preset=preset, first_step=0.1).first_step) == (
        None,
        0.1,
    )
    assert {key: getattr(QAAConfig(preset=preset), key) for key in PRESETS[preset]} == PRESETS[preset]


@pytest.mark.parametrize("options", [{}, {"preset": "paper"}, MANY], ids=["defaults", "paper", "many"])
def test_the_same_after_saving_copying_and_pickling(options: dict[str, Any], tmp_path: Path) -> None:
    config = QAAConfig(**options)
    config.save_pretrained(tmp_path)
    assert QAAConfig.from_pretrained(tmp_path) == config
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "QAA"


def test_a_preset_that_changes_later_does_not_change_a_saved_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = QAAConfig()
    config.save_pretrained(tmp_path)
    monkeypatch.setitem(PRESETS, "measured", {**PRESETS["measured"], "depth": 9, "ansatz": "rx_cnot"})
    assert QAAConfig.from_pretrained(tmp_path) == config


def test_a_config_saved_by_version_0_1_keeps_its_fixed_scale(tmp_path: Path) -> None:
    QAAConfig(preset="recommended").save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    body = json.loads(file.read_text())
    assert body.pop("first_step") is None
    file.write_text(json.dumps(body))
    old = QAAConfig.from_pretrained(tmp_path)
    assert (old.preset, old.scale, old.first_step) == ("recommended", None, None)


def test_a_scale_is_fixed_or_measured() -> None:
    with pytest.raises(ConfigError, match=r"qaa.scale is fixed and qaa.first_step measures it; .* got 2.0 and 0.1"):
        QAAConfig(scale=2.0, first_step=0.1)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        QAAConfig(preset="papr", ansatz="rx_cnto", readout="pauli", width="modle", depth=0, wires=[1, 1], up_bias=1)
    lines = str(caught.value).splitlines()
    assert lines == [
        "qaa.preset must be one of paper, text, recommended, measured; got 'papr'; nearest: paper",
        f"qaa.ansatz must be one of {', '.join(ANSATZE)}; got 'rx_cnto'; nearest: rx_cnot",
        "qaa.readout must be one of pauli_z, probabilities; got 'pauli'; nearest: pauli_z",
        "qaa.width must be one of model, padded; got 'modle'; nearest: model",
        "qaa.depth must be a whole number of at least 1; got 0",
        "qaa.up_bias must be true or false; got 1",
        "qaa.wires must be None or a list of different whole numbers of at least 0; got [1, 1]",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"placement": "attn"}, "qaa.placement must be one of attention, feed_forward, both, head; got 'attn'"),
        ({"insertion": "befor"}, "after, parallel, before; got 'befor'; nearest: before"),
        ({"entangler": "all"}, "qaa.entangler must be one of chain, .*; got 'all'"),
        ({"ansatz": "two_local:gate=crw"}, "qaa.ansatz two_local: gate must be one of .*; nearest: cr"),
        ({"source": "frozn"}, "nearest: frozen"),
        ({"ansatz": 3}, "qaa.ansatz must be one of .*; got '3'"),
        ({"preset": ["paper"]}, "qaa.preset must be one of"),
        ({"depth": 1.0}, "whole number of at least 1; got 1.0"),
        ({"depth": True}, "got True"),
        ({"scale": 0}, "a number above 0, or None for .*; got 0"),
        ({"scale": -1.0}, "got -1.0"),
        ({"scale": "1"}, "got '1'"),
        ({"scale": True}, "got True"),
        ({"scale": float("nan")}, "got nan"),
        ({"scale": float("inf")}, "got inf"),
        ({"first_step": 0}, "qaa.first_step must be a number above 0, or None for a fixed scale; got 0"),
        ({"wires": []}, r"got \[\]"),
        ({"wires": [-1]}, r"got \[-1\]"),
        ({"wires": [[0], [1]]}, r"got \[\[0\], \[1\]\]"),
        ({"wires": 2}, "qaa.wires must be None or a list of different whole numbers of at least 0; got 2"),
        ({"init_weights": 1}, "qaa.init_weights must be true or false"),
        ({"trainable_token_indices": [3]}, "qaa trains no tokens"),
    ],
)
def test_bad_values_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QAAConfig(**options)
