"""noise-distance: how far noise and shots take a circuit's distribution and gradient, as behind Fig. 9 of QPA."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from qpeft.circuits import Circuit, build_ansatz
from qpeft.quantum import Backend, Execution, Executor, Meter, SampledBackend, Shots, probabilities
from qpeft.quantum.backends.noisy import NoisyBackend
from qpeft.quantum.meter import mixed
from qpeft.quantum.noise import DEVICES, NoiseModel, native_circuit
from qpeft.records import StudyRow
from qpeft.records.spec import Strict
from qpeft.training.studies.choices import AnsatzName, one_of
from qpeft.training.studies.gradient_check import draw_angles, normal, of_leaf
from qpeft.training.studies.spread import fit_slope
from qpeft.training.studies.study import Found, Study, Tick

DeviceName = Annotated[str, AfterValidator(one_of(DEVICES))]
# Texts such as 4096 or 20x; whatever else is refused with both forms in the message.
ShotsText = Annotated[str, AfterValidator(lambda text: str(Shots.parse(text)))]
DISTANCES = {
    "tv_gates": "noise of the gates alone",
    "tv_readout": "gates and readout as calibrated",
    "tv_shots": "gates, readout and shots",
    "tv_shots_only": "shots alone",
}
# How the gradient is found: backend and gradient of an execution.
WAYS = {
    "noisy": ("noisy:device={device}", "autograd"),
    "surrogate": ("noisy:device={device},shots={shots}", "surrogate"),
    "shift": ("noisy:device={device},shots={shots}", "shift"),
    "spsa": ("noisy:device={device},shots={shots}", "spsa:samples={spsa_samples}"),
}
Loss = Callable[[Tensor], Tensor]
Numbers = dict[str, float]


class Settings(Strict):
    """The circuits, the devices, and how often each is measured."""

    devices: tuple[DeviceName, ...] = Field(("torino", "fez"), min_length=1)
    ansatze: tuple[AnsatzName, ...] = Field(("ry_cnot", "rx_cnot"), min_length=1)
    qubits: tuple[Annotated[int, Field(ge=1, le=12)], ...] = Field((5, 7, 10), min_length=1, description="N")
    depth: int = Field(8, ge=1, description="L")
    samples: int = Field(4, ge=1, description="S, draws of all angles from U(-pi, pi)")
    shift_samples: int | None = Field(
        None, ge=1, description="of the S draws, those with a parameter shift, which takes 2P + 1 circuits; none: all"
    )
    shots: ShotsText = Field("20x", description="measurements of a circuit")
    spsa_samples: int = Field(4, ge=1, description="random directions of spsa")
    seed: int = 0


def points(settings: Settings) -> list[StudyRow]:
    """Every circuit on every device."""
    return [
        {"device": device, "ansatz": ansatz, "n_qubits": n_qubits, "depth": settings.depth}
        for device in settings.devices
        for ansatz in settings.ansatze
        for n_qubits in settings.qubits
    ]


def measure(settings: Settings, tick: Tick) -> Found:
    """Distances and gradients of every circuit, averaged over the draws of its angles."""
    found = Found()
    for done, point in enumerate(points(settings)):
        device, n_qubits = str(point["device"]), int(point["n_qubits"] or 0)
        tick(done, f"{point['ansatz']} with {n_qubits} qubits on {device}")
        circuit = build_ansatz(str(point["ansatz"]), n_qubits, settings.depth)
        counts = native_circuit(circuit).counts()
        gates = {f"gates_{name}": counts.get(name, 0) for name in ("cz", "sx")}
        found.rows.append({**point, **of_circuit(circuit, device, settings), **gates})
    found.fits = [growth(found.rows, device) for device in settings.devices]
    found.notes = [
        f"means over {settings.samples} draws of the angles from U(-pi, pi), the same for every device; parameter "
        f"shift on the first {settings.shift_samples or settings.samples} of them; {settings.shots} shots a circuit",
        "tv: total variation distance to the exact distribution, of " + "; ".join(map(": ".join, DISTANCES.items())),
        "cos: cosine to the exact gradient of a loss c . p with c from N(0, 1); autograd through exact noise, the "
        "others with noise and shots",
        "the surrogate's gradient of c . p is exact, since c does not depend on p; cos_surrogate_square is of the "
        "loss |p - q|^2, q being the exact distribution of other angles, where the measured p enters the gradient",
    ]
    return found


def of_circuit(circuit: Circuit, device: str, settings: Settings) -> StudyRow:
    """Means over the draws; a cosine to a gradient of zero is left out."""
    generator = torch.Generator().manual_seed(settings.seed)
    drawn: list[Numbers] = []
    for draw in range(settings.samples):
        angles, others = draw_angles(circuit, generator), draw_angles(circuit, generator)
        cotangent = normal(generator, 2**circuit.n_qubits)
        seed = mixed(settings.seed, draw)
        drawn.append(distances(circuit, angles, device, Shots.parse(settings.shots), seed))
        for way in WAYS:
            if way != "shift" or draw < (settings.shift_samples or settings.samples):
                execution = opened(way, device, settings, seed)
                drawn[-1] |= compared(way, circuit, angles, partial(torch.dot, cotangent), execution)
        target, square = probabilities(circuit, others), opened("surrogate", device, settings, seed)
        found = compared("surrogate_square", circuit, angles, partial(squared_distance, target), square)
        drawn[-1] |= {key: value for key, value in found.items() if key.startswith("cos_")}
    keys = dict.fromkeys(key for draw in drawn for key in draw)
    return {key: mean_of([draw[key] for draw in drawn if key in draw], key) for key in keys}


def squared_distance(p: Tensor, q: Tensor) -> Tensor:
    """|p - q|^2."""
    return (p - q).square().sum()


def distances(circuit: Circuit, angles: Tensor, device: str, shots: Shots, seed: int) -> Numbers:
    """Total variation distances in [0, 1] to the exact distribution, by the names of DISTANCES."""
    exact, noisy = probabilities(circuit, angles), NoisyBackend(NoiseModel(device=device))
    backends: tuple[Backend, ...] = (
        NoisyBackend(NoiseModel(device=device, readout=0.0)),
        noisy,
        SampledBackend(shots, noisy),
        SampledBackend(shots),
    )
    found = [backend.probabilities(circuit, angles, seed=seed) for backend in backends]
    return {name: total_variation(p, exact) for name, p in zip(DISTANCES, found, strict=True)}


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the summed difference of two distributions, in [0, 1].

    >>> total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.75, 0.25]))
    0.25
    """
    return float((p - q).abs().sum() / 2)


