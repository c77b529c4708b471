"""The contract of a tuner: ours pass it, peft's own LoRA passes it, planted faults do not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from qpeft.testing import PARTS, Trial, broken, check_tuner
from qpeft.testing.fresh import WAYS, load_afresh
from qpeft.testing.handling import check_loaded, save
from qpeft.tuners import CoreConfig, FFAConfig, HeadPrefixConfig, QAAConfig, SoraConfig
from qpeft.tuners._residual import ResidualLayer, ResidualModel
from qpeft.tuners.ffa.layer import FFADelta
from qpeft.tuners.ffa.model import FFALayer, FFAModel
from qpeft.tuners.qaa.layer import QAADelta
from qpeft.tuners.sora.layer import SoraLinear
from tiny_families import FAMILIES
from tiny_models import tiny_llama

MODELS: dict[str, Callable[..., Any]] = {"llama": tiny_llama, "gpt2": FAMILIES["gpt2"]}
TASK = {"task_type": "CAUSAL_LM"}
CONFIGS: dict[str, Callable[[], Any]] = {
    "core": lambda: CoreConfig(r=4, basis="weight", **TASK),
    "ffa": lambda: FFAConfig(**TASK),
    "headprefix": lambda: HeadPrefixConfig(num_positions=32, **TASK),
    "qaa": lambda: QAAConfig(**TASK),
    "sora": lambda: SoraConfig(r=4, **TASK),
    # The oracle: what the contract asks for must be what peft does.
    "lora": lambda: peft.LoraConfig(r=4, **TASK),
}
# What peft and transformers warn about.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def batch(ids: Tensor) -> dict[str, Tensor]:
    """Two rows, the second padded on the left."""
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("part", [name for name in PARTS if name != "saving"])
@pytest.mark.parametrize("tuner", list(CONFIGS))
@pytest.mark.parametrize("model", list(MODELS))
def test_promise(model: str, tuner: str, part: str, batch: dict[str, Tensor], tmp_path: Path) -> None:
    PARTS[part](Trial(MODELS[model], CONFIGS[tuner](), batch, tmp_path))


def test_every_tuner_is_loaded_in_a_fresh_process(batch: dict[str, Tensor], tmp_path: Path) -> None:
    """The part ``saving``, with one process for all."""
    cases = [(model, tuner) for model in MODELS for tuner in CONFIGS]
    saved = [save(Trial(MODELS[m], CONFIGS[t](), batch, tmp_path / m / t)) for m, t in cases]
    loaded = load_afresh([item for item, _ in saved], tmp_path / "fresh")
    for case, found, (_, expected) in zip(cases, loaded, saved, strict=True):
        assert list(found) == list(WAYS), case
        check_loaded(found, expected)


def test_the_whole_contract_as_an_author_calls_it(ids: Tensor, tmp_path: Path) -> None:
    check_tuner(tiny_llama, CONFIGS["qaa"](), {"input_ids": ids}, tmp_path)


def test_all_broken_promises_are_told(ids: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt method is no tuner in this sense."""
    monkeypatch.delitem(PARTS, "saving")
    config = peft.PrefixTuningConfig(num_virtual_tokens=4, **TASK)
    with pytest.raises(AssertionError) as caught:
        check_tuner(tiny_llama, config, {"input_ids": ids}, tmp_path)
    told = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert {"identity", "transformers calls", "checkpointing", "merging"} <= set(told)
    assert "training" not in told
    assert "generation" not in told


def plant_delta(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[pytest.MonkeyPatch], None]:
    """A fault in the update of FFA, as a function of the module's output and the right update."""
    right = FFADelta.forward
    return lambda patch: patch.setattr(FFADelta, "forward", lambda self, x: change(x, right(self, x)))


