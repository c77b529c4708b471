"""Estimate: what a run would train, hold in memory and ask of circuits, from the model's config alone.

The model stands on torch's meta device: names and shapes, no weights. Counts, file size and circuit evaluations are
those of the run; memory is an estimate by the formula of `Memory`; time is not predicted.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from qpeft.circuits import Circuit, Cost, circuit_cost
from qpeft.errors import ConfigError, ModelError
from qpeft.qpa import Generator
from qpeft.qpa.sources import CircuitSource
from qpeft.quantum.shift import shift_table
from qpeft.records import ModelSpec, RunSpec
from qpeft.training.footprint import Memory, blocks_of, file_bytes, memory_of
from qpeft.training.methods import Built, build_method, check_method
from qpeft.training.models import UNREADABLE, resolve, unreachable
from qpeft.tuners import QAADelta
from qpeft.tuners.qaa.layer import MIXED

Gradient = Literal["autograd", "shift", "spsa"]
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
        gradient: Further ones for the gradient of trained angles: none by autograd, two for each angle and occurrence
            by parameter shift (four at a controlled rotation), two by SPSA.
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

    def probabilities(self, circuit: Circuit, angles: Tensor, states: Tensor | None = None) -> Tensor:
        """Shape ``(..., 2**n)`` on the meta device."""
        return torch.empty(*angles.shape[:-1], 2**circuit.n_qubits, device="meta")


def estimate_run(spec: RunSpec, *, gradient: Gradient = "autograd", shots: str | None = None) -> Estimate:
    """What a run would train, hold and ask of circuits; reads the model's config and nothing else.

    Args:
        spec: The run; every row is taken to fill ``data.max_length`` tokens.
        gradient: How the gradient of the angles is found.
        shots: Measurements of one evaluation: a whole number, or ``20x`` for 20 times 2^N; None for exact values.

    Raises:
        ConfigError: The method, an option or ``shots`` cannot be used.
        ModelError: There is no config, or the method cannot be attached to a model without weights.
    """
    check_method(spec.method)
    parse_shots(shots, 1)
    model = empty_model(spec.model)
    base = [(p.numel(), p.element_size()) for p in model.parameters()]
    blocks = blocks_of(model)
    built = attach(model, spec)
    adapter = sum(p.numel() for _, p in built.named_trainable())
    generator = None
    if built.qpa is not None:
        with torch.device("meta"):
            generator = Generator(adapter, built.qpa, Unrun())
    trained = generator.n_trainable if generator else adapter
    effective = generator.n_effective if generator else trained
    circuits = tuple(circuits_of(built, generator, spec, gradient, shots))
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
        notes=(*built.notes, *notes_of(circuits, gradient)),
    )


def empty_model(spec: ModelSpec) -> Any:
    """The model of a config on the meta device: shapes and no weights.

    Raises:
        ModelError: There is no config of a causal language model.
    """
    options = {"revision": spec.revision} if spec.revision else {}
    try:
        config = AutoConfig.from_pretrained(resolve(spec.name), **options)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, spec.dtype))
    except UNREADABLE as error:
        raise unreachable(spec.name, error) from error


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


def parse_shots(text: str | None, n_qubits: int) -> int | None:
    """Measurements of one evaluation.

    >>> parse_shots("20x", 5), parse_shots("4096", 5), parse_shots(None, 5)
    (640, 4096, None)

    Raises:
        ConfigError: The text is neither a whole number above 0 nor one followed by x.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)(x?)", text)
    if found is None:
        raise ConfigError(f"shots must be a whole number such as 4096, or 20x for 20 times 2^N; got {text!r}")
    return int(found[1]) * (2**n_qubits if found[2] else 1)


def circuits_of(
    built: Built, generator: Generator | None, spec: RunSpec, gradient: Gradient, shots: str | None
) -> list[CircuitUse]:
    """Every kind of circuit of an adapted model: QPA's, those of QAA, or both."""
    sources = [part.source for part in generator.chunk_generators()] if generator else []
    deltas = [module for module in built.model.modules() if isinstance(module, QAADelta)]
    found: list[tuple[Place, Circuit, bool]] = [
        ("generator", s.circuit, s.angles.requires_grad) for s in sources if isinstance(s, CircuitSource)
    ]
    found += [("modules", d.read.circuit, d.angles.requires_grad) for d in deltas if d.source in MIXED]
    uses = []
    for (place, circuit, trained), copies in Counter(found).items():
        train, config = spec.train, generator.config if generator and place == "generator" else built.peft_config
        inputs = 1 if place == "generator" else train.batch_size * train.gradient_accumulation * spec.data.max_length
        further = {"autograd": 0, "shift": len(shift_table(circuit).rows), "spsa": 2}[gradient] if trained else 0
        # QPA writes an adapter before the first step and, as accelerate loads the optimizer's state once more, takes
        # that step from a second evaluation; the released one is written again, without random bits, after the last.
        once = 0 if place == "modules" else 3 if config.basis == "random" else 2
        forward, more = copies * inputs, copies * inputs * further
        run, measured = copies * once + train.steps * (forward + more), parse_shots(shots, circuit.n_qubits)
        uses.append(CircuitUse(place, config.depth, circuit_cost(circuit), copies, forward, more, run, measured))
    return uses


def notes_of(circuits: tuple[CircuitUse, ...], gradient: Gradient) -> list[str]:
    """What the counts leave out."""
    notes, measured = [], any(use.shots is not None for use in circuits)
    if measured and gradient == "autograd":
        notes.append("with shots autograd takes the gradient of the circuit simulated without noise")
    if any(use.place == "modules" for use in circuits):
        notes.append("preparing a hidden state of 2^n amplitudes takes about 2^n more two-qubit gates, not counted")
        if measured or gradient != "autograd":
            notes.append(
                "circuits in modules train by autograd only: layers below them need the gradient of their input"
            )
    return notes
