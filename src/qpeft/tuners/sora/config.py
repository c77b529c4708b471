"""SoraConfig: rank, gates, and the proximal step that makes gates zero."""

from dataclasses import dataclass
from math import expm1, log1p
from typing import Any, ClassVar

from qpeft.errors import require_choice
from qpeft.tuners._residual import ResidualConfig, check_fields

GATE_INITS = ("normal", "ones")
PROX_SCALES = ("none", "lr", "precond")
PROX_MODES = ("soft", "released")
SCHEDULES = ("linear", "log", "exp", "list")
UNITS = ("epoch", "step")


def number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


COUNT = ("a whole number of at least 1", lambda value: type(value) is int and value >= 1)
CHECKS: dict[str, tuple[str, Any]] = {
    "r": COUNT,
    "schedule_every": COUNT,
    "lora_alpha": ("a number above 0", lambda value: number(value) and value > 0),
    "lora_dropout": ("a number of at least 0 and below 1", lambda value: number(value) and 0 <= value < 1),
    "prox_lambda": ("a number of at least 0", lambda value: number(value) and value >= 0),
    "init_weights": ("true or false", lambda value: isinstance(value, bool)),
}
LIST_CHECKS: dict[str, tuple[str, Any]] = {
    "schedule_values": (
        "a list of at least one number of at least 0 with schedule 'list'",
        lambda values: (
            isinstance(values, (list, tuple)) and len(values) > 0 and all(number(v) and v >= 0 for v in values)
        ),
    ),
}
RANGE_CHECKS: dict[str, tuple[str, Any]] = {
    "schedule_max": (
        "the last value of the schedule, a number of at least 0",
        lambda value: number(value) and value >= 0,
    ),
    "schedule_count": ("a whole number of at least 2", lambda value: type(value) is int and value >= 2),
}


@dataclass
class SoraConfig(ResidualConfig):
    """Sparse low-rank adaptation (arXiv:2311.11696) as a peft config.

    A linear layer W becomes ``W x + (alpha / r) * B (g * (A x))``: LoRA with a gate g_i a rank. After each step of the
    optimizer the gates pass a threshold, so that some become exactly zero; ``prune`` then takes their ranks out. The
    threshold is no part of the forward pass: attach ``ProximalGates`` to the optimizer, or give the Trainer a
    ``SoraCallback``; without either nothing becomes zero.

    >>> SoraConfig(schedule="linear", prox_lambda=0.0, schedule_max=1e-3, schedule_count=3).penalties()
    [0.0, 0.0005, 0.001]

    Args:
        r: Rank before pruning, r_max of the paper, at least 1.
        lora_alpha: The update is scaled by ``lora_alpha / r``, before and after pruning; above 0.
        lora_dropout: Dropout on the input of the update, in [0, 1).
        gate_init: ``normal`` (N(0, 1), the paper) or ``ones`` (starts as LoRA).
        prox_lambda: xi, at least 0; see ``qpeft.tuners.sora.prox`` for what it is compared with.
        prox_scale: The threshold on a gate after one step: ``none``, xi itself (the released code); ``lr``, xi times
            the learning rate (the paper's equation, which solves a lasso with SGD); ``precond``, xi times the learning
            rate over the denominator of Adam, which asks for an optimizer of Adam's kind.
        prox_mode: ``soft``, the threshold of the paper; ``released``, that of the released code: gates below twice the
            threshold become zero, the others lose it, and one exactly at the threshold is left alone.
        schedule: None keeps prox_lambda; ``linear``, ``log`` (the logarithm of equal steps in exp(xi)) and ``exp``
            (equal factors, from a prox_lambda above 0) lead from prox_lambda to ``schedule_max``; ``list`` takes
            ``schedule_values``. The last value stays.
        schedule_max: Last value of xi, at least 0.
        schedule_count: Number of values, both ends included, at least 2.
        schedule_values: The values of ``list``, each at least 0.
        schedule_unit: A value of the schedule lasts ``schedule_every`` times one ``epoch`` or one optimizer ``step``.
        schedule_every: At least 1.
        target_modules: See ``ResidualConfig``; linear layers only, ``all-linear`` is all of them but the head, None
            the ones peft gives LoRA in the model's family.

    Raises:
        ConfigError: A value is out of its range; all faults are named.
    """

    METHOD: ClassVar[str] = "sora"
    insertion: ClassVar[str] = "parallel"

    r: int = 8
    lora_alpha: float = 16
    lora_dropout: float = 0.0
    gate_init: str = "normal"
    prox_lambda: float = 3e-4
    prox_scale: str = "none"
    prox_mode: str = "soft"
    schedule: str | None = None
    schedule_max: float | None = None
    schedule_count: int | None = None
    schedule_values: list[float] | None = None
    schedule_unit: str = "epoch"
    schedule_every: int = 1

    def __post_init__(self) -> None:
        """Check every field at the door."""
        super().__post_init__()
        for key, allowed in {
            "gate_init": GATE_INITS,
            "prox_scale": PROX_SCALES,
            "prox_mode": PROX_MODES,
            "schedule_unit": UNITS,
        }.items():
            require_choice(f"sora.{key}", getattr(self, key), allowed)
        if self.schedule is not None:
            require_choice("sora.schedule", self.schedule, SCHEDULES)
        check_fields(self, {**CHECKS, **self._schedule_checks()})

    def _schedule_checks(self) -> dict[str, tuple[str, Any]]:
        """What the kind of schedule asks for; a field it does not read must be left out."""
        read = {None: {}, "list": LIST_CHECKS}.get(self.schedule, RANGE_CHECKS)
        unread = {
            key: (f"left out, since schedule {self.schedule!r} does not read it", lambda value: value is None)
            for key in (*LIST_CHECKS, *RANGE_CHECKS)
            if key not in read
        }
        positive = ("a number above 0 with schedule 'exp'", lambda value: number(value) and value > 0)
        ends = dict.fromkeys(("prox_lambda", "schedule_max"), positive) if self.schedule == "exp" else {}
        return {**read, **unread, **ends}

    def penalties(self) -> list[float]:
        """The values of xi in the order in which they are used."""
        if self.schedule is None:
            return [self.prox_lambda]
        if self.schedule == "list":
            return list(self.schedule_values or ())
        first, last, count = self.prox_lambda, float(self.schedule_max or 0.0), int(self.schedule_count or 2)
        parts = [k / (count - 1) for k in range(count)]
        if self.schedule == "linear":
            return [first + (last - first) * part for part in parts]
        if self.schedule == "log":
            # log(e^first + part (e^last - e^first)), without the loss of digits at small values.
            return [first + log1p(expm1(last - first) * part) for part in parts]
        return [first * (last / first) ** part for part in parts]
