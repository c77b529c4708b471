"""What a method says of itself: one object a method, in its own folder, read wherever methods differ; needs no torch.

Nothing else knows methods by name: training, estimates, ablation, export and the model card ask the object.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from qpeft.registry import Registry

Trains = Literal["nothing", "model", "adapter", "over"]
# Where circuits of a method run: they generate an adapter's numbers, or stand in the model. A third has none.
CircuitsIn = Literal["", "generator", "modules"]


def no_callbacks() -> list[Any]:
    """Nothing watches."""
    return []


def no_notes(model: Any) -> list[str]:
    """Nothing is to be done, nothing to be said."""
    return []


def no_options(options: dict[str, Any]) -> None:
    """There are no options beside peft's."""


@dataclass(frozen=True)
class Method:
    """The facts of a method. Everything has a default, which is what a plain adapter of peft is.

    Functions are called where they are needed and may import what they need then.

    Attributes:
        name: What recipes and the command line call it.
        kind: The type peft knows its adapters by, upper case, such as ``LORA``; empty where there is no adapter.
        help: One line for lists.
        trains: An ``adapter``, the whole ``model``, ``nothing``, or what another method trains (``over`` it).
        fixed: Options of the peft config that the name stands for.
        provider: Package whose import makes the type known to peft; empty for peft's own.
        unmergeable: Why an adapter cannot be merged into the base model; empty where it can.
        lengthens: Whether its virtual tokens stand in the rows, where it has some, and not in keys and values only.
        own_options: Checks options that are not peft's, and takes them out of those given.
        attached: Called with the adapted model: changes what peft did not do, and returns notes for the record.
        begin: Called before training with the model, the options and the training rows; returns notes.
        callbacks: For the Trainer, new ones for each run.
        parameter_groups: Of a model and a weight decay; None: all alike.
        effective: How many of a model's trained numbers count in the end; None: all.
        loras: Flag of ``qpeft export`` to what turns a model with an adapter into one with an ordinary LoRA.
        circuits_in: Where circuits run.
        sources: What may stand in the circuit's place: the trained circuit first, then its twins.
        twins: From the options of a method to those of its twins, by name; None: those of ``sources``.
        sites: The modules of a model that run a circuit each: ``module.read.circuit``, ``module.angles``.
        block: What a record says of the circuits of a model: fields of `records.Quantum`; None where there are none.
        move: Runs the circuits of a model on a backend, with a seed.
    """

    name: str
    kind: str = ""
    help: str = ""
    trains: Trains = "adapter"
    fixed: Mapping[str, Any] = field(default_factory=dict)
    provider: str = ""
    unmergeable: str = ""
    lengthens: bool = True
    own_options: Callable[[dict[str, Any]], None] = no_options
    attached: Callable[[Any], list[str]] = no_notes
    begin: Callable[[Any, Mapping[str, Any], Sequence[Any]], list[str]] | None = None
    callbacks: Callable[[], list[Any]] = no_callbacks
    parameter_groups: Callable[[Any, float], list[dict[str, Any]]] | None = None
    effective: Callable[[Any], int] | None = None
    loras: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    circuits_in: CircuitsIn = ""
    sources: tuple[str, ...] = ()
    twins: Callable[[dict[str, Any]], dict[str, dict[str, Any]]] | None = None
    sites: Callable[[Any], Sequence[Any]] = no_notes
    block: Callable[[Any], dict[str, Any] | None] = lambda model: None
    move: Callable[[Any, Any, int], Any] | None = None

    def twins_of(self, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Options of what tells the worth of the quantum part, by name; empty where there is none to be told."""
        if self.twins is not None:
            return self.twins(dict(options))
        if not self.sources or options.get("source", self.sources[0]) != self.sources[0]:
            return {}
        return {source: {**options, "source": source} for source in self.sources[1:]}


METHODS: Registry[Method] = Registry("method", "qpeft.tuners", "qpeft.qpa")


def of_kind(kind: str | None) -> Method:
    """The facts of a type of peft; of one that no method has a row for, what its class and peft say.

    >>> of_kind(None).trains
    'nothing'
    """
    if kind is None:
        return Method("none", trains="nothing")
    found = METHODS.first(lambda row: row.kind == kind)
    if found is not None:
        return found
    # A model of this type exists, so that peft is imported already.
    derived: Method = import_module("qpeft.tuners.known").derived(kind)
    return derived
