"""Base models: load the embedded one, a local folder or a hub name; untie a head before it is adapted."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from qpeft.assets import model_folder
from qpeft.errors import ModelError
from qpeft.records import ModelSpec

# What transformers raises for files that are missing, damaged, or of another model.
UNREADABLE = (OSError, ValueError, RuntimeError, SafetensorError)


@dataclass
class Base:
    """A loaded base model with its tokenizer."""

    model: Any
    tokenizer: Any
    info: dict[str, Any]


def device() -> torch.device:
    """Where models run: the first CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve(name: str) -> str:
    """The embedded model's folder for ``embedded``; other names unchanged."""
    return str(model_folder()) if name == "embedded" else name


def load_base(spec: ModelSpec | str) -> Base:
    """Load model and tokenizer in the spec's dtype, float32 for a mere name.

    Args:
        spec: ``embedded``, a folder, a hub name, or a ModelSpec.

    Returns:
        ``model`` on the accelerator if there is one, ``tokenizer``, and ``info`` for records.

    Raises:
        ModelError: The name is neither a folder with a model nor a hub name that can be reached.
    """
    spec = ModelSpec(name=spec) if isinstance(spec, str) else spec
    path = resolve(spec.name)
    options = {"revision": spec.revision} if spec.revision else {}
    tokenizer = load_tokenizer(spec.name, **options)
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, spec.dtype), **options)
    except UNREADABLE as error:
        raise unreachable(spec.name, error) from error
    info = {"name": spec.name, "dtype": spec.dtype, "revision": spec.revision, "sha256": fingerprint(path)}
    return Base(model.to(device()), tokenizer, info)


def load_tokenizer(name: str, **options: str) -> Any:
    """The tokenizer of a model; its end token pads where it has no pad token.

    Raises:
        ModelError: It cannot be found, or has no end token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(resolve(name), **options)
    except UNREADABLE as error:
        raise unreachable(name, error) from error
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {name} has no end token; set eos_token in its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def unreachable(name: str, error: Exception) -> ModelError:
    """The error for a model that is neither here nor on the hub, or is damaged."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return ModelError(
        f"model.name must be 'embedded', a folder with config.json, safetensors and a tokenizer, or a hub name that "
        f"can be reached; got {name!r}: {reason}"
    )


def fingerprint(path: str) -> str | None:
    """Sha256 over the safetensors files of a local folder, or None for a hub name."""
    files = sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else []
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            while piece := handle.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest() if files else None


def untie_head(model: Any) -> bool:
    """Give a tied output head weights of its own, so that an adapter on it can be merged and saved.

    Without this peft trains the adapter but ``merge_and_unload`` adds its delta to the shared embedding, too.

    Args:
        model: A transformers causal model before it is wrapped by peft.

    Returns:
        Whether the head was tied.

    Raises:
        ModelError: The model has no output head.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(f"{type(model).__name__} has no output head to adapt; use a causal language model")
    if head.weight is not model.get_input_embeddings().weight:
        return False
    head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)
    model.config.tie_word_embeddings = False
    return True


def targets_head(model: Any, peft_config: Any) -> bool:
    """Whether an adapter config reaches the output head.

    ``target_modules`` is a pattern for the whole name, or a list of names and ends of names, as in peft.
    """
    head = model.get_output_embeddings()
    name = next((n for n, module in model.named_modules() if module is head), None)
    if name is None:
        return False
    for field in ("target_modules", "modules_to_save"):
        targets = getattr(peft_config, field, None) or ()
        if isinstance(targets, str):
            reached = re.fullmatch(targets, name) is not None
        else:
            reached = any(f".{name}".endswith(f".{target}") for target in targets)
        if reached:
            return True
    return False
