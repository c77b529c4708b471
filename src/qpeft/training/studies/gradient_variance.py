"""gradient-variance: how the angles' gradient varies over random angles, as in Fig. 10 of arXiv:2410.09846."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from qpeft.circuits import Circuit, build_ansatz, qubits_for_chunks
from qpeft.qpa import Generator, Plan, QPAConfig
from qpeft.qpa.plan import block_scales
from qpeft.qpa.sources import CircuitSource
from qpeft.quantum import pauli_z, probabilities
from qpeft.records import StudyRow
from qpeft.records.spec import Strict
from qpeft.training.studies.choices import AnsatzName, PresetName
from qpeft.training.studies.heads import Head, embedded_head, random_head
from qpeft.training.studies.slopes import slopes
from qpeft.training.studies.spread import Floats, mean_variance
from qpeft.training.studies.study import Found, Study, Tick

CONTROLS = ("p_0", "z_0")
MODEL = "model"
# A single draw that holds more of the squares than this makes variance and interval a matter of luck.
HEAVY = 0.2


class Settings(Strict):
    """The head, the generators over it, and how many angles are drawn."""

    head: Literal["embedded", "random"] = Field("embedded", description="the embedded model's, or random numbers")
    hidden_size: int | None = Field(None, ge=1, description="d of a random head")
    vocabulary: int | None = Field(None, ge=2, description="V of a random head")
    tokens: int = Field(64, ge=1, description="of the one fixed batch")
    rank: int = Field(4, ge=1, description="of LoRA on the head; m = rank (d + V) is fixed")
    n_mlp: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, description="chunk sizes, which give N")
    depths: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2, 4, 8, 16, 32, 64), min_length=1)
    presets: tuple[PresetName, ...] = Field(("released", "recommended"), min_length=1)
    ansatz: AnsatzName = "ry_cnot"
    samples: int = Field(100, ge=2, description="S, draws of all angles from U(-pi, pi)")
    resamples: int = Field(1000, ge=100, description="of the bootstrap")
    seed: int = 0

    @model_validator(mode="after")
    def sizes(self) -> "Settings":
        """A random head needs its dimensions, the embedded one has them."""
        given = [size is not None for size in (self.hidden_size, self.vocabulary)]
        if any(given) if self.head == "embedded" else not all(given):
            raise ValueError("hidden_size and vocabulary belong to head: random, and both are needed there")
        return self


def head_of(settings: Settings) -> Head:
    """The fixed part: everything that does not depend on the angles."""
    if settings.head == "embedded":
        return embedded_head(settings.tokens, settings.rank, settings.seed)
    return random_head(
        settings.hidden_size or 0, settings.vocabulary or 0, settings.tokens, settings.rank, settings.seed
    )


def points(settings: Settings) -> list[StudyRow]:
    """Every circuit under every loss; N of the model's rows needs the head's size, and is left to the run."""
    losses = [*((MODEL, preset) for preset in settings.presets), *((control, None) for control in CONTROLS)]
    return [
        {"loss": loss, "preset": preset, "n_mlp": n_mlp, "depth": depth}
        for n_mlp in settings.n_mlp
        for depth in settings.depths
        for loss, preset in losses
    ]


def measure(settings: Settings, tick: Tick) -> Found:
    """Gradients of all draws, point by point, summed up."""
    head = head_of(settings)
    found = Found(model={**head.info, "m": head.m})
    for done, point in enumerate(points(settings)):
        n_mlp, depth = int(point["n_mlp"] or 0), int(point["depth"] or 0)
        n_qubits = qubits_for_chunks(head.m, n_mlp)
        tick(done, f"{point['preset'] or point['loss']}, N {n_qubits}, L {depth}")
        circuit = build_ansatz(settings.ansatz, n_qubits, depth)
        angles = draws(circuit, settings)
        if point["loss"] == MODEL:
            losses, gradients = of_model(head, settings, str(point["preset"]), n_mlp, angles)
        else:
            losses, gradients = of_control(str(point["loss"]), circuit, angles)
        found.rows += summaries({**point, "n_qubits": n_qubits}, settings, losses, gradients, circuit)
    found.fits = slopes(found.rows)
    found.notes = list(notes(settings, found.rows))
    return found


def draws(circuit: Circuit, settings: Settings) -> Tensor:
    """Angles from U(-pi, pi), shape (S, P), float64; equal for every loss."""
    generator = torch.Generator().manual_seed(settings.seed + 1000 * circuit.n_qubits + len(circuit))
    shape = (settings.samples, circuit.n_parameters)
    return (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1) * torch.pi


def of_control(loss: str, circuit: Circuit, angles: Tensor) -> tuple[Floats, Floats]:
    """Losses (S,) and gradients (S, P) of the probability of |0...0>, or of the mean of Z on qubit 0."""
    leaf = angles.clone().requires_grad_()
    p = probabilities(circuit, leaf)
    values = p[:, 0] if loss == "p_0" else pauli_z(p)[:, 0]
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach().numpy(), gradient.numpy()


def of_model(head: Head, settings: Settings, preset: str, n_mlp: int, angles: Tensor) -> tuple[Floats, Floats]:
    """Losses (S,) and gradients (S, P) of the model's loss, through head, mapping and circuit."""
    depth = angles.shape[1] // build_ansatz(settings.ansatz, qubits_for_chunks(head.m, n_mlp), 1).n_parameters
    config = QPAConfig(n_mlp=n_mlp, preset=preset, depth=depth, ansatz=settings.ansatz, seed=settings.seed)
    write = GeneratedAdapter(head, config)
    losses, gradients = [], []
    for draw in angles:
        loss, gradient = write.gradient(draw)
        losses.append(loss)
        gradients.append(gradient.numpy())
    return np.array(losses), np.stack(gradients)


