"""What torch's optimizers promise, kept where the numbers are generated; torch's own optimizers are the oracle.

A hash with more trained numbers than it generates gives each number one of its own: QPAOptimizer must then do exactly
what AdamW or SGD do, groups, rates, decay and missing gradients included.
"""

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainingArguments

from qpeft.errors import ConfigError, ModelError
from qpeft.qpa import QPAConfig, QPAOptimizer, load_generator, save_adapter
from tiny_models import tiny_llama

OWN = QPAConfig(n_mlp=8, widths=(64,), source="hash", scale=1.0, block_scale=False)
CIRCUIT = QPAConfig(n_mlp=8, widths=(4,))
SHAPES = ((3, 4), (5,), (2, 3))


def leaves() -> list[torch.nn.Parameter]:
    torch.manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def groups(params: list[torch.nn.Parameter], rates: tuple[float, ...], decay: float = 0.0) -> list[dict[str, Any]]:
    pairs = zip(params, rates, strict=True)
    return [{"params": [p], "lr": rate, "weight_decay": decay * k} for k, (p, rate) in enumerate(pairs)]


def train(params: list[torch.nn.Parameter], optimizer: Any, steps: int = 5, without: int | None = None) -> None:
    scheduler = LambdaLR(optimizer, lambda t: 0.8**t)
    for step in range(steps):
        optimizer.zero_grad()
        for place, p in enumerate(params):
            if not (place == without and step >= 2):
                ((p * (place + 1)).sin().sum() * (step + 1)).backward()
        optimizer.step()
        scheduler.step()


def make(kind: str, given: Any, config: QPAConfig = OWN, **options: Any) -> QPAOptimizer:
    return QPAOptimizer(given, config, inner=kind, inner_options=options)


