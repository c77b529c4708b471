"""step-time: an optimizer step of QPA over LoRA beside LoRA's own, as Tables 8 and 9 of arXiv:2410.09846 time them."""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from qpeft.qpa import QPAOptimizer
from qpeft.records import MethodSpec, StudyRow, TrainSpec
from qpeft.records.spec import Strict
from qpeft.training.methods import build_method, qpa_config
from qpeft.training.models import device
from qpeft.training.studies.architecture import build_architecture
from qpeft.training.studies.choices import PresetName
from qpeft.training.studies.study import Found, Study, Tick
from qpeft.training.studies.timing import (
    CLOCK_HELP,
    CLOCKS,
    ClockName,
    Parts,
    milliseconds,
    ratios,
    take_turns,
    timed_step,
)

LORA = "LoRA"


class Published(Strict):
    """What the paper's table says about one generator."""

    lora_seconds: float = Field(gt=0, description="LoRA's run of this rank")
    seconds: dict[int, float] = Field(description="QPA's run, by n_mlp")


class Settings(Strict):
    """The model, the batch and the contestants."""

    model: dict[str, Any] = Field(description="model_type and further fields of a transformers config")
    batch_size: int = Field(1, ge=1, description="rows a step")
    tokens: int = Field(32, ge=2, description="tokens a row")
    rank: int = Field(4, ge=1, description="of LoRA on the head")
    n_mlp: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    presets: tuple[PresetName, ...] = Field(("released", "recommended"), min_length=1)
    steps: int = Field(20, ge=1, description="turns of every contestant that count")
    warm_up: int = Field(3, ge=0, description="turns before them")
    clock: ClockName = Field("wall", description=CLOCK_HELP)
    published: Published | None = Field(None, description="for the same ratio from the paper's table")
    seed: int = 0


def points(settings: Settings) -> list[StudyRow]:
    """Every contestant."""
    grid = [(preset, n_mlp) for preset in settings.presets for n_mlp in settings.n_mlp]
    rows: list[StudyRow] = [{"method": LORA, "preset": None, "n_mlp": None}]
    return rows + [{"method": "QPA", "preset": preset, "n_mlp": n_mlp} for preset, n_mlp in grid]


