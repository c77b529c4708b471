"""Promises about how a tuner is handled: saved, loaded, switched, merged, put on chosen modules."""

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from qpeft.errors import QpeftError
from qpeft.testing.fresh import WAYS, Saved, load_afresh
from qpeft.testing.trial import STEPS, Trial, adamw, close, listed, same
from qpeft.tuners._peft import BaseTunerLayer

# Errors that refuse on purpose; others are crashes.
REFUSALS = (QpeftError, ValueError, TypeError, NotImplementedError)


def saving(trial: Trial) -> None:
    """A fresh process loads the adapter in every way there is and computes bit for bit the same."""
    saved, expected = save(trial)
    package = type(trial.config).__module__.partition(".")[0]
    check_loaded(load_afresh([saved], trial.folder / "fresh", imports=[package])[0], expected)


def save(trial: Trial, config: Any = None) -> tuple[Saved, Tensor]:
    """Write a trained adapter, its base and the batch below the trial's folder; what the trained model computes."""
    folder = trial.folder
    trial.make_model().save_pretrained(folder / "base")
    # Loaded rather than made, so that the adapter's config knows where its base is.
    model = trial.trained(AutoModelForCausalLM.from_pretrained(folder / "base"), config)
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    save_file(trial.batch, folder / "batch.safetensors")
    return Saved(*(str(folder / n) for n in ("base", "adapter", "batch.safetensors"))), trial.logits(model)


def check_loaded(loaded: dict[str, Tensor | str], expected: Tensor) -> None:
    """Compare what a fresh process computed with what was trained."""
    for way, found in loaded.items():
        assert isinstance(found, Tensor), f"{way} fails in a fresh process: {found}"
        same(found, expected, f"{way} in a fresh process loads something else than was saved")


def transformers_calls(trial: Trial) -> None:
    """``add_adapter``, ``load_adapter``, ``disable_adapters`` and ``delete_adapter`` of the bare model work."""
    saved, expected = save(trial)
    base = trial.logits(trial.make_model())
    model = AutoModelForCausalLM.from_pretrained(saved.base)
    model.add_adapter(copy.deepcopy(trial.config))
    same(trial.logits(model), base, "add_adapter of transformers changes the model before training")
    model.delete_adapter("default")
    same(trial.logits(model), base, "delete_adapter of transformers does not restore the base model")
    model.load_adapter(saved.adapter)
    same(trial.logits(model), expected, "load_adapter of transformers loads something else than was saved")
    model.disable_adapters()
    same(trial.logits(model), base, "disable_adapters of transformers does not restore the base model")
    model.enable_adapters()
    same(trial.logits(model), expected, "enable_adapters of transformers does not bring the adapter back")
    model.delete_adapter("default")
    same(trial.logits(model), base, "delete_adapter of transformers leaves something of a loaded adapter")


def disabling(trial: Trial) -> None:
    """``disable_adapter`` and ``unload`` give the base model back, bit for bit."""
    base, model = trial.logits(trial.make_model()), trial.trained()
    trained = trial.logits(model)
    with model.disable_adapter():
        same(trial.logits(model), base, "disable_adapter does not restore the base model")
    same(trial.logits(model), trained, "the adapter is not back after disable_adapter")
    bare = model.unload()
    same(trial.logits(bare), base, "unload does not restore the base model")
    assert not layers_of(bare), f"unload leaves layers of the tuner: {listed(layers_of(bare))}"


def two_adapters(trial: Trial) -> None:
    """A second adapter starts as the base model, trains without touching the first, is switched and deleted."""
    base, model = trial.logits(trial.make_model()), trial.trained()
    first = trial.logits(model)
    model.add_adapter("other", copy.deepcopy(trial.config))
    same(trial.logits(model), first, "add_adapter changes what the first adapter computes")
    model.set_adapter("other")
    same(trial.logits(model), base, "a second adapter does not start as the base model")
    wrong = [name for name, p in model.named_parameters() if p.requires_grad and ".other" not in name]
    assert not wrong, f"set_adapter leaves Parameters of the first adapter trainable: {listed(wrong)}"
    trial.steps(model, adamw(model), STEPS)
    assert not torch.equal(trial.logits(model), base), "a second adapter does not train"
    model.set_adapter("default")
    same(trial.logits(model), first, "training a second adapter changes the first")
    model.delete_adapter("other")
    same(trial.logits(model), first, "deleting a second adapter changes the first")


def merging(trial: Trial) -> None:
    """Merging computes the same and can be undone, or is refused with an error that says so and changes nothing."""
    model = trial.trained()
    expected = trial.logits(model)
    try:
        model.merge_adapter()
    except REFUSALS as error:
        check_refusal(error, "merg")
        check_unmerged(trial, model, expected)
        return
    close(trial.logits(model), expected, "merge_adapter changes what the model computes")
    with model.disable_adapter():
        close(trial.logits(model), trial.logits(trial.make_model()), "a merged adapter cannot be disabled")
    model.unmerge_adapter()
    close(trial.logits(model), expected, "unmerge_adapter does not bring the adapter back")
    merged = trial.trained().merge_and_unload()
    assert not layers_of(merged), f"merge_and_unload leaves layers of the tuner: {listed(layers_of(merged))}"
    close(trial.logits(merged), expected, "merge_and_unload changes what the model computes")