@pytest.mark.parametrize("without", [None, 0, 1])
@pytest.mark.parametrize("rates", [(0.1, 0.1, 0.1), (0.1, 0.01, 0.003), (0.0, 0.1, 0.02)])
@pytest.mark.parametrize(("kind", "options"), [("adamw", {}), ("sgd", {}), ("sgd", {"momentum": 0.9})])
def test_with_a_number_for_each_number_it_is_torchs_own_step(
    kind: str, options: dict[str, Any], rates: tuple[float, ...], without: int | None
) -> None:
    mine, theirs = leaves(), leaves()
    train(mine, make(kind, groups(mine, rates, 0.2), **options), without=without)
    torch_kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[kind]
    other = torch_kind(groups(theirs, rates, 0.2), lr=1.0, **options)
    train(theirs, other, without=without)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def adapted(config: QPAConfig = CIRCUIT, **options: Any) -> tuple[Any, list[Any], QPAOptimizer]:
    torch.manual_seed(1)
    model = peft.get_peft_model(tiny_llama(), peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    with torch.no_grad():
        for _, p in named:
            p.normal_(std=0.1)  # else A has no gradient at first
    return model, named, QPAOptimizer(named, config, **options)


def learn(model: Any, optimizer: Any, ids: torch.Tensor, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()


def flat(optimizer: QPAOptimizer) -> torch.Tensor:
    """Everything that must not move: generator, moments, adapter."""
    moments = [v for state in optimizer.inner.state.values() for v in state.values() if torch.is_tensor(v)]
    held = [*optimizer.generator.parameters(), *moments, *optimizer._parameters()]
    return torch.cat([t.detach().flatten().float() for t in held]).clone()


def test_lora_plus_moves_b_by_its_ratio(ids: torch.Tensor) -> None:
    """One step from the same place: B moves as at its own rate, A a sixteenth of that."""
    moved = {}
    for ratio in (1.0, 16.0):
        model, named, _ = adapted()
        start = [p.detach().clone() for _, p in named]
        kinds = [[(n, p) for n, p in named if part in n] for part in ("lora_A", "lora_B")]
        rates = (1e-3 * 16 / ratio, 1e-3 * 16)
        optimizer = QPAOptimizer(
            [{"params": kind, "lr": rate} for kind, rate in zip(kinds, rates, strict=True)], CIRCUIT
        )
        learn(model, optimizer, ids, 1)
        moved[ratio] = [(p.detach() - s).norm() for (_, p), s in zip(named, start, strict=True)]
    is_a = ["lora_A" in n for n, _ in named]
    for a, one, sixteen in zip(is_a, moved[1.0], moved[16.0], strict=True):
        assert float(one / sixteen) == pytest.approx(16.0 if a else 1.0, rel=0.35)


def test_pefts_lora_plus_builds_it(ids: torch.Tensor) -> None:
    model, named, _ = adapted()
    before = [p.detach().clone() for _, p in named]
    optimizer = create_loraplus_optimizer(model, QPAOptimizer, lr=1e-3, loraplus_lr_ratio=16.0, config=CIRCUIT)
    learn(model, optimizer, ids)
    assert not any(torch.equal(p, old) for (_, p), old in zip(named, before, strict=True))


@pytest.mark.parametrize("preset", ["recommended", "released"])
def test_rate_zero_does_not_move(preset: str, ids: torch.Tensor) -> None:
    config = QPAConfig(n_mlp=8, preset=preset)
    model, named, _ = adapted()
    optimizer = QPAOptimizer(
        [{"params": named[:2], "lr": 0.0, "weight_decay": 0.5}, {"params": named[2:], "lr": 1e-2}], config
    )
    before = [p.detach().clone() for _, p in named]
    learn(model, optimizer, ids)
    assert [torch.equal(p, old) for (_, p), old in zip(named, before, strict=True)] == [True, True, False, False]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [p.detach().clone() for _, p in named]
    learn(model, optimizer, ids)
    assert all(torch.equal(p, old) for (_, p), old in zip(named, before, strict=True))


@pytest.mark.parametrize("preset", ["recommended", "released"])
def test_no_gradient_no_step_and_no_jump_after_it(preset: str, ids: torch.Tensor) -> None:
    model, named, optimizer = adapted(QPAConfig(n_mlp=8, preset=preset), lr=1e-2)
    learn(model, optimizer, ids)
    before, executions = flat(optimizer), optimizer.generator.executions
    optimizer.zero_grad()
    optimizer.step()
    assert torch.equal(flat(optimizer), before)
    assert optimizer.generator.executions == executions
    still = [p.detach().clone() for _, p in named[:2]]
    for _ in range(3):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        for _, p in named[:2]:
            p.grad = None
        optimizer.step()
    assert all(torch.equal(p, old) for (_, p), old in zip(named[:2], still, strict=True))
    optimizer.param_groups[0]["lr"] = 1e-9  # back in the generator, from where it stayed
    optimizer.generator.orders.manual_seed(0)
    if preset == "recommended":
        learn(model, optimizer, ids, 1)
        for (_, p), old in zip(named[:2], still, strict=True):
            torch.testing.assert_close(p.detach(), old, atol=1e-6, rtol=0)


def test_exports_equal_the_model_whatever_the_groups_did(ids: torch.Tensor, tmp_path: Path) -> None:
    model, named, _ = adapted()
    rates = [{"params": [pair], "lr": 10.0**-k, "weight_decay": 0.1} for k, pair in enumerate(named, start=1)]
    optimizer = QPAOptimizer(rates, CIRCUIT)
    learn(model, optimizer, ids)
    optimizer.param_groups[2]["lr"] = 0.0
    learn(model, optimizer, ids)
    assert_exported(model, optimizer, tmp_path / "adapter")


def assert_exported(model: Any, optimizer: QPAOptimizer, folder: Path, *, mean: bool = False) -> None:
    """File, generator beside it and model hold the same numbers."""
    save_adapter(model, folder, optimizer)
    generator, tensors, body = load_generator(folder)
    with torch.no_grad():
        values = tensors["offset"] + tensors["factors"] * generator(mean_basis=mean)
    written = load_file(folder / "adapter_model.safetensors")
    names = [n.replace(".default", "") for n, p in model.named_parameters() if p.requires_grad]
    for name, entry in zip(names, body["plan"], strict=True):
        part = values[entry["offset"] :][: torch.Size(entry["shape"]).numel()].view(entry["shape"])
        torch.testing.assert_close(part, written[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_gradient_that_is_not_finite_skips_the_step(bad: float, ids: torch.Tensor) -> None:
    model, named, optimizer = adapted(QPAConfig(n_mlp=8, preset="released"), lr=1e-2)
    learn(model, optimizer, ids)
    before = flat(optimizer)
    model(input_ids=ids, labels=ids).loss.backward()
    named[1][1].grad[0, 0] = bad
    with pytest.warns(UserWarning, match=rf"left out \(1 so far\): NaN or infinity in .*{named[1][0]}"):
        optimizer.step()
    assert torch.equal(flat(optimizer), before)
    assert optimizer.skipped == 1
    learn(model, optimizer, ids)
    assert torch.isfinite(flat(optimizer)).all()
    assert optimizer.skipped == 1
    _, _, resumed = adapted(QPAConfig(n_mlp=8, preset="released"), lr=1e-2)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.skipped == 1


def test_a_gradient_that_overflows_in_the_generator_skips_the_step(ids: torch.Tensor) -> None:
    model, named, optimizer = adapted(QPAConfig(n_mlp=8, scale=1e20), lr=1e-2)
    before = flat(optimizer)
    for _, p in named:
        p.grad = torch.full_like(p, 1e30)
    with pytest.warns(UserWarning, match="the gradient of the generator"):
        optimizer.step()
    assert torch.equal(flat(optimizer), before)
    learn(model, optimizer, ids, 1)
    assert torch.isfinite(flat(optimizer)).all()


def test_a_grad_scaler_works_with_it(ids: torch.Tensor) -> None:
    """Its own check comes first: a step with an overflow never reaches the optimizer, and the scale is halved."""
    model, named, optimizer = adapted(lr=1e-2)
    plain_model, _, plain = adapted(lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000)
    for step in range(3):
        optimizer.zero_grad()
        scaler.scale(model(input_ids=ids, labels=ids).loss).backward()
        if step == 1:
            named[0][1].grad.fill_(torch.inf)
        before = flat(optimizer)
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(before, flat(optimizer)) is (step == 1)
    assert scaler.get_scale() == 512.0
    learn(plain_model, plain, ids, 2)
    torch.testing.assert_close(optimizer.written, plain.written, atol=1e-6, rtol=1e-5)


def test_closures_hooks_and_sparse_gradients() -> None:
    weight = torch.nn.Parameter(torch.randn(6, 4))
    optimizer = QPAOptimizer([weight], CIRCUIT, lr=1e-2)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.embedding(torch.tensor([1, 4]), weight, sparse=True).square().sum()
        loss.backward()
        return loss.detach()

    losses = [float(optimizer.step(closure)) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert calls == ["before", "after"] * 20


def test_maximize_climbs() -> None:
    weight = torch.nn.Parameter(torch.zeros(4))
    optimizer = QPAOptimizer([weight], CIRCUIT, lr=1e-2, inner_options={"maximize": True})
    for _ in range(5):
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()
    assert weight.sum() > 0


@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_trains_on_as_the_original_does(how: Any, ids: torch.Tensor) -> None:
    model, _, optimizer = adapted(QPAConfig(n_mlp=8, preset="released"), lr=1e-2)
    learn(model, optimizer, ids)
    model.config.torch_dtype = None
    again, copied = how((model, optimizer))
    learn(model, optimizer, ids)
    learn(again, copied, ids)
    assert torch.equal(optimizer.written, copied.written)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (lambda p: [{"params": p, "betas": (0.8, 0.9)}], {}, "may set lr and weight_decay; got 'betas'"),
        (lambda p: [{"params": p, "lr": float("inf")}], {}, "lr of a parameter group must be a finite number"),
        (lambda p: [{"params": p, "lr": -1.0}], {}, "lr of a parameter group"),
        (lambda p: [{"params": p, "weight_decay": float("nan")}], {}, "weight_decay of a parameter group"),
        (lambda p: [p[0], p[0]], {}, "given once"),
        (lambda p: [{"params": p}, {"params": p[:1]}], {}, "given once"),
        (lambda p: p, {"lr": float("inf")}, "lr must be a finite number of at least 0; got inf"),
        (lambda p: p, {"lr": "fast"}, "lr must be a finite"),
        (lambda p: p, {"weight_decay": -0.1}, "weight_decay must be a finite"),
        (lambda p: p, {"inner_options": {"epz": 1.0}}, "got 'epz'; nearest: eps"),
        (lambda p: p, {"inner_options": {"differentiable": True}}, "got 'differentiable'"),
        (lambda p: p, {"inner_options": {"betas": (2.0, 0.9)}}, "cannot be used by AdamW"),
    ],
)
def test_what_cannot_be_honoured_is_refused(given: Any, options: dict[str, Any], message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConfigError, match=message):
            QPAOptimizer(given(leaves()), CIRCUIT, **options)


def test_groups_stay_as_they_were_built(ids: torch.Tensor) -> None:
    params = leaves()
    optimizer = QPAOptimizer([{"params": params[:2]}, {"params": []}], CIRCUIT)
    with pytest.raises(ConfigError, match="a group cannot be added"):
        optimizer.add_param_group({"params": params[2:]})
    params[0].sum().backward()
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ConfigError, match="lr of a parameter group"):
        optimizer.step()
    with pytest.raises(ModelError, match="no trainable tensor"):
        QPAOptimizer([], CIRCUIT)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (QPAConfig(n_mlp=16, widths=(4,)), {}, "n_mlp 16 there, 8 here"),
        (QPAConfig(n_mlp=8, widths=(4,), activation="tanh"), {}, "activation 'tanh' there, 'gelu' here"),
        (QPAConfig(n_mlp=8, widths=(4,), source="hash"), {}, "source 'hash' there"),
        (CIRCUIT, {"inner": "sgd"}, "moments"),
    ],
)
def test_a_state_of_another_generator_changes_nothing(config: QPAConfig, options: Any, message: str) -> None:
    other, own = QPAOptimizer(leaves(), config, **options), QPAOptimizer(leaves(), CIRCUIT)
    before, state = flat(own), other.state_dict()
    with pytest.raises(ConfigError, match=message):
        own.load_state_dict(state)
    if message == "moments":
        return
    del state["state"][0]["qpa"]["config"]  # as states were written before
    if "activation" not in message:
        with pytest.raises(ConfigError, match="n_mlp, widths"):
            own.load_state_dict(state)
        assert torch.equal(before, flat(own))