def plant(owner: type, name: str, wrong: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(owner, name, wrong)


def merges_nothing(self: SoraLinear, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
    self.merged_adapters.append("default")


def unmerges_nothing(self: SoraLinear) -> None:
    self.merged_adapters.clear()


def forgets_modules_to_save(self: Any) -> None:
    RIGHT_POST_INIT(self)
    self.modules_to_save = None


def refuses_without_a_word(*args: Any, **kwargs: Any) -> None:
    raise ValueError("no")


def only_attention(config: Any, key: str) -> bool:
    return key.endswith("self_attn")


def forgotten_buffer(self: nn.Module, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
    nn.Module.register_buffer(self, name, tensor, persistent=False)


class Counting:
    """Another update at each call, as a tuner with hidden state would give."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor, update: Tensor) -> Tensor:
        self.calls += 1
        return update * (1 + self.calls % 7)


RIGHT_POST_INIT = FFAConfig.__post_init__
FROZEN = lambda: QAAConfig(source="frozen", **TASK)  # noqa: E731
# Part -> planted fault, config, what the contract says.
FAULTS: list[tuple[str, Callable[[pytest.MonkeyPatch], None], Callable[[], Any], str]] = [
    ("identity", plant_delta(lambda x, d: d + 1e-6), CONFIGS["ffa"], "changes the model before training"),
    ("training", plant_delta(lambda x, d: d.detach() + 0 * d), CONFIGS["ffa"], "no gradient reaches"),
    (
        "training",
        plant(ResidualModel, "_mark_only_adapters_as_trainable", lambda self, model: None),
        CONFIGS["ffa"],
        "training changes the base model",
    ),
    ("checkpointing", plant_delta(Counting()), CONFIGS["ffa"], "changes gradients"),
    (
        "generation",
        plant_delta(lambda x, d: d * x.shape[1]),
        CONFIGS["ffa"],
        "other logits than the model on whole rows",
    ),
    (
        "generation without cache",
        plant_delta(lambda x, d: d * x.shape[1]),
        CONFIGS["ffa"],
        "other logits than with it",
    ),
    (
        "bfloat16",
        plant_delta(lambda x, d: d + (x.dtype == torch.bfloat16)),
        CONFIGS["ffa"],
        "with a bfloat16 base the start is not bit for bit",
    ),
    (
        "bfloat16",
        plant_delta(lambda x, d: d + torch.is_autocast_enabled("cpu")),
        CONFIGS["ffa"],
        "with bfloat16 autocast the start is not bit for bit",
    ),
    (
        "disabling",
        plant(ResidualLayer, "enable_adapters", lambda self, enabled: None),
        CONFIGS["ffa"],
        "disable_adapter does not restore the base model",
    ),
    (
        "two adapters",
        plant(ResidualLayer, "active_deltas", lambda self: list(self.deltas.values())),
        CONFIGS["ffa"],
        "a second adapter does not start as the base model",
    ),
    ("merging", plant(SoraLinear, "merge", merges_nothing), CONFIGS["sora"], "merge_adapter changes what"),
    (
        "merging",
        plant(SoraLinear, "unmerge", unmerges_nothing),
        CONFIGS["sora"],
        "a merged adapter cannot be disabled",
    ),
    ("merging", plant(ResidualModel, "_check_merge_allowed", refuses_without_a_word), CONFIGS["ffa"], "must say why"),
    ("modules_to_save", plant(FFAConfig, "__post_init__", forgets_modules_to_save), CONFIGS["ffa"], "are not saved"),
    (
        "target_modules",
        plant(FFAModel, "_check_target_module_exists", staticmethod(only_attention)),
        lambda: FFAConfig(target_modules=r".*\.self_attn", **TASK),
        "all-linear is not every linear layer but the head",
    ),
    (
        "target_modules",
        plant(FFAModel, "linear_layer_cls", FFALayer),
        CONFIGS["ffa"],
        "a second adapter fails where the first did not",
    ),
    (
        "transformers calls",
        plant(QAADelta, "register_buffer", forgotten_buffer),
        FROZEN,
        "load_adapter of transformers loads something else",
    ),
]


@pytest.mark.parametrize(("part", "fault", "config", "words"), FAULTS, ids=[f"{f[0]}: {f[3]}" for f in FAULTS])
def test_a_planted_fault_is_found(
    part: str,
    fault: Callable[[pytest.MonkeyPatch], None],
    config: Callable[[], Any],
    words: str,
    batch: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = Trial(tiny_llama, config(), batch, tmp_path)
    assert broken(PARTS[part], trial) is None, "the promise holds without the fault"
    fault(monkeypatch)
    reason = broken(PARTS[part], trial)
    assert reason is not None
    assert words in reason


def test_an_adapter_that_is_saved_wrong_is_found(batch: dict[str, Tensor], tmp_path: Path) -> None:
    saved, expected = save(Trial(tiny_llama, CONFIGS["ffa"](), batch, tmp_path))
    with pytest.raises(AssertionError, match="load_adapter in a fresh process loads something else"):
        check_loaded({"model.load_adapter": expected + 1e-6}, expected)
    with pytest.raises(AssertionError, match="low_cpu_mem_usage=True fails in a fresh process: KeyError"):
        check_loaded({"low_cpu_mem_usage=True": "KeyError: 'FFA'"}, expected)
    # Without the package that makes the type known nothing can be loaded.
    found = load_afresh([saved], tmp_path / "fresh", ["PeftModel.from_pretrained"], imports=["peft"])
    assert found[0]["PeftModel.from_pretrained"] == "KeyError: 'FFA'"


def test_checkpointing_that_computes_nothing_twice_is_found(batch: dict[str, Tensor], tmp_path: Path) -> None:
    def without_checkpointing() -> Any:
        model = tiny_llama()
        model.gradient_checkpointing_enable = lambda gradient_checkpointing_kwargs: None
        return model

    reason = broken(PARTS["checkpointing"], Trial(without_checkpointing, CONFIGS["ffa"](), batch, tmp_path))
    assert reason == "gradient checkpointing with use_reentrant=False computes nothing twice"


def test_a_base_model_that_differs_at_each_call_is_found(batch: dict[str, Tensor], tmp_path: Path) -> None:
    calls = iter(range(100))
    trial = Trial(lambda: tiny_llama(rms_norm_eps=1e-6 * (1 + next(calls))), CONFIGS["ffa"](), batch, tmp_path)
    assert broken(PARTS["identity"], trial) == "make_model must build the same model at each call"


def test_rounding_is_told_from_wrong_gradients(batch: dict[str, Tensor], tmp_path: Path) -> None:
    """The head's weights are moved by a few units in the last place when checkpointing is turned on."""

    def rounds_otherwise() -> Any:
        model = tiny_llama()
        enable, head = model.gradient_checkpointing_enable, model.get_output_embeddings().weight

        def moved(**options: Any) -> None:
            enable(**options)
            head.data.mul_(1 + 2**-21)

        model.gradient_checkpointing_enable = moved
        return model

    reason = broken(PARTS["checkpointing"], Trial(rounds_otherwise, CONFIGS["lora"](), batch, tmp_path))
    assert reason is not None
    assert "changes gradients by rounding" in reason


@pytest.mark.parametrize("family", ["gptj", "gpt_neo", "codegen"])
def test_a_cache_is_not_taken_for_checkpointing(family: str, batch: dict[str, Tensor], tmp_path: Path) -> None:
    """Their attention over the cache's copies rounds otherwise on some processors; checkpointing has no cache."""
    assert broken(PARTS["checkpointing"], Trial(FAMILIES[family], CONFIGS["lora"](), batch, tmp_path)) is None


def test_a_linear_layer_that_chooses_experts_is_refused(batch: dict[str, Tensor], tmp_path: Path) -> None:
    """Its result goes nowhere, so an update of it would train nothing."""
    config = SoraConfig(target_modules="all-linear", **TASK)
    reason = broken(PARTS["identity"], Trial(FAMILIES["phimoe"], config, batch, tmp_path))
    assert reason is not None
    assert re.fullmatch("ModelError: PhimoeTopKRouter is a linear layer .* name it in exclude_modules", reason)
    config = SoraConfig(target_modules="all-linear", exclude_modules=r".*\.router", **TASK)
    assert broken(PARTS["training"], Trial(FAMILIES["phimoe"], config, batch, tmp_path)) is None
