"""Estimate: what a run would train, hold in memory and ask of circuits, from the model's config alone.

The model stands on torch's meta device: names and shapes, no weights. Counts, file size and circuit evaluations are
those of the run; memory is an estimate by the formula of `Memory`; time is not predicted.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from qpeft.circuits import Circuit, Cost, circuit_cost
from qpeft.circuits.setting import read_setting
from qpeft.errors import ModelError
from qpeft.qpa import Generator
from qpeft.quantum import Execution, Gradient, Shots, open_backend
from qpeft.quantum.backends.ibm import REPETITION
from qpeft.records import ExecutionSpec, ModelSpec, RunSpec
from qpeft.training.footprint import Memory, blocks_of, file_bytes, memory_of
from qpeft.training.methods import Built, build_method, check_method
from qpeft.training.models import load_config, reading

Place = Literal["generator", "modules"]


@dataclass(frozen=True)
class CircuitUse:
    """One kind of circuit in a run, and how often it is evaluated.

    Attributes:
        place: ``generator`` (QPA: once a step) or ``modules`` (QAA: once a token, module and micro-batch).
        layers: L.
        cost: Counts of the circuit's own gates; QAA's preparation of a hidden state is not among them.
        copies: Circuits of this kind.
        forward: Evaluations a step for the values, all copies together.
        gradient: Further ones for the gradient of trained angles: none by autograd and surrogate, two for each angle
            and occurrence by parameter shift (four at a controlled rotation), two for each sample of SPSA, at most the
            evaluations of a search.
        run: Evaluations of the whole run, those before the first step included.
        shots: Measurements of one evaluation; None where the distribution is exact.
    """

    place: Place
    layers: int
    cost: Cost
    copies: int
    forward: int
    gradient: int
    run: int
    shots: int | None

    @property
    def shots_step(self) -> int | None:
        """Measurements of one step."""
        return None if self.shots is None else self.shots * (self.forward + self.gradient)

    @property
    def shots_run(self) -> int | None:
        """Measurements of the whole run."""
        return None if self.shots is None else self.shots * self.run


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        method: Its name, with the one it works over.
        base_numbers: Numbers of the base model before it is adapted.
        base_bytes: Their bytes.
        trained_numbers: Numbers the optimizer trains.
        effective_numbers: What is left of them where an affine mapping collapses; None where nothing does.
        adapter_numbers: Numbers written into the model: QPA's m, elsewhere the trained ones.
        file_bytes: Size of the adapter's safetensors file, or the whole model's where that is trained; None where the
            method computes with its numbers when it is saved.
        circuits: Empty for a classical method.
        memory: An estimate.
        notes: What else should be known.
    """

    method: str
    base_numbers: int
    base_bytes: int
    trained_numbers: int
    effective_numbers: int | None
    adapter_numbers: int
    file_bytes: int | None
    circuits: tuple[CircuitUse, ...]
    memory: Memory
    notes: tuple[str, ...]


class Unrun:
    """A backend that answers with shapes only: a generator is built, its circuit is not run."""

    name, differentiable, input_gradient, shots, noise = "unrun", True, False, None, None

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        """Shape ``(..., 2**n)`` on the meta device."""
        return torch.empty(*angles.shape[:-1], 2**circuit.n_qubits, device="meta")

    def details(self, circuit: Circuit) -> dict[str, str | int | float]:
        """Nothing."""
        return {}


def estimate_run(spec: RunSpec, *, gradient: str | None = None, shots: str | None = None) -> Estimate:
    """What a run would train, hold and ask of circuits; reads the model's config and nothing else.

    Args:
        spec: The run; every row is taken to fill ``data.max_length`` tokens.
        gradient: How the gradient of the angles is found, as `Gradient.parse` reads it; None: as the spec says.
        shots: Measurements of one circuit: a whole number, or ``20x`` for 20 times 2^N; None: as the spec says.

    Raises:
        ConfigError: The method, an option, the backend, ``gradient`` or ``shots`` cannot be used.
        ModelError: There is no config, or the method cannot be attached to a model without weights.
    """
    check_method(spec.method)
    way, measured = asked(spec.execution, gradient, shots)
    model = empty_model(spec.model)
    base = [(p.numel(), p.element_size()) for p in model.parameters()]
    blocks = blocks_of(model)
    built = attach(model, spec)
    adapter = sum(p.numel() for _, p in built.named_trainable())
    generator = None
    if built.qpa is not None:
        with torch.device("meta"):
            generator = Generator(adapter, built.qpa, Execution(Unrun()))
    trained = generator.n_trainable if generator else adapter
    effective = generator.n_effective if generator else trained
    circuits = tuple(circuits_of(built, generator, spec, way, measured))
    return Estimate(
        method=spec.method.name if spec.method.over is None else f"{spec.method.name} over {spec.method.over.name}",
        base_numbers=sum(count for count, _ in base),
        base_bytes=sum(count * size for count, size in base),
        trained_numbers=trained,
        effective_numbers=effective if effective < trained else None,
        adapter_numbers=adapter,
        file_bytes=file_bytes(built),
        circuits=circuits,
        memory=memory_of(built, generator, spec, blocks),
        notes=(*built.notes, *notes_of(circuits, way), *queue_notes(circuits, spec.execution)),
    )