def check_unmerged(trial: Trial, model: Any, expected: Tensor) -> None:
    """Check that a model whose merging is refused refuses all of it, and stays as it is."""
    same(trial.logits(model), expected, "a refused merge changes the model")
    try:
        model.merge_and_unload()
    except REFUSALS as error:
        check_refusal(error, "merg")
    else:
        raise AssertionError("merge_adapter is refused, merge_and_unload is not")
    same(trial.logits(model), expected, "a refused merge changes the model")


def modules_to_save(trial: Trial) -> None:
    """A module of ``modules_to_save`` is trained as a whole, saved, loaded and switched off with the adapter."""
    module = free_norm(trial.begin()[0])
    place = dataclasses.replace(trial, folder=trial.folder / "modules_to_save")
    saved, expected = save(place, dataclasses.replace(trial.config, modules_to_save=[module]))
    written = load_file(Path(saved.adapter) / "adapter_model.safetensors")
    assert any(f"{module}.weight" in key for key in written), "modules_to_save are not saved"
    loaded = WAYS["PeftModel.from_pretrained"](saved)
    same(trial.logits(loaded), expected, "modules_to_save are not loaded as they were saved")
    with loaded.disable_adapter():
        same(trial.logits(loaded), trial.logits(trial.make_model()), "disable_adapter leaves modules_to_save on")


def free_norm(model: Any) -> str:
    """The end of the name of norms that hold no adapter, which peft's ``modules_to_save`` can wrap.

    Raises:
        AssertionError: The model has none.
    """
    layers, ends = layers_of(model), list[str]()
    for name, module in model.named_modules():
        if [p.dim() for p in module.parameters(recurse=False)] in ([1], [1, 1]):
            ends.append(name.rpartition(".")[2])
    # peft wraps nothing that is an adapter layer, or the child of a child of one.
    taken = [
        name
        for name, _ in model.named_modules()
        if name in layers or name.rpartition(".")[0].rpartition(".")[0] in layers
    ]
    taken += [name for name, _ in model.named_modules() if name.rpartition(".")[0] in layers]
    free = [end for end in ends if not any(name.endswith(end) for name in taken)]
    assert free, "modules_to_save cannot be tried: every norm of the model holds an adapter"
    return free[-1]


def target_modules(trial: Trial) -> None:
    """A list, a pattern and ``all-linear`` reach what they name, or are refused with an error that says why."""
    base = trial.make_model()
    usual = reached(trial.begin()[0])
    found = attempt(trial, sorted({name.rpartition(".")[2] for name in usual}))
    assert found is not None, "target_modules is refused as a list"
    assert found >= usual, f"target_modules as a list of ends of names misses {listed(sorted(usual - found))}"
    found = attempt(trial, "|".join(re.escape(name) for name in sorted(usual)))
    assert found == usual, "target_modules as a pattern does not reach exactly the modules it fits"
    head = base.get_output_embeddings()
    linear = {n for n, m in base.named_modules() if isinstance(m, (nn.Linear, Conv1D)) and m is not head}
    assert attempt(trial, "all-linear") in (linear, None), "all-linear is not every linear layer but the head"


def attempt(trial: Trial, target_modules: Any) -> set[str] | None:
    """The modules that two adapters with these targets reach; None where the tuner refuses them."""
    base, config = trial.make_model(), dataclasses.replace(trial.config, target_modules=target_modules)
    expected, given = trial.logits(base), f"with target_modules={target_modules!r}"
    try:
        model, _ = trial.begin(base, config)
    except REFUSALS as error:
        check_refusal(error, "target.modules")
        same(trial.logits(base), expected, f"{given} a refused adapter changes the model")
        return None
    same(trial.logits(model), expected, f"{given} the adapter changes the model")
    found = reached(model)
    try:
        model.add_adapter("other", copy.deepcopy(config))
    except REFUSALS as error:
        raise AssertionError(f"{given} a second adapter fails where the first did not: {error}") from error
    assert reached(model, "other") == found, f"{given} a second adapter goes elsewhere than the first"
    return found


def reached(model: Any, adapter_name: str = "default") -> set[str]:
    """Names of the modules that an adapter sits on, as the base model has them."""
    return {
        name.removeprefix("base_model.model.")
        for name, layer in model.named_modules()
        if isinstance(layer, BaseTunerLayer)
        and any(adapter_name in getattr(layer, container) for container in layer.adapter_layer_names)
    }


def layers_of(model: Any) -> list[str]:
    """Names of the layers that a tuner put into a model."""
    return [name for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]


def check_refusal(error: Exception, word: str) -> None:
    """Check that an error says what is refused."""
    assert re.search(word, str(error), re.IGNORECASE), f"a refusal must say why; got {type(error).__name__}: {error}"
