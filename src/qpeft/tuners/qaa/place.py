"""Where the circuits of a model's QAA modules run: move them all to another backend, in place."""

import dataclasses

from torch import nn

from qpeft.quantum import Backend, Meter
from qpeft.tuners.qaa.layer import MIXED, QAADelta


def circuit_modules(model: nn.Module) -> list[QAADelta]:
    """The QAA modules of a model that run a circuit; classical twins do not."""
    return [module for module in model.modules() if isinstance(module, QAADelta) and module.source in MIXED]


def run_modules_on(model: nn.Module, backend: Backend, seed: int = 0) -> Meter:
    """Run the circuits of every QAA module on a backend, counted together.

    Args:
        model: Changed in place; classical twins in it stay as they are.
        backend: Where; one without gradients is good for measuring only.
        seed: Of shots: the same seed and the same order of calls give the same results.

    Returns:
        The counters.
    """
    meter = Meter(backend, seed)
    for module in circuit_modules(model):
        module.read = dataclasses.replace(module.read, backend=meter)
    return meter
