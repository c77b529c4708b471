"""qaa-noise: a QAA adapter trained on exact circuits, measured with shots and noise: QAA's first open question."""

import math
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, model_validator
from scipy.stats import t
from torch import Tensor

from qpeft.data import Row, encode_texts, load_texts
from qpeft.metrics.perplexity import evaluating, measure_perplexity
from qpeft.quantum import ExactBackend, Shots, open_backend
from qpeft.records import DataSpec, EvalSpec, MethodSpec, ModelSpec, RunSpec, StudyRow, TrainSpec
from qpeft.records.spec import Strict
from qpeft.training.models import Base
from qpeft.training.reload import open_run
from qpeft.training.run import train_run
from qpeft.training.studies.choices import one_of
from qpeft.training.studies.noise_distance import DeviceName, ShotsText
from qpeft.training.studies.study import Found, Study, Tick
from qpeft.tuners import QAADelta
from qpeft.tuners.qaa.layer import MIXED
from qpeft.tuners.qaa.place import run_modules_on

EXACT, OFF = "exact", "adapter off"
Probability = Annotated[float, Field(gt=0, le=1)]


class Settings(Strict):
    """The training, and where the trained circuits are measured."""

    model: str = Field("embedded", description="'embedded', a local folder, or a hub name")
    data: DataSpec = Field(DataSpec(max_length=96, eval_rows=40), description="eval_rows test rows are measured")
    qaa: dict[str, Any] = Field(default_factory=dict, description="fields of QAA's config")
    steps: int = Field(80, ge=1, description="optimizer steps")
    batch_size: int = Field(8, ge=1, description="rows a step")
    learning_rate: float = Field(0.03, gt=0)
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="of training, and of the shots")
    shots: tuple[ShotsText, ...] = Field(("100", "1000", "10000", "20x"), description="without noise")
    strengths: tuple[Probability, ...] = Field(
        (0.001, 0.003, 0.01, 0.03), description="depolarizing2, after gates on two qubits; after one on one, a tenth"
    )
    devices: tuple[DeviceName, ...] = Field(("torino", "fez"), description="noise without shots")
    sampled_devices: tuple[DeviceName, ...] = Field(("torino",), description="noise and shots")
    device_shots: ShotsText = Field("20x", description="on the sampled devices")
    rows_noisy_shots: int = Field(4, ge=1, description="test rows there: each token takes a density matrix")
    eval_batch_size: int = Field(8, ge=1, description="rows a forward pass; one with noise and shots")
    z_tokens: int = Field(64, ge=1, description="tokens of the first test row on which readings z are compared")

    @model_validator(mode="after")
    def circuits(self) -> "Settings":
        """A twin without a circuit has nothing to run elsewhere."""
        one_of(MIXED)(str(self.qaa.get("source", "circuit")))
        return self


@dataclass(frozen=True)
class Place:
    """Where the circuits run.

    Attributes:
        kind: ``exact``, ``off``, ``shots``, ``strength``, ``device`` or ``device and shots``.
        backend: Words of `open_backend`; for ``off`` there is no backend.
        shots: Words of `Shots.parse`, where there are any.
        strength: Depolarizing probability after gates on two qubits, where it is the noise.
        few: Whether only `rows_noisy_shots` rows are measured, one at a time.
    """

    kind: str
    backend: str
    shots: str | None = None
    strength: float | None = None
    few: bool = False

    @property
    def point(self) -> StudyRow:
        """As the first cells of a row."""
        return {"kind": self.kind, "backend": self.backend, "strength": self.strength}


@dataclass(frozen=True)
class Trained:
    """A trained adapter with its test rows, and the inputs its circuits had on the first of them."""

    settings: Settings
    seed: int
    base: Base
    model: Any
    rows: list[Row]
    hidden: list[tuple[QAADelta, Tensor]]

    @property
    def n_qubits(self) -> int:
        """Of the largest circuit."""
        return max(module.read.circuit.n_qubits for module, _ in self.hidden)


