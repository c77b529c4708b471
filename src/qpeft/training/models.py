"""Base models: load one by a name of the catalogue, from a folder, a .gguf file or the hub; untie a head."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as entry
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from qpeft.errors import ModelError, QpeftError, ResourceError
from qpeft.foreign import as_ours, first_line
from qpeft.records import ModelSpec
from qpeft.training.catalogue import CATALOGUE, locate
from qpeft.training.digests import base_files, commit_of, sha256_of_all
from qpeft.training.gguf import load_gguf, load_gguf_config, load_gguf_tokenizer
from qpeft.training.loaded import check_loaded


@dataclass
class Base:
    """A loaded base model with its tokenizer, what records keep of it, and what a user should know of its files."""

    model: Any
    tokenizer: Any
    info: dict[str, Any]
    notes: list[str] = entry(default_factory=list)


def device() -> torch.device:
    """Where models run: the first CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(spec: ModelSpec | str) -> Base:
    """Load model and tokenizer in the spec's dtype, float32 for a mere name.

    Args:
        spec: ``bundled`` or another name of `qpeft models`, a folder, a .gguf file, a hub name, or a ModelSpec.

    Returns:
        ``model`` on the accelerator if there is one, ``tokenizer``, ``info`` for records, and ``notes``.

    Raises:
        ModelError: There is no such model, its files are damaged, or its tensors are not those of its config.
        MissingExtraError: It is a .gguf file, and the library that reads those is not installed.
    """
    spec = ModelSpec(name=spec) if isinstance(spec, str) else spec
    place, dtype = locate(spec.name), getattr(torch, spec.dtype)
    options = {"revision": spec.revision} if spec.revision else {}
    tokenizer = load_tokenizer(spec.name, **options)
    with reading(spec.name):
        if place.gguf:
            model, report, notes = load_gguf(place, dtype)
        else:
            model, report = AutoModelForCausalLM.from_pretrained(
                place.source, dtype=dtype, output_loading_info=True, **options
            )
            notes = []
    notes += check_loaded(spec, type(model).__name__, report)
    with reading(spec.name), torch.no_grad():
        model = model.to(device())
        # A config that is not of these weights shows with the first token.
        model(input_ids=torch.tensor([[tokenizer.eos_token_id]], device=device()))
    info = {"name": spec.name, "dtype": spec.dtype, "revision": spec.revision, "sha256": fingerprint(place.path)}
    return Base(model, tokenizer, info | origin_of(place.path, model), notes)


def load_tokenizer(name: str, **options: str) -> Any:
    """The tokenizer of a model; its end token pads where it has no pad token.

    Raises:
        ModelError: It cannot be found, or has no end token.
        MissingExtraError: It is a .gguf file, and the library that reads those is not installed.
    """
    place = locate(name)
    with reading(name):
        tokenizer = (
            load_gguf_tokenizer(place) if place.gguf else AutoTokenizer.from_pretrained(place.source, **options)
        )
        tokenizer(["a"], verbose=False)  # a setting of the wrong kind shows with the first text
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {name} has no end token; set eos_token in its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(spec: ModelSpec) -> Any:
    """The transformers config of a model; no weights are read.

    Raises:
        ModelError: There is no config.
        MissingExtraError: It is a .gguf file, and the library that reads those is not installed.
    """
    place = locate(spec.name)
    if place.gguf:
        return load_gguf_config(place)
    options = {"revision": spec.revision} if spec.revision else {}
    with reading(spec.name):
        return AutoConfig.from_pretrained(place.source, **options)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What goes wrong in here is a model's files: missing, damaged, or of another model, in any way libraries tell.

    Raises:
        ModelError: With the library's words.
        ResourceError: The memory did not suffice.
    """
    try:
        yield
    except QpeftError:
        raise
    except Exception as error:
        known = as_ours(error)
        raise (known if isinstance(known, ResourceError) else unreachable(name, error)) from error
    except BaseException as error:
        # What is written in Rust panics at some files, past every Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise unreachable(name, error) from error


def unreachable(name: str, error: BaseException) -> ModelError:
    """The error for a model that is neither here nor on the hub, or is damaged."""
    reason = first_line(error)
    return ModelError(
        f"model.name must be a name of `qpeft models` ({', '.join(CATALOGUE)}), a folder with config.json, "
        f"safetensors and a tokenizer, a .gguf file, or a hub name that can be reached; got {name!r}: {reason}"
    )


def origin_of(path: Path, model: Any) -> dict[str, Any]:
    """What else decides a base's logits: digests of its ``files``, or the ``commit`` it has on the hub."""
    files, commit = base_files(path), commit_of(model.config)
    return {**({"files": files} if files else {}), **({"commit": commit} if commit else {})}


def fingerprint(path: Path | str) -> str | None:
    """Sha256 over a .gguf file, or over the safetensors files of a local folder; None for a hub name."""
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors")) if path.is_dir() else []
    return sha256_of_all(files) if files else None


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
    return reaches(model, peft_config, model.get_output_embeddings())


def untie_for(model: Any, peft_config: Any) -> bool:
    """Untie head and embedding where an adapter sits on one of them: on merging, its delta would reach the other too.

    Configs that keep both tied themselves are left alone: ``ensure_weight_tying``, and trainable tokens.

    Returns:
        Whether anything was untied.
    """
    head, kind = model.get_output_embeddings(), getattr(peft_config, "peft_type", None)
    itself = getattr(peft_config, "ensure_weight_tying", False) or getattr(kind, "value", kind) == "TRAINABLE_TOKENS"
    if head is None or itself:
        return False
    vocabulary = (head, model.get_input_embeddings())
    return any(reaches(model, peft_config, module) for module in vocabulary) and untie_head(model)


def reaches(model: Any, peft_config: Any, module: Any) -> bool:
    """Whether an adapter config reaches a module of the model; None is none."""
    name = next((n for n, found in model.named_modules() if found is module), None)
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
