"""What stands in a quantum core's place to tell what its structure is worth: classical cores of as many numbers."""

from typing import Any

from qpeft.tuners.core.config import READS, CoreConfig
from qpeft.tuners.core.cores import KINDS

# Cores with quantum structure, and the fields that say which one.
QUANTUM = ("gates", "rotations", "circuit")
SPECIFIC = {"core", *(key for keys in READS.values() for key in keys)}


def twins(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The twins of a core by name, as options of the same method; empty where it has no quantum structure.

    >>> sorted(twins({"core": "gates", "r": 16}))
    ['diag_lowrank', 'hash', 'mask']
    >>> twins({"core": "rotations", "r": 16, "depth": 2})["givens"]
    {'r': 16, 'core': 'givens', 'depth': 2}

    ``mask`` and ``hash`` train exactly as many numbers a layer, ``givens`` too; ``diag_lowrank`` has the rank that
    comes nearest; ``frozen`` keeps the circuit at random angles and trains the diagonal alone.

    Args:
        options: Fields of a CoreConfig.
    """
    fields = {key: value for key, value in options.items() if key in CoreConfig.__dataclass_fields__}
    config = CoreConfig(**fields)
    if config.core not in QUANTUM or config.angles == "frozen":
        return {}
    kept = {key: value for key, value in options.items() if key not in SPECIFIC}
    count = sum(value.numel() for value in KINDS[config.core].trained(config).values())
    few = {"numbers": min(count, config.r**2)}
    found = {
        "mask": {**kept, "core": "mask", **few},
        "hash": {**kept, "core": "hash", **few},
        "diag_lowrank": {**kept, "core": "diag_lowrank", "k": max(0, round((count - config.r) / (2 * config.r)))},
    }
    circuit: dict[str, Any] = {key: options[key] for key in ("ansatz", "depth", "entangler") if key in options}
    if config.core == "rotations":
        found["givens"] = {**kept, "core": "givens", **circuit}
    if config.core != "gates":
        found["frozen"] = {**kept, "core": config.core, **circuit, "angles": "frozen"}
    return found