def places(settings: Settings) -> list[Place]:
    """Everywhere, each few rows with references of their own."""
    depolarizing = [
        Place("strength", f"noisy:depolarizing={s / 10:g},depolarizing2={s:g}", strength=s) for s in settings.strengths
    ]
    shots = settings.device_shots
    few = [
        Place("device and shots", f"noisy:device={name},shots={shots}", shots, few=True)
        for name in settings.sampled_devices
    ]
    return [
        Place("exact", EXACT),
        Place("off", OFF),
        *(Place("shots", f"sampled:shots={number}", number) for number in settings.shots),
        *depolarizing,
        *(Place("device", f"noisy:device={name}") for name in settings.devices),
        *([Place("exact", EXACT, few=True), Place("off", OFF, few=True), *few] if few else []),
    ]


def points(settings: Settings) -> list[StudyRow]:
    """Every seed everywhere."""
    return [{"seed": seed, **place.point} for seed in settings.seeds for place in places(settings)]


def measure(settings: Settings, tick: Tick) -> Found:
    """Train each seed's adapter, and measure it everywhere."""
    found, everywhere = Found(), places(settings)
    for place in everywhere:
        if place.kind != "off":
            open_backend(place.backend)  # what cannot be opened is refused before anything is trained
    by_seed: list[list[StudyRow]] = []
    for seed in settings.seeds:
        begun = len(by_seed) * len(everywhere)
        tick(begun, f"train seed {seed}")
        with tempfile.TemporaryDirectory() as folder:
            trained = train(settings, seed, Path(folder))
        found.model = trained.base.info
        by_seed.append(measured(trained, everywhere, partial(ahead, tick, begun)))
    found.rows = [row for rows in by_seed for row in rows]
    by_place = list(zip(everywhere, zip(*by_seed, strict=True), strict=True))
    off = {place.few: rows for place, rows in by_place if place.kind == "off"}
    found.fits = [over_seeds(place, rows, off[place.few]) for place, rows in by_place]
    found.notes = [
        f"each seed trains {settings.steps} steps on exact circuits; test rows of at most {settings.data.max_length} "
        "tokens a window; difference: nats a token more than with exact circuits on the same rows, one draw of all "
        "shots a seed",
        f"z: readings of all modules for the first {settings.z_tokens} tokens of the first test row, from the same "
        "hidden states everywhere, so that errors of modules below do not count",
        "circuits: one for each token, padding included, and module; exact circuits are not counted",
        "noise and shots take a density matrix for each token and are measured on few rows, with references of their "
        "own; hidden states are prepared without noise: a device would have to prepare them by gates of its own",
        "low and high: 95 % t interval over seeds; of_gain: the difference over that of the adapter switched off",
    ]
    return found


def ahead(tick: Tick, begun: int, done: int, name: str) -> None:
    """A tick of one seed, after those of the seeds before it."""
    tick(begun + done, name)


def train(settings: Settings, seed: int, folder: Path) -> Trained:
    """One run through `train_run`, loaded again as any user would."""
    spec = RunSpec(
        method=MethodSpec(name="qaa", options=settings.qaa),
        label="qaa",
        seed=seed,
        model=ModelSpec(name=settings.model),
        data=settings.data,
        train=TrainSpec(steps=settings.steps, batch_size=settings.batch_size, learning_rate=settings.learning_rate),
        eval=EvalSpec(padded=False),
    )
    train_run(spec, folder)
    _, base, model = open_run(folder)
    rows = encode_texts(load_texts(spec.data, base.tokenizer), base.tokenizer, spec.data).test
    length = min(settings.z_tokens, settings.data.max_length)
    return Trained(settings, seed, base, model, rows, hidden_states(model, rows[0].ids[:length]))


