"""Bake: write the generated adapter as a stock peft checkpoint, the generator beside it, and prove both."""

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, PreTrainedModel

from qpeft.card import write_card
from qpeft.errors import ConfigError, ExportError
from qpeft.foreign import ours
from qpeft.qpa.config import QPAConfig
from qpeft.qpa.generator import Generator
from qpeft.qpa.optimizer import QPAOptimizer
from qpeft.records.drafts import RANDOM, draft_prefix, sweep

GENERATOR = "qpa_generator.safetensors"
CONFIG = "qpa_config.json"
WEIGHTS = "adapter_model.safetensors"


@ours("saving the adapter")
def save_adapter(model: nn.Module, folder: Path | str, optimizer: QPAOptimizer | None = None) -> Path:
    """Save a peft model's adapter, and QPA's generator if there is one; all of it or nothing.

    The folder holds ``adapter_model.safetensors`` and ``adapter_config.json`` as vanilla peft reads them.
    ``qpa_generator.safetensors`` and ``qpa_config.json`` are for continuing the training only. Embedding and head are
    in it where the vocabulary was resized, or where they are trained themselves.

    Args:
        model: A peft model.
        folder: Replaced if it exists.
        optimizer: The optimizer that generated the adapter.

    Returns:
        The folder.

    Raises:
        ExportError: The file written does not hold the tensors of the model.
        StorageError: It cannot be written.
    """
    if optimizer is not None:
        optimizer.absorb()
    changed = vocabulary_changed(model)
    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent, [folder.name], RANDOM)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=draft_prefix(folder)))
    try:
        state = gathered_state(model, changed)
        # Peft would copy the whole head into every checkpoint whose adapter is on the head.
        model.save_pretrained(draft, save_embedding_layers=changed, state_dict=state)  # type: ignore[operator]
        if changed:
            complete(model, draft / WEIGHTS, state)
        if optimizer is not None:
            save_generator(optimizer, draft)
        check_file(model, draft, state, changed)
        write_card(draft)
        draft.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def gathered_state(model: nn.Module, changed: bool = False) -> dict[str, torch.Tensor] | None:
    """The state of a sharded peft model with the adapter's tensors whole, or None where nothing is sharded.

    All processes have to call it. The base model's tensors stay sharded: peft leaves them out, and together they may
    not fit.
    """
    from peft import get_peft_model_state_dict

    if not any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        return None
    state = model.state_dict()
    found = get_peft_model_state_dict(model, state, save_embedding_layers=changed)
    adapter = {id(tensor) for tensor in (*found.values(), *(vocabulary(model, state).values() if changed else ()))}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    chosen = {name for name, tensor in state.items() if id(tensor) in adapter or name in trained}
    return {
        name: tensor.full_tensor() if name in chosen and isinstance(tensor, DTensor) else tensor
        for name, tensor in state.items()
    }


def vocabulary_changed(model: Any) -> bool:
    """Whether embedding and head are other than those of the base model on disk: resized, or trained themselves."""
    own = vocabulary(model, None)
    if any(weight.requires_grad for weight in own.values()):
        return True
    name = model.active_peft_config.base_model_name_or_path
    if not name or not own:
        return False
    try:
        base = AutoConfig.from_pretrained(name, local_files_only=True)
    except (OSError, ValueError):  # a model that is not on this disk: nothing to compare with
        return False
    return bool(base.get_text_config().vocab_size != model.config.get_text_config().vocab_size)


def vocabulary(model: Any, state: dict[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    """The weights of embedding and head, named as in the model; copies that peft trains are its own affair.

    Args:
        model: A peft model.
        state: Its state if it was gathered.
    """
    base = model.get_base_model()
    if not isinstance(base, PreTrainedModel):
        return {}
    layers = [layer for layer in (base.get_input_embeddings(), base.get_output_embeddings()) if layer is not None]
    weights = {id(getattr(layer, "base_layer", layer).weight) for layer in layers}
    held = dict(model.named_parameters(remove_duplicate=False)) if state is None else state
    named = [name for name, p in model.named_parameters(remove_duplicate=False) if id(p) in weights]
    return {name: held[name] for name in named if name.startswith("base_model.") and ".modules_to_save." not in name}


def complete(model: Any, path: Path, state: dict[str, torch.Tensor] | None) -> None:
    """Add embedding and head to a file where peft left one out, as it does with the one that carries no adapter."""
    written = load_file(path)
    missing = {n: t.detach().cpu().clone() for n, t in vocabulary(model, state).items() if n not in written}
    if missing:
        save_file({**written, **missing}, path, metadata={"format": "pt"})


def check_file(model: nn.Module, folder: Path, state: dict[str, torch.Tensor] | None, changed: bool) -> None:
    """Compare every tensor peft wrote with the model's own.

    Raises:
        ExportError: A tensor is missing or differs.
    """
    from peft import get_peft_model_state_dict

    path = folder / WEIGHTS
    written = load_file(path) if path.exists() else {}
    expected = get_peft_model_state_dict(model, state, save_embedding_layers=changed)
    if changed:
        expected |= vocabulary(model, state)
    for name, tensor in expected.items():
        # CPT re-normalises its prompt at every look, which moves the last bit.
        if name not in written or not torch.allclose(written[name], tensor.detach().cpu(), rtol=1e-6, atol=0):
            raise ExportError(f"{path} does not hold {name} as the model computes with it; nothing was exported")


def save_generator(optimizer: QPAOptimizer, folder: Path) -> None:
    """Write the generator's numbers, offset and plan, as plain tensors and JSON."""
    # What was executed is a cost of the run, not a number of the generator.
    state = {n: t for n, t in optimizer.generator.state_dict().items() if ".executor." not in n}
    tensors = {f"generator.{name}": tensor.detach().cpu() for name, tensor in state.items()}
    tensors |= {"offset": optimizer.offset.cpu(), "factors": optimizer.factors.cpu()}
    save_file({name: t.contiguous().clone() for name, t in tensors.items()}, folder / GENERATOR)
    plan = [{"name": e.name, "shape": e.shape, "offset": e.offset} for e in optimizer.plan.entries]
    body = {
        "config": dataclasses.asdict(optimizer.config),
        "m": optimizer.plan.m,
        "trained": optimizer.generator.n_trainable,
        "plan": plan,
    }
    (folder / CONFIG).write_text(json.dumps(body, indent=1), encoding="utf-8")


def load_generator(folder: Path) -> tuple[Generator, dict[str, torch.Tensor], dict[str, Any]]:
    """Read a generator back; the adapter is ``offset + factors * generator()``.

    Returns:
        The generator, the tensors ``offset`` and ``factors`` of shape (m,), and the content of the config file.

    Raises:
        ConfigError: The folder holds no generator.
    """
    if not (folder / CONFIG).exists():
        raise ConfigError(f"{CONFIG} was expected in {folder}; the adapter there was not trained with QPA")
    body = json.loads((folder / CONFIG).read_text("utf-8"))
    generator = Generator(body["m"], QPAConfig.from_dict(body["config"]))
    tensors = load_file(folder / GENERATOR)
    own = {name.removeprefix("generator."): t for name, t in tensors.items() if name.startswith("generator.")}
    generator.load_state_dict({**generator.state_dict(), **own})
    return generator, {key: tensors[key] for key in ("offset", "factors")}, body