def opened(way: str, device: str, settings: Settings, seed: int) -> Execution:
    """The execution of one of WAYS."""
    backend, gradient = (
        text.format(device=device, shots=settings.shots, spsa_samples=settings.spsa_samples) for text in WAYS[way]
    )
    return Execution.open(backend, gradient, seed)


def compared(name: str, circuit: Circuit, angles: Tensor, loss: Loss, execution: Execution) -> Numbers:
    """Cosine of one gradient to the exact one, and what one evaluation with its gradient spent."""
    exact = of_leaf(angles, lambda leaf: loss(probabilities(circuit, leaf)))
    found, meter = gradient_of(circuit, angles, loss, execution)
    spent: Numbers = {f"circuits_{name}": meter.circuits, f"shots_{name}": meter.shots_spent}
    length = found.norm() * exact.norm()
    return spent | ({f"cos_{name}": float(found @ exact / length)} if length > 0 else {})


def gradient_of(circuit: Circuit, angles: Tensor, loss: Loss, execution: Execution) -> tuple[Tensor, Meter]:
    """One gradient of ``loss(p(angles))``, shape of angles, and the counters of the circuits it took."""
    executor = Executor(circuit, execution)
    return of_leaf(angles, lambda leaf: loss(executor(leaf))), executor.meter


def mean_of(values: list[float], key: str) -> float | int:
    """The mean; counts are equal in every draw and stay whole numbers."""
    return int(values[0]) if key.startswith(("circuits_", "shots_")) else sum(values) / len(values)


def growth(rows: list[StudyRow], device: str) -> StudyRow:
    """How the distances of a device grow with each qubit, over both families; None for a single register."""
    kept = [row for row in rows if row["device"] == device]
    sizes = [float(row["n_qubits"] or 0) for row in kept]
    lines = {name: fit_slope(sizes, [float(row[name] or 0) for row in kept]) for name in DISTANCES}
    slopes = {f"{name}_per_qubit": line.slope if line else None for name, line in lines.items()}
    return {"device": device, **slopes}


STUDY = Study(Settings, points, measure)