def hidden_states(model: Any, ids: Sequence[int]) -> list[tuple[QAADelta, Tensor]]:
    """Every QAA module with what enters its circuit, float32, shape ``(1, T, d)``."""
    seen: list[tuple[QAADelta, Tensor]] = []

    def keep(module: Any, inputs: tuple[Any, ...]) -> None:
        seen.append((module, inputs[0].detach().float()))

    handles = [m.register_forward_pre_hook(keep) for m in model.modules() if isinstance(m, QAADelta)]
    try:
        with evaluating(model):
            model(input_ids=torch.tensor([list(ids)], device=next(model.parameters()).device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def measured(trained: Trained, everywhere: list[Place], tick: Tick) -> list[StudyRow]:
    """The rows of one seed; exact circuits come before what is compared with them."""
    found: list[StudyRow] = []
    exact_loss: dict[bool, float] = {}
    exact_z = readings(trained)
    for done, place in enumerate(everywhere):
        tick(done, f"seed {trained.seed}: {place.backend}")
        cells, loss, z = measured_at(trained, place)
        exact_loss.setdefault(place.few, loss)
        rms = {
            name: float(values.square().mean().sqrt())
            for name, values in (("z_rms", z), ("z_difference", z - exact_z))
        }
        found.append(
            {
                **{"seed": trained.seed, **place.point, **cells},
                "difference": finite(loss - exact_loss[place.few]),
                **(dict.fromkeys(rms) if place.kind == "off" else rms),
            }
        )
    return found


def measured_at(trained: Trained, place: Place) -> tuple[StudyRow, float, Tensor]:
    """Cells of a row, the loss in nats a token, and the readings; the circuits are exact again afterwards."""
    settings, model, tokenizer = trained.settings, trained.model, trained.base.tokenizer
    rows = trained.rows[: settings.rows_noisy_shots] if place.few else trained.rows
    moved = place.kind not in ("exact", "off")
    meter = run_modules_on(model, open_backend(place.backend) if moved else ExactBackend(), trained.seed)
    with model.disable_adapter() if place.kind == "off" else nullcontext():
        result = measure_perplexity(
            model,
            rows,
            pad_id=tokenizer.pad_token_id,
            eos_id=tokenizer.eos_token_id,
            max_length=settings.data.max_length,
            batch_size=1 if place.few else settings.eval_batch_size,
            padded=False,
        )
    cells: StudyRow = {
        "rows": len(rows),
        "tokens": result.tokens,
        "shots": Shots.parse(place.shots).of(trained.n_qubits) if place.shots else None,
        "perplexity": finite(result.masked),
        "circuits": meter.circuits if moved else None,
        "shots_spent": meter.shots_spent if moved else None,
    }
    z = readings(trained)
    run_modules_on(model, ExactBackend())
    return cells, result.nll / result.tokens, z


@torch.no_grad()
def readings(trained: Trained) -> Tensor:
    """Every module's z on its hidden states, from where the circuits run now, as one vector."""
    return torch.cat([module.features(x).double().flatten() for module, x in trained.hidden])


def finite(value: float) -> float | None:
    """The number, or None for one a record cannot hold."""
    return value if math.isfinite(value) else None


def over_seeds(place: Place, rows: Sequence[StudyRow], off: Sequence[StudyRow]) -> StudyRow:
    """Means over the seeds at one place, those of losses with t intervals; the perplexity is the geometric mean."""
    losses = [math.log(float(row["perplexity"] or math.nan)) for row in rows]
    mean, low, high = interval(numbers(rows, "difference"))
    gain, distances = interval(numbers(off, "difference"))[0], numbers(rows, "z_difference")
    return {
        **place.point,
        **{"shots": rows[0]["shots"], "rows": rows[0]["rows"], "seeds": len(rows)},
        "perplexity": finite(float(np.exp(np.mean(losses)))),
        **{"difference": mean, "low": low, "high": high},
        "of_gain": mean / gain if mean is not None and gain else None,
        "z_difference": interval(distances)[0] if place.kind != "off" else None,
    }


def numbers(rows: Sequence[StudyRow], column: str) -> list[float]:
    """One column, nan where a number is missing."""
    return [math.nan if row[column] is None else float(row[column] or 0) for row in rows]


def interval(values: list[float]) -> tuple[float | None, float | None, float | None]:
    """The mean with its 95 % t interval, which a single number does not have.

    >>> [round(end or 0, 3) for end in interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    mean, count = float(np.mean(values)), len(values)
    if count == 1 or not math.isfinite(mean):
        return finite(mean), None, None
    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return mean, mean - half, mean + half


STUDY = Study(Settings, points, measure)