class GeneratedAdapter:
    """The LoRA of a head as QPAOptimizer writes it: ``offset + factors * generator()``, with any angles.

    The mapping and the basis order are those of depth 1 whatever the depth, so that only the circuit differs.
    """

    def __init__(self, head: Head, config: QPAConfig) -> None:
        """Build in float64."""
        self.head, config = head, config.resolved()
        tensors = list(head.tensors.values())
        self.plan = Plan.of([(name, t.shape) for name, t in head.tensors.items()], str(config.layout))
        self.generator = Generator(self.plan.m, config)
        (part,) = self.generator.chunk_generators()
        (flat,) = (shallow := Generator(self.plan.m, dataclasses.replace(config, depth=1))).chunk_generators()
        shallow.redraw()
        part.mapping, part.order = flat.mapping, flat.order
        assert isinstance(part.source, CircuitSource)
        self.angles = part.source.angles
        self.generator.double()
        self.factors = block_scales(
            self.plan, tensors, float(config.scale or 0.0), by_block=bool(config.block_scale)
        ).double()
        self.offset: Tensor | float = 0.0
        if config.start == "identity":
            with torch.no_grad():
                self.offset = self.plan.gather(tensors, self.factors) - self.factors * self.generator()

    def gradient(self, angles: Tensor) -> tuple[float, Tensor]:
        """The loss with these angles, shape (P,), and its gradient by them."""
        with torch.no_grad():
            self.angles.copy_(angles)
        tensors = dict(
            zip(self.head.tensors, self.plan.slices(self.offset + self.factors * self.generator()), strict=True)
        )
        down, up = (next(t for name, t in tensors.items() if part in name) for part in ("lora_A", "lora_B"))
        loss = self.head.loss(down, up)
        return loss.item(), torch.autograd.grad(loss, self.angles)[0]


def summaries(
    point: StudyRow, settings: Settings, losses: Floats, gradients: Floats, circuit: Circuit
) -> list[StudyRow]:
    """Two rows of a point: the angles of the first layer, and all of them."""
    first = circuit.n_parameters // int(point["depth"] or 1)
    scale = float(losses.std(ddof=1))
    rows: list[StudyRow] = []
    for layers, part in (("first", gradients[:, :first]), ("all", gradients)):
        found, size = mean_variance(part, settings.resamples, settings.seed), np.abs(part)
        low, median, high = (float(value) for value in np.quantile(size, [0.05, 0.5, 0.95]))
        rows.append(
            {
                **point,
                "layers": layers,
                "samples": len(losses),
                "variance": found.value,
                "variance_low": found.low,
                "variance_high": found.high,
                "largest_share": found.largest_share,
                "abs_median": median,
                "abs_q05": low,
                "abs_q95": high,
                "loss_mean": float(losses.mean()),
                "loss_sd": scale,
                "normalised": found.value / scale**2 if scale > 0 else None,
            }
        )
    return rows


def notes(settings: Settings, rows: list[StudyRow]) -> Iterator[str]:
    """What the numbers are, and where they are not to be trusted."""
    yield (
        f"variance over {settings.samples} draws of all angles from U(-pi, pi), averaged over angles; mapping, basis "
        "order, other numbers and batch stay as they are, the same mapping for every L of one N; float64"
    )
    yield "normalised is the variance over the variance of the loss itself over the same draws"
    if "released" in settings.presets:
        yield "the released preset draws a new basis order at each evaluation in training; here one order is kept"
    heavy: list[Any] = [row for row in rows if float(row["largest_share"] or 0) > HEAVY]
    if heavy:
        most = max(heavy, key=lambda row: float(row["largest_share"]))
        where = f"{most['preset'] or most['loss']}, N {most['n_qubits']}, L {most['depth']}, {most['layers']} layers"
        yield (
            f"heavy tails: in {len(heavy)} of {len(rows)} rows one draw of {settings.samples} holds more than "
            f"{HEAVY:.0%} of all squared deviations, at most {most['largest_share']:.0%} ({where}); such a variance "
            "is a matter of luck and its bootstrap interval too narrow: read the median and the quantiles of |g|"
        )


STUDY = Study(Settings, points, measure)
