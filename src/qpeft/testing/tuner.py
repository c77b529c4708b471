"""The contract of a tuner: what peft, transformers and users expect of a method, one function a promise.

``check_tuner`` tries all of them; each function of ``PARTS`` also works alone on a ``Trial``.
"""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from qpeft.errors import QpeftError
from qpeft.testing.fresh import WAYS, Saved, load_afresh
from qpeft.testing.trial import STEPS, Trial, adamw, close, listed, parameters, same
from qpeft.tuners._peft import BaseTunerLayer

# Errors that refuse on purpose; others are crashes.
REFUSALS = (QpeftError, ValueError, TypeError, NotImplementedError)
NEW_TOKENS = 6


def check_tuner(make_model: Callable[[], Any], config: Any, batch: dict[str, Tensor], folder: Path) -> None:
    """Try every promise of ``PARTS`` on a tuner.

    Args:
        make_model: Builds the same base model at each call: a small causal language model of transformers, float32.
        config: The tuner's peft config, with ``task_type="CAUSAL_LM"``.
        batch: ``input_ids`` (B, T); ``attention_mask`` (B, T) where some rows are padded on the left.
        folder: An empty folder.

    Raises:
        AssertionError: One line for each broken promise.
    """
    trial = Trial(make_model, config, batch, folder)
    reasons = {name: broken(part, trial) for name, part in PARTS.items()}
    lines = [f"{name}: {reason}" for name, reason in reasons.items() if reason is not None]
    assert not lines, "\n".join(lines)


def broken(part: Callable[[Trial], None], trial: Trial) -> str | None:
    """Why a promise does not hold, or None; an error of any library counts as a broken promise."""
    try:
        part(trial)
    except AssertionError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def identity(trial: Trial) -> None:
    """Before training the model computes bit for bit what the base model does."""
    base = trial.logits(trial.make_model())
    assert torch.equal(base, trial.logits(trial.make_model())), "make_model must build the same model at each call"
    same(trial.logits(trial.begin()[0]), base, "the adapter changes the model before training")


def training(trial: Trial) -> None:
    """The loss falls, a gradient reaches every Parameter of the adapter, the base model stays as it is."""
    model, optimizer = trial.begin()
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    before = trial.quality(model)
    reached = trial.steps(model, optimizer, STEPS)
    silent = [name for name, p in model.named_parameters() if p.requires_grad and name not in reached]
    assert not silent, f"no gradient reaches {listed(silent)}"
    after = trial.quality(model)
    assert after < before, f"the loss does not fall: {before} before, {after} after {STEPS} steps"
    moved = [name for name, p in model.named_parameters() if name in frozen and not torch.equal(p, frozen[name])]
    assert not moved, f"training changes frozen numbers: {listed(moved)}"


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
    model.add_adapter(dataclasses.replace(trial.config))
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
    left = [name for name, module in bare.named_modules() if isinstance(module, BaseTunerLayer)]
    assert not left, f"unload leaves layers of the tuner: {listed(left)}"


def two_adapters(trial: Trial) -> None:
    """A second adapter starts as the base model, trains without touching the first, and can be switched and deleted."""
    base, model = trial.logits(trial.make_model()), trial.trained()
    first = trial.logits(model)
    model.add_adapter("other", dataclasses.replace(trial.config))
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


def checkpointing(trial: Trial) -> None:
    """Gradient checkpointing of both kinds runs, computes things twice, and leaves every gradient as it is."""
    model = trial.trained()
    plain, calls = trial.gradients(model)
    for reentrant in (False, True):
        kind = f"gradient checkpointing with use_reentrant={reentrant}"
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        found, more = trial.gradients(model)
        assert more > calls, f"{kind} computes nothing twice"
        assert found.keys() == plain.keys(), f"{kind} loses gradients: {listed(sorted(plain.keys() - found.keys()))}"
        wrong = [name for name in plain if not torch.equal(found[name], plain[name])]
        assert not wrong, f"{kind} changes gradients: {listed(wrong)}"


def generation(trial: Trial) -> None:
    """``generate`` gives the same tokens and logits with and without the cache, and uses the adapter."""
    model = trial.trained()
    options = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
    results = [
        model.generate(**trial.batch, **options, use_cache=cache, output_logits=True, return_dict_in_generate=True)
        for cache in (True, False)
    ]
    first, *_ = results[0].logits
    close(first, trial.logits(model)[:, -1], "generate starts from other logits than the model computes")
    cached, plain = (torch.stack(result.logits) for result in results)
    close(cached, plain, "generate gives other logits with the cache than without")
    assert torch.equal(results[0].sequences, results[1].sequences), "generate gives other tokens with the cache"


def bfloat16(trial: Trial) -> None:
    """On a bfloat16 base, and on a float32 base under autocast, the model starts as the base and learns."""

    def half() -> Any:
        return trial.make_model().to(torch.bfloat16)

    learns(trial, half, "a bfloat16 base")
    device = next(trial.make_model().parameters()).device.type
    with torch.autocast(device, dtype=torch.bfloat16):
        learns(trial, trial.make_model, "bfloat16 autocast")


def learns(trial: Trial, make: Callable[[], Any], where: str) -> None:
    """Identity at the start, finite logits and a falling loss on a certain base."""
    model, optimizer = trial.begin(make())
    same(trial.logits(model), trial.logits(make()), f"with {where} the adapter changes the model before training")
    before = trial.quality(model)
    trial.steps(model, optimizer, STEPS)
    assert bool(trial.logits(model).isfinite().all()), f"with {where} logits are not finite after {STEPS} steps"
    assert trial.quality(model) < before, f"with {where} the loss does not fall"