def asked(execution: ExecutionSpec, gradient: str | None, shots: str | None) -> tuple[Gradient, Shots | None]:
    """The way to the gradient and the shots of a spec, or those that are asked for in their place."""
    way = Gradient.parse(gradient or execution.gradient)
    return way, Shots.parse(shots) if shots is not None else open_backend(execution.backend).shots


def empty_model(spec: ModelSpec) -> Any:
    """The model of a config on the meta device: shapes and no weights.

    Raises:
        ModelError: There is no config of a causal language model.
    """
    config = load_config(spec)
    with reading(spec.name), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, spec.dtype))


def attach(model: Any, spec: RunSpec) -> Built:
    """The method on the empty model.

    Raises:
        ModelError: The model cannot carry it, or it starts from the weights themselves.
    """
    try:
        with torch.device("meta"):
            return build_method(model, spec.method, spec.seed)
    except ModelError as error:
        if isinstance(error.__cause__, RuntimeError):
            raise ModelError(
                f"{error}; an estimate has shapes and no weights: leave out a start that is made from the weights "
                f"(the counts are those of the plain method), or count by training one step"
            ) from error
        raise


def circuits_of(
    built: Built, generator: Generator | None, spec: RunSpec, gradient: Gradient, shots: Shots | None
) -> list[CircuitUse]:
    """Every kind of circuit of an adapted model: QPA's, those of QAA, or both."""
    sources = generator.circuit_sources() if generator else []
    inside = built.facts.sites(built.model)
    found: list[tuple[Place, Circuit, bool]] = [
        ("generator", source.circuit, source.angles.requires_grad) for source in sources
    ]
    found += [("modules", module.read.circuit, module.angles.requires_grad) for module in inside]
    uses = []
    for (place, circuit, trained), copies in Counter(found).items():
        train, config = spec.train, generator.config if generator and place == "generator" else built.peft_config
        inputs = 1 if place == "generator" else train.batch_size * train.gradient_accumulation * spec.data.max_length
        further = gradient.further(circuit) if trained else 0
        # QPA writes an adapter before the first step and, as accelerate loads the optimizer's state once more, takes
        # that step from a second evaluation; the released one is written again, without random bits, after the last,
        # and whitening looks at the features before anything is written.
        once = 0 if place == "modules" else 2 + (config.basis == "random") + config.whiten
        forward, more = copies * inputs, copies * inputs * further
        # Where one measurement serves for several steps, the circuit runs at every so many evaluations only.
        run = -(-(copies * once + train.steps * (forward + more)) // gradient.refresh)
        measured = None if shots is None else shots.of(circuit.n_qubits)
        uses.append(
            CircuitUse(place, int(config.depth or 1), circuit_cost(circuit), copies, forward, more, run, measured)
        )
    return uses


def queue_notes(circuits: tuple[CircuitUse, ...], execution: ExecutionSpec) -> list[str]:
    """What a quantum computer would be busy for, where one is asked for."""
    if read_setting(execution.backend)[0] != "ibm":
        return []
    busy = REPETITION * sum(use.shots_run or 0 for use in circuits)
    return [
        f"about {busy:,.0f} s of the quantum computer at {1e6 * REPETITION:.0f} us a shot, without queueing "
        f"and the service's own time; --gradient surrogate:refresh=50 asks it at every fiftieth step only"
    ]


def notes_of(circuits: tuple[CircuitUse, ...], gradient: Gradient) -> list[str]:
    """What the counts leave out."""
    notes, measured = [], any(use.shots is not None for use in circuits)
    exact = gradient.method in ("auto", "autograd", "surrogate")
    if measured and exact:
        notes.append("with shots the gradient is that of the circuit simulated without noise (surrogate)")
    if any(use.place == "modules" for use in circuits):
        notes.append("preparing a hidden state of 2^n amplitudes takes about 2^n more two-qubit gates, not counted")
        if measured or not exact:
            notes.append(
                "circuits in modules train by autograd only: layers below them need the gradient of their input"
            )
    return notes
