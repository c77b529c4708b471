"""Data: texts in, tokenised rows out; which tokens count in the loss is decided here and nowhere else."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qpeft.data.collate import Collate as Collate
    from qpeft.data.collate import collate_for as collate_for
    from qpeft.data.collate import features as features
    from qpeft.data.examples import Example as Example
    from qpeft.data.examples import Texts as Texts
    from qpeft.data.load import load_texts as load_texts
    from qpeft.data.rows import Encoded as Encoded
    from qpeft.data.rows import Row as Row
    from qpeft.data.rows import encode_texts as encode_texts

# Looked up when first used, so that reading texts does not import torch.
_HOMES = {
    "Collate": "collate",
    "collate_for": "collate",
    "features": "collate",
    "Example": "examples",
    "Texts": "examples",
    "load_texts": "load",
    "Encoded": "rows",
    "Row": "rows",
    "encode_texts": "rows",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