def measure(settings: Settings, tick: Tick) -> Found:
    """One model with one LoRA on its head; every contestant trains that LoRA in its turn, from its own numbers."""
    model, info = lora_model(settings)
    contestants = {name_of(point): Contestant(model, settings, point) for point in points(settings)}
    turns, count = settings.steps + settings.warm_up, len(contestants)
    times = take_turns(
        contestants, settings.steps, settings.warm_up, lambda done: tick(done * count // turns, f"turn {done}")
    )
    found = Found(model=info)
    for point in points(settings):
        found.rows.append(row_of(point, contestants[name_of(point)], times, settings))
    found.notes = [
        f"{settings.steps} turns of {settings.batch_size} x {settings.tokens} tokens on {device().type} with "
        f"{torch.get_num_threads()} threads by the {settings.clock} clock, random weights; contestants take turns in "
        "one process",
        "generator_ms is one forward and backward of circuit and mapping alone; a QPA step holds one of each, AdamW "
        "on the generator's numbers and the writing of the adapter, all inside optimizer_ms",
        "ratios are over LoRA's step of the same turn; the paper's ratio is of whole runs, on V100S and H100 GPUs",
    ]
    return found


def lora_model(settings: Settings) -> tuple[Any, dict[str, Any]]:
    """A model of random weights with LoRA (alpha = 2 r) on its untied head.

    Raises:
        ConfigError: transformers refuses the config.
    """
    torch.manual_seed(settings.seed)
    model = build_architecture(settings.model, device())
    info = {**settings.model, "numbers": sum(p.numel() for p in model.parameters()), "weights": "random"}
    options = {"r": settings.rank, "lora_alpha": 2 * settings.rank, "target_modules": ["lm_head"]}
    built = build_method(model, MethodSpec(name="lora", options=options), settings.seed)
    return built.model.train(), info


def name_of(point: StudyRow) -> str:
    """The key of a contestant."""
    return LORA if point["n_mlp"] is None else f"{point['preset']} {point['n_mlp']}"


class Contestant:
    """One optimizer of the shared adapter, with the adapter's numbers as it left them."""

    def __init__(self, model: Any, settings: Settings, point: StudyRow) -> None:
        """Start from the adapter's initial numbers, and put them back."""
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.model, self.parameters, self.clock = model, [p for _, p in named], CLOCKS[settings.clock]
        size = (settings.batch_size, settings.tokens)
        generator = torch.Generator().manual_seed(settings.seed)
        self.ids = torch.randint(2, model.config.vocab_size, size, generator=generator).to(device())
        start, train = self.copy(), TrainSpec()
        self.optimizer: torch.optim.Optimizer
        if point["n_mlp"] is None:
            self.optimizer = torch.optim.AdamW(self.parameters, lr=train.learning_rate)
        else:
            config = qpa_config({"n_mlp": point["n_mlp"], "preset": point["preset"], "seed": settings.seed})
            self.optimizer = QPAOptimizer(named, config, lr=train.learning_rate)
        self.own = self.copy()
        self.put(start)

    def copy(self) -> list[Tensor]:
        """The adapter's numbers now."""
        return [p.detach().clone() for p in self.parameters]

    def put(self, values: list[Tensor]) -> None:
        """Set the adapter's numbers."""
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)

    def __call__(self) -> Parts:
        """One step; what others did to the adapter is undone before, outside the clock."""
        self.put(self.own)
        step = timed_step(self.model, self.optimizer, self.ids, self.clock)
        self.own = self.copy()
        return step

    def generator_seconds(self, times: int) -> list[float]:
        """Seconds of one forward and backward of the generator alone; empty for LoRA."""
        if not isinstance(self.optimizer, QPAOptimizer):
            return []
        generator, cotangent, taken = self.optimizer.generator, torch.randn_like(self.optimizer.written), []
        for _ in range(times + 1):
            began = self.clock(cotangent)
            torch.autograd.backward(generator(), cotangent)
            taken.append(self.clock(cotangent) - began)
        generator.zero_grad()
        return taken[1:]


def row_of(point: StudyRow, contestant: Contestant, times: dict[str, list[Parts]], settings: Settings) -> StudyRow:
    """Medians, quartiles, ratio and shares of one contestant."""
    optimizer, taken = contestant.optimizer, times[name_of(point)]
    generator = optimizer.generator if isinstance(optimizer, QPAOptimizer) else None
    row: StudyRow = {
        **point,
        "n_qubits": generator.n_qubits if generator else None,
        "trainable": generator.n_trainable if generator else sum(p.numel() for p in contestant.parameters),
        **milliseconds("step", [sum(parts) for parts in taken]),
        **ratios(taken, times[LORA]),
    }
    for name, part in zip(("forward", "backward", "optimizer"), zip(*taken, strict=True), strict=True):
        row |= milliseconds(name, list(part))
    alone = contestant.generator_seconds(settings.steps)
    row |= milliseconds("generator", alone) if alone else dict.fromkeys(EMPTY)
    row["generator_share"] = row["generator_ms"] / row["step_ms"] if alone else None  # type: ignore[operator]
    row["published_ratio"] = published_ratio(point, settings.published)
    return row


EMPTY = ("generator_ms", "generator_ms_q25", "generator_ms_q75")


def published_ratio(point: StudyRow, published: Published | None) -> float | None:
    """The paper's ratio of QPA's run to LoRA's; of the released code only."""
    if published is None or point["preset"] != "released":
        return None
    seconds: Callable[[Any], float | None] = published.seconds.get
    found = seconds(point["n_mlp"])
    return None if found is None else found / published.lora_seconds


STUDY = Study(Settings, points, measure)
