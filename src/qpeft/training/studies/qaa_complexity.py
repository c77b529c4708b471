"""qaa-complexity: how QAA's time grows with the hidden size beside a linear layer's (Table 1 of arXiv:2509.16244)."""

from collections.abc import Callable
from itertools import product
from math import log, log2
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from qpeft.circuits import circuit_cost, qubits_for_dimension
from qpeft.records import StudyRow
from qpeft.records.spec import Strict
from qpeft.training.models import device
from qpeft.training.studies.spread import fit_slope
from qpeft.training.studies.study import Found, Study, Tick
from qpeft.training.studies.timing import CLOCK_HELP, CLOCKS, Clock, ClockName, Parts, milliseconds, take_turns
from qpeft.tuners import QAAConfig, QAADelta

# What is said about each: the cost of one token, as a function of d.
THEORY: dict[str, tuple[str, Callable[[float], float]]] = {
    "linear": ("O(d^2)", lambda d: d * d),
    "lora": ("O(d r)", lambda d: d),
    "qaa paper": ("O(d log d)", lambda d: d * log2(d)),
    "qaa recommended": ("O(d log d)", lambda d: d * log2(d)),
}
PHASES = ("forward", "both")


class Settings(Strict):
    """Sizes, tokens and turns."""

    hidden_sizes: tuple[Annotated[int, Field(ge=2, le=65536)], ...] = Field(
        (256, 512, 1024, 2048, 4096, 8192), min_length=1, description="d"
    )
    tokens: int = Field(64, ge=1, description="rows of the input")
    rank: int = Field(4, ge=1, description="of LoRA")
    turns: int = Field(15, ge=1, description="turns of every contestant that count")
    warm_up: int = Field(3, ge=0, description="turns before them")
    fit_from: int = Field(256, ge=2, description="smallest d the exponents are fitted to")
    clock: ClockName = Field("processor", description=CLOCK_HELP)
    seed: int = 0


class LowRank(nn.Module):
    """LoRA's update alone: d to r to d."""

    def __init__(self, d: int, rank: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(d, rank, bias=False), nn.Linear(rank, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (T, d) to (T, d)."""
        update: Tensor = self.up(self.down(x))
        return update


def layer(name: str, d: int, rank: int) -> nn.Module:
    """A contestant of width d."""
    if name == "linear":
        return nn.Linear(d, d, bias=False)
    if name == "lora":
        return LowRank(d, rank)
    # A zero W would pass no gradient to the circuit, and might be skipped.
    return QAADelta(QAAConfig(preset=name.removeprefix("qaa "), init_weights=False), d, d)


def points(settings: Settings) -> list[StudyRow]:
    """Every layer at every width."""
    return [{"d": d, "layer": name} for d, name in product(settings.hidden_sizes, THEORY)]


def measure(settings: Settings, tick: Tick) -> Found:
    """Time the layers of one width side by side, width by width."""
    found = Found()
    for place, d in enumerate(settings.hidden_sizes):
        done = place * len(THEORY)
        tick(done, f"d {d}")
        found.rows += at_width(d, settings)
    found.fits = [
        fit for name, phase in product(THEORY, PHASES) if (fit := exponent(found.rows, name, phase, settings))
    ]
    found.notes = [
        f"{settings.tokens} tokens on {device().type} with {torch.get_num_threads()} threads by the "
        f"{settings.clock} clock, float32; layers take turns in one process",
        "exponent is the slope of log time on log d; theory_exponent is that of the formula over the same d",
        "a simulator carries 2^n >= d amplitudes of each token through blocks of gates; gates and depth are the "
        "circuit's own, without the preparation of the state, which takes about 2^n more two-qubit gates on hardware",
    ]
    return found


def at_width(d: int, settings: Settings) -> list[StudyRow]:
    """The rows of one width."""
    torch.manual_seed(settings.seed)
    layers = {name: layer(name, d, settings.rank).to(device()) for name in THEORY}
    x = torch.randn(settings.tokens, d).to(device())
    times = take_turns(
        {name: passes(module, x, CLOCKS[settings.clock]) for name, module in layers.items()},
        settings.turns,
        settings.warm_up,
    )
    return [row_of(d, name, module, times[name]) for name, module in layers.items()]


def passes(module: nn.Module, x: Tensor, clock: Clock) -> Callable[[], Parts]:
    """Seconds of a forward pass, and of the backward pass to input and weights."""
    leaf = x.clone().requires_grad_()

    def run() -> Parts:
        began = clock(leaf)
        out = module(leaf)
        forward = clock(leaf)
        out.sum().backward()
        backward = clock(leaf)
        leaf.grad = None
        module.zero_grad()
        return forward - began, backward - forward

    return run


def row_of(d: int, name: str, module: nn.Module, times: list[Parts]) -> StudyRow:
    """Times, and what the circuit is, where there is one."""
    row: StudyRow = {
        "d": d,
        "layer": name,
        "trainable": sum(p.numel() for p in module.parameters()),
        **milliseconds("forward", [parts[0] for parts in times]),
        **milliseconds("both", [sum(parts) for parts in times]),
    }
    circuit: dict[str, Any] = dict.fromkeys(("n_qubits", "state_size", "gates", "two_qubit_gates", "depth"))
    if isinstance(module, QAADelta):
        cost = circuit_cost(module.read.circuit)
        circuit = {
            "n_qubits": cost.n_qubits,
            "state_size": 2 ** qubits_for_dimension(d),
            "gates": cost.n_gates,
            "two_qubit_gates": cost.n_two_qubit,
            "depth": cost.depth,
        }
    return {**row, **circuit}


def exponent(rows: list[StudyRow], name: str, phase: str, settings: Settings) -> StudyRow | None:
    """The fitted growth of one layer's time beside the formula's; None where too few widths were measured."""
    kept: list[Any] = [row for row in rows if row["layer"] == name and int(row["d"] or 0) >= settings.fit_from]
    x = [log(row["d"]) for row in kept]
    line = fit_slope(x, [log(row[f"{phase}_ms"]) for row in kept])
    formula, cost = THEORY[name]
    theory = fit_slope(x, [log(cost(row["d"])) for row in kept])
    if line is None or theory is None:
        return None
    return {
        "layer": name,
        "phase": "forward" if phase == "forward" else "forward and backward",
        "exponent": line.slope,
        "exponent_low": line.low,
        "exponent_high": line.high,
        "theory": formula,
        "theory_exponent": theory.slope,
        "points": line.points,
    }


STUDY = Study(Settings, points, measure)
