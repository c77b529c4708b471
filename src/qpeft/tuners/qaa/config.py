"""QAAConfig: where the circuits go, what they are, and what is left open by the paper, as named fields."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from qpeft.circuits import ENTANGLERS, check_ansatz, own_entangler
from qpeft.circuits.own import is_own, written
from qpeft.errors import ConfigError, require_choice
from qpeft.quantum.amplitudes import READOUTS
from qpeft.tuners._residual import INSERTIONS, Choice, ResidualConfig, check_fields
from qpeft.tuners._sites import PLACEMENTS

# What the paper's count of trainable numbers needs, what its text says, what we recommended until version 0.1, what we
# recommend now. A saved config names its preset and so does a record (a spec without one means ``recommended``): no
# preset ever changes its meaning, and a better one gets a name of its own.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "placement": "attention",
        "width": "padded",
        "ansatz": "rx_cnot",
        "depth": 1,
        "scale": 1.0,
    },
    "text": {
        "placement": "both",
        "width": "model",
        "ansatz": "rx_cnot",
        "depth": 1,
        "scale": 1.0,
    },
    "recommended": {
        "placement": "both",
        "width": "model",
        "ansatz": "ry_cnot",
        "depth": 2,
        "scale": None,
    },
    "measured": {
        "placement": "both",
        "width": "model",
        "ansatz": "ry_cnot",
        "depth": 2,
        "first_step": 0.01,
    },
}
DEFAULT = "measured"
SOURCES = ("circuit", "frozen", "no_entangler", "mlp", "quadratic", "linear")
WIDTHS = ("model", "padded")


def _check_entangler(key: str, word: str) -> None:
    """Patterns are asked for when they are needed: a plug-in may have added one."""
    if word != str(None):
        require_choice(key, word, ENTANGLERS)


CHOICES: dict[str, Choice] = {
    "preset": PRESETS,
    "placement": PLACEMENTS,
    "insertion": INSERTIONS,
    "ansatz": check_ansatz,
    "entangler": _check_entangler,
    "readout": READOUTS,
    "width": WIDTHS,
    "source": SOURCES,
}
COUNT = ("a whole number of at least 1", lambda value: type(value) is int and value >= 1)
SWITCH = ("true or false", lambda value: isinstance(value, bool))
CHECKS: dict[str, tuple[str, Any]] = {
    "depth": COUNT,
    "up_bias": SWITCH,
    "init_weights": SWITCH,
    "scale": (
        "a number above 0, or None for sqrt(2^n)",
        lambda value: value is None or (type(value) in (int, float) and 0 < value < math.inf),
    ),
    "first_step": (
        "a number above 0, or None for a fixed scale",
        lambda value: value is None or (type(value) in (int, float) and 0 < value < math.inf),
    ),
    "wires": (
        "None or a list of different whole numbers of at least 0",
        lambda value: (
            value is None
            or (
                isinstance(value, (list, tuple))
                and all(type(wire) is int and wire >= 0 for wire in value)
                and len(value) == len(set(value)) > 0
            )
        ),
    ),
}


@dataclass
class QAAConfig(ResidualConfig):
    """Quantum-amplitude embedded adaptation (arXiv:2509.16244) as a peft config.

    A hidden state h becomes ``h + scale * W^T z`` with z the readout of a circuit that h was embedded in:
    ceil(log2 d) qubits, rotations, entangling gates, Pauli-Z. W starts at zero, the angles in U(-pi, pi).
    A field left at None takes the value of the preset. With ``first_step`` (preset ``measured``) the scale of each
    module follows from the first batch that passes in training and is saved with the adapter.

    >>> QAAConfig(preset="paper").width
    'padded'

    Args:
        preset: ``measured`` (ours: updates in proportion to the hidden states), ``recommended`` (ours until version
            0.1: the same circuits with scale sqrt(2^n), too much for deep models), ``paper`` (the 123,000 numbers of
            its Table 3: after attention only, W as wide as the padded register) or ``text`` (after attention and
            feed-forward, W as wide as the model).
        placement: ``attention``, ``feed_forward``, ``both`` or ``head`` (before the output head), by model family;
            ignored where ``target_modules`` names modules.
        insertion: ``after`` a module (the paper), ``parallel`` to it, or ``before`` it.
        ansatz: Circuit family: ``rx_cnot`` (the paper), ``ry_cnot``, ``rxrz_cnot``, ``ryrz_cnot``, or another name of
            `qpeft.circuits.ANSATZE`, with options: ``two_local:rotations=ry+rz,gate=crz``; a Circuit or OpenQASM 3
            text of ceil(log2 d) qubits, a list of them where modules differ in width, or a function of the number of
            qubits and the depth. Files hold circuits as text.
        entangler: ``chain`` (the paper), ``ring``, ``all_to_all``, ... (`qpeft.circuits.ENTANGLERS`) or ``none``; None
            is the ansatz's own.
        depth: Circuit layers L (1 in the paper); once for a circuit of one's own, which more layers repeat.
        readout: ``pauli_z`` (the paper), one value a wire, or ``probabilities`` of the wires' outcomes.
        wires: Measured qubits; None is all. 2^k numbers are read from k wires as probabilities.
        width: Rows of W^T: ``model`` (d), or ``padded`` (2^n, the surplus is cut off and never trained).
        scale: Fixed factor on z; None without ``first_step`` is sqrt(2^n), since z over random states varies by about
            1/sqrt(2^n) only.
        first_step: Measure the scale instead: the relative change of the hidden states, all modules together, that
            Adam's first step is to make at a learning rate of 0.001 (``sizing.py`` has the derivation).
        up_bias: Add a trained vector to the update; with ``first_step`` it is scaled, too.
        source: What reads z from h: the trained ``circuit``, or one of its twins: ``frozen`` angles, ``no_entangler``,
            ``mlp`` (a fixed random projection, tanh, as many trained slopes as the circuit has readings),
            ``quadratic`` (fixed random quadratic features of the normalised state), ``linear`` (a trained d x k
            projection, which has far more numbers).
        target_modules: See ``ResidualConfig``.

    Raises:
        ConfigError: A value is out of its range; all faults are named.
    """

    METHOD: ClassVar[str] = "qaa"

    preset: str = DEFAULT
    placement: str | None = None
    insertion: str = "after"
    ansatz: Any = None
    entangler: str | None = None
    depth: int | None = None
    readout: str = "pauli_z"
    wires: list[int] | None = None
    width: str | None = None
    scale: float | None = None
    first_step: float | None = None
    up_bias: bool = False
    source: str = "circuit"

    def __post_init__(self) -> None:
        """Fill in the preset and check every field at the door."""
        super().__post_init__()
        if self.scale is not None and self.first_step is not None:
            raise ConfigError(
                f"qaa.scale is fixed and qaa.first_step measures it; give one of them, got {self.scale!r} and "
                f"{self.first_step!r}"
            )
        self.ansatz = written(self.ansatz)
        if self.depth is None and is_own(self.ansatz):
            self.depth = 1
        sized = {"scale", "first_step"} if self.scale is not None or self.first_step is not None else set()
        # An unknown preset is named below, among the other faults.
        for key, value in PRESETS[self.preset if self.preset in list(PRESETS) else DEFAULT].items():
            if getattr(self, key) is None and key not in sized:
                setattr(self, key, value)
        # A circuit is no word: it is looked at as it is.
        check_fields(self, CHECKS, {**CHOICES, "ansatz": lambda key, _: check_ansatz(key, self.ansatz)})
        if self.entangler is None and not callable(self.ansatz) and (own := own_entangler(self.ansatz)) in ENTANGLERS:
            self.entangler = own

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """As peft does; a function is first to become the circuits it gives, which happens in a model.

        Raises:
            ConfigError: The ansatz is still a function.
        """
        if callable(self.ansatz):
            raise ConfigError(
                "qaa.ansatz is a function, which no file can hold; give the config to get_peft_model and save the "
                "model's own: model.peft_config['default'].save_pretrained(...)"
            )
        super().save_pretrained(save_directory, **kwargs)