def merging(trial: Trial) -> None:
    """Merging computes the same and can be undone, or is refused with an error that says so and changes nothing."""
    model = trial.trained()
    expected = trial.logits(model)
    try:
        model.merge_adapter()
    except REFUSALS as error:
        check_refusal(error, "merg")
        same(trial.logits(model), expected, "a refused merge changes the model")
        try:
            model.merge_and_unload()
        except REFUSALS as again:
            check_refusal(again, "merg")
        else:
            raise AssertionError("merge_adapter is refused, merge_and_unload is not")
        same(trial.logits(model), expected, "a refused merge changes the model")
        return
    close(trial.logits(model), expected, "merge_adapter changes what the model computes")
    with model.disable_adapter():
        close(trial.logits(model), trial.logits(trial.make_model()), "a merged adapter cannot be disabled")
    model.unmerge_adapter()
    close(trial.logits(model), expected, "unmerge_adapter does not bring the adapter back")
    merged = trial.trained().merge_and_unload()
    left = [name for name, module in merged.named_modules() if isinstance(module, BaseTunerLayer)]
    assert not left, f"merge_and_unload leaves layers of the tuner: {listed(left)}"
    close(trial.logits(merged), expected, "merge_and_unload changes what the model computes")


def modules_to_save(trial: Trial) -> None:
    """A module of ``modules_to_save`` is trained as a whole, saved, loaded and switched off with the adapter."""
    base, layers = trial.make_model(), reached(trial.begin()[0])
    norms = [name for name, module in base.named_modules() if [p.dim() for p in parameters(module)] in ([1], [1, 1])]
    ends = [name.rpartition(".")[2] for name in norms]
    free = [end for end in ends if not any(name.endswith(end) for name in layers)]
    assert free, "modules_to_save cannot be tried: the model has no norm without an adapter"
    place = dataclasses.replace(trial, folder=trial.folder / "modules_to_save")
    saved, expected = save(place, dataclasses.replace(trial.config, modules_to_save=free[-1:]))
    with safe_open(Path(saved.adapter) / "adapter_model.safetensors", "pt") as file:
        assert any(f"{free[-1]}.weight" in key for key in file.keys()), "modules_to_save are not saved"
    loaded = WAYS["PeftModel.from_pretrained"](saved)
    same(trial.logits(loaded), expected, "modules_to_save are not loaded as they were saved")
    with loaded.disable_adapter():
        same(trial.logits(loaded), trial.logits(base), "disable_adapter leaves modules_to_save switched on")


def target_modules(trial: Trial) -> None:
    """A list, a pattern and ``all-linear`` reach what they name, or are refused with an error that says why."""
    base = trial.make_model()
    expected, usual = trial.logits(base), reached(trial.begin()[0])
    found = attempt(trial, sorted({name.rpartition(".")[2] for name in usual}))
    assert found is not None and found >= usual, "target_modules as a list of ends of names misses modules"
    found = attempt(trial, "|".join(re.escape(name) for name in sorted(usual)))
    assert found == usual, "target_modules as a pattern reaches other modules than those it fits"
    head = base.get_output_embeddings()
    linear = {n for n, m in base.named_modules() if isinstance(m, (nn.Linear, Conv1D)) and m is not head}
    assert attempt(trial, "all-linear") in (linear, None), "all-linear reaches other modules than linear layers"
    same(trial.logits(base), expected, "a tuner changes a base model it was not put on")


def attempt(trial: Trial, target_modules: Any) -> set[str] | None:
    """The modules that two adapters with these targets reach; None where the tuner refuses them."""
    base, config = trial.make_model(), dataclasses.replace(trial.config, target_modules=target_modules)
    expected = trial.logits(base)
    try:
        model, _ = trial.begin(base, config)
    except REFUSALS as error:
        check_refusal(error, "target.modules")
        same(trial.logits(base), expected, "a refused adapter changes the model")
        return None
    same(trial.logits(model), expected, f"with target_modules={target_modules!r} the adapter changes the model")
    found = reached(model)
    model.add_adapter("other", dataclasses.replace(config))
    assert reached(model, "other") == found, f"a second adapter with target_modules={target_modules!r} goes elsewhere"
    return found


def reached(model: Any, adapter_name: str = "default") -> set[str]:
    """Names of the modules that an adapter sits on, as the base model has them."""
    return {
        name.removeprefix("base_model.model.")
        for name, layer in model.named_modules()
        if isinstance(layer, BaseTunerLayer)
        and any(adapter_name in getattr(layer, container) for container in layer.adapter_layer_names)
    }


def check_refusal(error: Exception, word: str) -> None:
    """Check that an error says what is refused."""
    assert re.search(word, str(error), re.IGNORECASE), f"a refusal must say why; got {type(error).__name__}: {error}"


PARTS: dict[str, Callable[[Trial], None]] = {
    "identity": identity,
    "training": training,
    "saving": saving,
    "transformers calls": transformers_calls,
    "disabling": disabling,
    "two adapters": two_adapters,
    "checkpointing": checkpointing,
    "generation": generation,
    "bfloat16": bfloat16,
    "merging": merging,
    "modules_to_save": modules_to_save,
    "target_modules": target_modules,
}
