"""QPAConfig: every point where the paper, the released code and good practice differ, as one named field."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from qpeft.circuits import ENTANGLERS, check_ansatz
from qpeft.circuits.own import drawn_by, is_own, written
from qpeft.errors import ConfigError, nearest, require_choice

PAPER_WIDTHS = (32, 64, 128, 128, 64, 32, 32)
SOURCES = ("circuit", "frozen", "table", "none", "no_entangler", "mlp", "hash")

# The numbers of an adapter are float32.
LARGEST = 3.4e38

# Each row: what the equations of arXiv:2410.09846 say, what the authors' code does, what we recommend.
PRESETS: dict[str, dict[str, Any]] = {
    "equations": {
        "widths": PAPER_WIDTHS,
        "activation": "none",
        "basis": "ordered",
        "post": "raw",
        "center": False,
        "start": "generated",
        "scale": 1.0,
        "block_scale": False,
        "layout": "module",
    },
    "released": {
        "widths": PAPER_WIDTHS,
        "activation": "none",
        "basis": "random",
        "post": "released",
        "center": True,
        "start": "generated",
        "scale": 1.0,
        "block_scale": False,
        "layout": "released",
    },
    "recommended": {
        "widths": (32,),
        "activation": "gelu",
        "basis": "ordered",
        "post": "scaled",
        "center": False,
        "start": "identity",
        "scale": 2.0,
        "block_scale": True,
        "layout": "interleaved",
    },
}
CHOICES: dict[str, Iterable[str]] = {
    "preset": tuple(PRESETS),
    "entangler": ENTANGLERS,
    "source": SOURCES,
    "activation": ("none", "gelu", "relu", "tanh"),
    "basis": ("ordered", "fixed", "random"),
    "post": ("raw", "released", "scaled", "log"),
    "start": ("identity", "generated"),
    "layout": ("module", "released", "interleaved"),
}


def _count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _amount(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _widths(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_count, value))


# What a field must be, in words and as a check.
RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("n_mlp", "depth", "n_generators"), ("a whole number of at least 1", _count)),
    **dict.fromkeys(
        ("angle_learning_rate", "max_grad_norm", "scale"), ("a number of at least 0 and below infinity", _amount)
    ),
    **dict.fromkeys(("center", "block_scale", "whiten"), ("true or false", lambda value: isinstance(value, bool))),
    "widths": ("a list of whole numbers of at least 1", _widths),
    "seed": ("a whole number from 0 to 2^63 - 1", lambda value: type(value) is int and 0 <= value < 2**63),
}


@dataclass(frozen=True)
class QPAConfig:
    """How a circuit and a mapping network generate the m numbers of an adapter (arXiv:2410.09846).

    A field left at None takes the value of the preset.

    >>> QPAConfig(n_mlp=2048, preset="released").resolved().post
    'released'

    Args:
        n_mlp: Numbers generated per basis state (the chunk size, Eqs. 5-7); 1 is Quantum-Train.
        preset: ``recommended`` (ours), ``released`` (the authors' code) or ``equations`` (the text).
        depth: Circuit layers L; None is 8, and once for a circuit of one's own, which more layers repeat.
        ansatz: ``ry_cnot`` (Eq. 1), ``rx_cnot`` (12), ``rxrz_cnot`` (13), ``ryrz_cnot`` (14), or another name of
            `qpeft.circuits.ANSATZE`, with options: ``two_local:rotations=ry+rz,gate=crz``; a Circuit or OpenQASM 3
            text of N qubits; or a function of N and the depth. Circuits are kept as text.
        entangler: ``chain`` (the paper), ``ring``, ``all_to_all``, ... (`qpeft.circuits.ENTANGLERS`); None is the
            ansatz's own.
        source: What feeds the mapping: the trained ``circuit``, or one of its twins: ``frozen`` angles, a free
            ``table`` of 2^N numbers, ``none``, ``no_entangler``, or an ``mlp`` about as large as the circuit; or
            ``hash``, which replaces circuit and mapping: number i is s_i t[h(i)] with a random sign s_i and a random
            place h(i), which follow from the seed, and as many trained t, zero at first, as the other sources train.
        widths: Hidden widths of the mapping network, or None for the preset's.
        activation: Between the mapping's layers; ``none`` makes it affine, as released.
        basis: Bits in order, in one ``fixed`` random order, or in a new ``random`` order at each evaluation.
        post: Probability p to mapping input: ``raw`` p, ``released`` (0.6 tanh(0.1 2^(N-1) p))^0.15 minus its mean,
            ``scaled`` 2^N p - 1, ``log`` ln(2^N p).
        center: Subtract the mean of all generated numbers.
        start: ``identity`` keeps peft's own initial values exactly; ``generated`` overwrites them.
        scale: Factor on every generated number.
        block_scale: Further scale each tensor by its own initial size (or 1/sqrt(fan-in) where it starts at zero).
        layout: Order of the m numbers: peft's ``module`` order, ``released`` (up-projections before
            down-projections), or ``interleaved``: neighbours come from different chunks, so that every n_ch
            consecutive numbers are a combination of their own of the mapping's last hidden units.
        n_generators: Split m over this many independent generators (1 in the paper).
        angle_learning_rate: Factor on the learning rate of the circuit's angles.
        max_grad_norm: Clip the generator's own gradient (the trainer clips the adapter's); 0 is off.
        seed: Seed of angles, mapping weights, basis orders and the hash; 0 to 2^63 - 1.
        whiten: Turn the mapping's last hidden units, over the chunks at the start, into uncorrelated ones of mean
            square 1, by a matrix that stays fixed; a learning rate of about 0.01 suits. ``hash`` has no hidden
            units, and nothing to whiten.

    Raises:
        ConfigError: A value is out of its range.
    """

    n_mlp: int
    preset: str = "recommended"
    depth: int | None = None
    ansatz: Any = "ry_cnot"
    entangler: str | None = None
    source: str = "circuit"
    widths: tuple[int, ...] | None = None
    activation: str | None = None
    basis: str | None = None
    post: str | None = None
    center: bool | None = None
    start: str | None = None
    scale: float | None = None
    block_scale: bool | None = None
    layout: str | None = None
    n_generators: int = 1
    angle_learning_rate: float = 1.0
    max_grad_norm: float = 0.0
    seed: int = field(default=0)
    whiten: bool = False

    def __post_init__(self) -> None:
        """Check every field at the door, so that nothing below has to."""
        for key, allowed in CHOICES.items():
            if getattr(self, key) is not None or getattr(type(self), key) is not None:
                require_choice(f"qpa.{key}", str(getattr(self, key)), allowed)
        object.__setattr__(self, "ansatz", written(self.ansatz))
        check_ansatz("qpa.ansatz", self.ansatz)
        for key, (needed, good) in RANGES.items():
            value = getattr(self, key)
            if not (good(value) or (value is None and key in (*PRESETS[self.preset], "depth"))):
                raise ConfigError(f"qpa.{key} must be {needed}; got {value!r}")
        if self.whiten and self.source != "hash" and not self.resolved_widths():
            raise ConfigError(
                "qpa.whiten acts on the mapping's last hidden units, and widths () has none; give widths, such as "
                "widths: [32], or leave whiten out"
            )
        if self.widths is not None:
            object.__setattr__(self, "widths", tuple(self.widths))

    def resolved_widths(self) -> tuple[int, ...]:
        """Hidden widths, the preset's where they are None."""
        return tuple(PRESETS[self.preset]["widths"] if self.widths is None else self.widths)

    def resolved(self) -> "QPAConfig":
        """The same config with every None replaced by the preset's value."""
        missing = {key: value for key, value in PRESETS[self.preset].items() if getattr(self, key) is None}
        depth = (1 if is_own(self.ansatz) else 8) if self.depth is None else self.depth
        return dataclasses.replace(self, **missing, depth=depth)

    def of_sizes(self, sizes: Iterable[int]) -> "QPAConfig":
        """The same config with a function in ``ansatz`` replaced by its circuits of these sizes, as text."""
        if not callable(self.ansatz):
            return self
        return dataclasses.replace(self, ansatz=drawn_by(self.ansatz, sizes, int(self.depth or 8)), depth=1)

    @classmethod
    def from_dict(cls, options: dict[str, Any]) -> "QPAConfig":
        """Build from plain data, refusing unknown keys.

        Raises:
            ConfigError: A key is not a field, or n_mlp is missing.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for key in options:
            if key not in names:
                raise ConfigError(f"qpa.{key} is not a field of QPAConfig{nearest(key, names)}")
        if "n_mlp" not in options:
            raise ConfigError("qpa.n_mlp is required: numbers generated per basis state, for example n_mlp: 512")
        return cls(**options)
