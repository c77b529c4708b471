"""Loaded: whether the tensors of a model's files were those its config asks for; nothing starts random unasked."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from qpeft.errors import ModelError
from qpeft.records import ModelSpec

SHOWN = 3
# The start of a tensor's name, and what was saved in place of a model.
CAUSES = {
    "base_model.model.": "the state of a peft model was saved: call merge_and_unload() on it and save the result",
    "module.": "the state of a model inside DistributedDataParallel was saved: save model.module",
    "_orig_mod.": "the state of a compiled model was saved: save the model itself",
    "rope_f": "transformers does not read a .gguf file's scaling of rotary positions: use a folder with safetensors",
}


def check_loaded(spec: ModelSpec, model: str, report: dict[str, Any]) -> list[str]:
    """Refuse a model that transformers filled up with random numbers, or whose files hold more than it took.

    Tied tensors are neither missing nor unexpected in transformers' report.

    Args:
        spec: Its ``unfit`` names tensors that may be.
        model: The class of the model.
        report: transformers' loading info.

    Returns:
        Notes on the tensors that ``unfit`` let pass.

    Raises:
        ModelError: Tensors are missing, unexpected, or of another shape.
    """
    missing = sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
    unexpected = sorted(report["unexpected_keys"])
    bad = [key for key in (*missing, *unexpected) if not allowed(spec, key)]
    if bad:
        cause = next(
            (text for start, text in CAUSES.items() if any(key.startswith(start) for key in unexpected)), None
        )
        reason = cause or "the files are not complete, or their config is another model's"
        gone, spare = counted(missing, "missing, which would start random"), counted(unexpected, "left over")
        raise ModelError(
            f"the tensors of {spec.name!r} are not those of {model}: {gone}; {spare}. {reason[0].upper()}{reason[1:]}"
            f"; or name tensors that may be so in model.unfit, as in --set 'model.unfit=[{bad[0]}]'"
        )
    notes = [f"missing in the model's files, started random: {key}" for key in missing]
    return notes + [f"in the model's files, not used: {key}" for key in unexpected]


def allowed(spec: ModelSpec, key: str) -> bool:
    """Whether a pattern of the spec names a tensor."""
    return any(fnmatchcase(key, pattern) for pattern in spec.unfit)


def counted(keys: Iterable[str], what: str) -> str:
    """A number of tensors with the first few names."""
    names = list(keys)
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} {what}" + (f" ({', '.join(names[:SHOWN])}{more})" if names else "")
