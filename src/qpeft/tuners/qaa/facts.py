"""What QAA says of itself."""

from typing import Any

from qpeft.circuits import own_entangler
from qpeft.circuits.own import label_of
from qpeft.method import Method
from qpeft.tuners.qaa.config import SOURCES
from qpeft.tuners.qaa.layer import QAADelta
from qpeft.tuners.qaa.place import circuit_modules, run_modules_on


def _modules(model: Any) -> list[QAADelta]:
    return [module for module in model.modules() if isinstance(module, QAADelta)]


def _attached(model: Any) -> list[str]:
    for module in _modules(model):
        module.survey.told = True  # the monitor warns, at the rate of the run
    return []


def _callbacks() -> list[Any]:
    # Later than this package: transformers imports peft, and peft this package, before it has a Trainer.
    from qpeft.tuners.qaa.monitor import QAAMonitor

    return [QAAMonitor()]


def _block(model: Any) -> dict[str, Any] | None:
    """The circuits of a model; none of them runs where a classical twin stands in their place."""
    modules = _modules(model)
    if not modules:
        return None
    config, circuits = model.active_peft_config, circuit_modules(model)
    circuit = modules[0].read.circuit
    twin = config.source == "no_entangler"
    return {
        "n_qubits": circuit.n_qubits,
        "depth": config.depth,
        "ansatz": label_of(config.ansatz),
        "entangler": "none" if twin else config.entangler or own_entangler(config.ansatz),
        "source": config.source,
        "preset": config.preset,
        "n_angles": circuit.n_parameters if circuits else 0,
        "n_circuits": len(circuits),
        "circuit": circuit,
    }


METHOD = Method(
    "qaa",
    "QAA",
    "hidden states as amplitudes of a circuit, read into an update",
    # A spec without a preset means what it meant in the first records; recipes and the command line name today's
    # (`recipes.recipe.dated`).
    fixed={"peft_type": "QAA", "preset": "recommended"},
    provider="qpeft",
    unmergeable="it computes with the hidden states themselves and is no change of a weight",
    attached=_attached,
    callbacks=_callbacks,
    circuits_in="modules",
    sources=SOURCES,
    sites=circuit_modules,
    block=_block,
    move=run_modules_on,
)