def test_a_state_of_other_tensors_is_refused() -> None:
    other = QPAOptimizer(leaves()[::-1], CIRCUIT)
    own = QPAOptimizer(leaves(), CIRCUIT)
    with pytest.raises(ConfigError, match=r"the state holds 6 numbers for tensor\.0, which has 12"):
        own.load_state_dict(other.state_dict())
    split = QPAOptimizer([{"params": leaves()[:1]}, {"params": leaves()[1:]}], CIRCUIT)
    with pytest.raises(ConfigError, match=r"groups of \[1, 2\] Parameters; the optimizer has groups of \[3\]"):
        own.load_state_dict(split.state_dict())


def test_a_state_serves_another_dtype() -> None:
    params = leaves()
    optimizer = QPAOptimizer(params, CIRCUIT)
    train(params, optimizer)
    half = [torch.nn.Parameter(p.detach().bfloat16() * 0) for p in leaves()]
    resumed = QPAOptimizer(half, CIRCUIT)
    resumed.load_state_dict(optimizer.state_dict())
    assert all(torch.equal(h, p.bfloat16()) for h, p in zip(half, params, strict=True))
    assert half[0].dtype == torch.bfloat16


@pytest.mark.parametrize("preset", ["recommended", "released"])
def test_the_trainer_loads_the_best_adapter_with_its_generator(preset: str, ids: torch.Tensor, tmp_path: Path) -> None:
    """The loss rises at this rate, so the best checkpoint is an early one."""
    config = QPAConfig(n_mlp=8, preset=preset, max_grad_norm=0.0)
    model, named, _ = adapted(config)
    rows = [{"input_ids": row, "labels": row} for row in ids]
    args = TrainingArguments(
        output_dir=str(tmp_path / "run"),
        max_steps=6,
        per_device_train_batch_size=2,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=1,
        save_steps=1,
        load_best_model_at_end=True,
        lr_scheduler_type="constant",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        weight_decay=0.01,
    )
    given = {"params": named, "config": config, "lr": 3.0}
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=rows,
        eval_dataset=rows,
        optimizer_cls_and_kwargs=(QPAOptimizer, given if preset == "released" else {"config": config, "lr": 3.0}),
    )
    trainer.train()
    best = Path(trainer.state.best_model_checkpoint)
    assert best.name != "checkpoint-6"
    optimizer = trainer.optimizer.optimizer
    _, _, reference = adapted(config)
    if preset == "recommended":  # the Trainer's two groups, decay and no decay
        reference = QPAOptimizer([{"params": p} for p in ([p for _, p in named], [])], config)
    reference.load_state_dict(torch.load(best / "optimizer.pt", weights_only=True))
    optimizer.finish()
    reference.finish()
    assert torch.equal(optimizer.written, reference.written)
    assert all(map(torch.equal, optimizer.generator.parameters(), reference.generator.parameters()))
    assert_exported(model, optimizer, tmp_path / "adapter", mean=preset == "released")


def test_another_adapter_without_its_generator_is_told(ids: torch.Tensor) -> None:
    model, named, optimizer = adapted(QPAConfig(n_mlp=8, preset="released"), lr=1e-2)
    learn(model, optimizer, ids)
    with torch.no_grad():
        for _, p in named:
            p.normal_()
    with pytest.raises(ConfigError, match="the adapter was replaced after the last step"):
        optimizer.finish()
