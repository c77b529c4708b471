"""gradient-variance: exact variances of the controls, the adapter of the optimizer, gradients by differences."""

from typing import Any

import pytest
import torch
from torch import nn

from qpeft.circuits import build_ansatz
from qpeft.qpa import QPAConfig, QPAOptimizer
from qpeft.records import StudyRow
from qpeft.training.studies.gradient_variance import GeneratedAdapter, Settings, draws, measure, of_control
from qpeft.training.studies.heads import Head, embedded_head, random_head
from qpeft.training.studies.slopes import slopes
from qpeft.training.studies.spread import mean_variance
from qpeft.training.studies.study import Found, silent

MANY = Settings(n_mlp=(1,), samples=20000)
SMALL = Settings(
    head="random",
    hidden_size=12,
    vocabulary=40,
    tokens=5,
    n_mlp=(16, 8, 4),
    depths=(1, 2),
    samples=12,
    resamples=100,
)


@pytest.fixture(scope="module")
def small() -> Found:
    return measure(SMALL, silent)


@pytest.fixture(scope="module")
def head() -> Head:
    return random_head(12, 40, 5, 4, 0)


@pytest.mark.parametrize(("n_qubits", "entangler"), [(1, "none"), (3, "none"), (4, "chain")])
def test_z_of_one_layer_has_variance_one_half(n_qubits: int, entangler: str) -> None:
    """<Z_0> = cos(theta_0), and a CNOT controlled by qubit 0 keeps it: Var sin = 1/2, and 0 for other angles."""
    circuit = build_ansatz("ry_cnot", n_qubits, 1, entangler)
    angles = draws(circuit, MANY)
    values, gradients = of_control("z_0", circuit, angles)
    torch.testing.assert_close(torch.from_numpy(values), angles[:, 0].cos())
    # The standard error of the mean of sin^2 is sqrt(1/8/20000) = 0.0025; allowed are four.
    assert mean_variance(gradients, 2).value * n_qubits == pytest.approx(0.5, abs=0.01)
    assert mean_variance(gradients[:, :1], 2).value == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("n_qubits", [2, 4])
def test_p_of_one_layer_has_the_product_variance(n_qubits: int) -> None:
    """p_0 is the product of cos(theta/2)^2: Var of its derivative is 1/8 (3/8)^(N-1), log2(3/8) = -1.415 a qubit."""
    circuit = build_ansatz("ry_cnot", n_qubits, 1)
    values, gradients = of_control("p_0", circuit, draws(circuit, MANY))
    exact = 0.125 * 0.375 ** (n_qubits - 1)
    assert mean_variance(gradients, 2).value == pytest.approx(exact, rel=0.06)
    assert values.mean() == pytest.approx(0.5**n_qubits, rel=0.06)


@pytest.mark.parametrize("preset", ["released", "recommended", "equations"])
def test_the_adapter_is_what_the_optimizer_writes(preset: str, head: Head) -> None:
    config = QPAConfig(n_mlp=8, preset=preset, depth=1)
    named = [(name, nn.Parameter(tensor.clone())) for name, tensor in head.tensors.items()]
    optimizer = QPAOptimizer(named, config)
    ours = GeneratedAdapter(head, config)
    angles = ours.angles.detach().clone()
    # Where the start is the identity, both must agree away from it, too.
    for values in (angles, angles + 0.3):
        with torch.no_grad():
            ours.angles.copy_(values)
            source = optimizer.generator.chunk_generators()[0].source
            assert source is not None
            source.angles.copy_(values)  # type: ignore[operator,union-attr]
            theirs = optimizer.offset + optimizer.factors * optimizer.generator()
            found = ours.offset + ours.factors * ours.generator()
        torch.testing.assert_close(found.float(), theirs, atol=2e-5, rtol=1e-3)


def test_the_loss_is_that_of_the_adapted_model(head: Head) -> None:
    """Against peft's own LoRA layer on the embedded model."""
    from peft import LoraConfig, get_peft_model

    from qpeft import load_base

    found = embedded_head(20, 4, 0)
    generator = torch.Generator().manual_seed(1)
    down, up = torch.randn(4, 256, generator=generator) / 16, torch.randn(4096, 4, generator=generator) / 16
    base = load_base("embedded")
    model = get_peft_model(base.model.cpu().eval(), LoraConfig(r=4, lora_alpha=8, target_modules=["lm_head"]))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data.copy_(down if "lora_A" in name else up)
    from qpeft.assets.texts import demo_texts

    ids: list[int] = []
    for text in demo_texts("train"):
        ids += base.tokenizer(text).input_ids
        if len(ids) > 20:
            break
    row = torch.tensor([ids[:21]])
    with torch.no_grad():
        theirs = model(input_ids=row, labels=row).loss
    assert found.loss(down.double(), up.double()).item() == pytest.approx(theirs.item(), rel=1e-5)
    assert found.m == 4 * (256 + 4096)


@pytest.mark.parametrize("preset", ["released", "recommended"])
def test_the_gradient_is_that_of_differences(preset: str, head: Head) -> None:
    adapter = GeneratedAdapter(head, QPAConfig(n_mlp=8, preset=preset, depth=2))
    angles = torch.linspace(-2, 2, adapter.angles.numel(), dtype=torch.float64)
    _, gradient = adapter.gradient(angles)
    step = 1e-6
    for index in range(0, len(angles), 3):
        move = torch.zeros_like(angles)
        move[index] = step
        ahead, behind = adapter.gradient(angles + move)[0], adapter.gradient(angles - move)[0]
        assert gradient[index].item() == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-9)


def test_the_mapping_is_one_for_every_depth(head: Head) -> None:
    shallow, deep = (GeneratedAdapter(head, QPAConfig(n_mlp=8, preset="released", depth=d)) for d in (1, 6))
    (a,), (b,) = shallow.generator.chunk_generators(), deep.generator.chunk_generators()
    assert torch.equal(a.order, b.order)
    for ours, theirs in zip(a.mapping.parameters(), b.mapping.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert (shallow.angles.numel(), deep.angles.numel()) == (5, 30)


def test_rows_and_their_order(small: Found) -> None:
    assert len(small.rows) == 3 * 2 * 4 * 2  # sizes, depths, losses, layers
    assert {row["n_qubits"] for row in small.rows} == {4, 5, 6}
    for row in small.rows:
        low, middle, high = (float(row[key] or 0) for key in ("abs_q05", "abs_median", "abs_q95"))
        assert low <= middle <= high
        assert float(row["variance_low"] or 0) <= float(row["variance_high"] or 0)
    of_depth_1 = [row for row in small.rows if row["depth"] == 1 and row["loss"] == "model"]
    for first, every in zip(of_depth_1[::2], of_depth_1[1::2], strict=True):
        assert (first["layers"], every["layers"]) == ("first", "all")
        assert first["variance"] == every["variance"], "with one layer, first and all are the same"
    assert small.rows == measure(SMALL, silent).rows, "everything random comes from the seed"
    assert small.model["m"] == 208


def test_heavy_tails_are_told(small: Found) -> None:
    assert any("heavy tails" in note for note in small.notes)
    light = measure(SMALL.model_copy(update={"n_mlp": (16,), "depths": (1,), "presets": ()}), silent)
    assert light.rows


def test_slopes_find_a_power_law() -> None:
    rows: list[StudyRow] = [
        {
            **{"loss": "model", "preset": "released", "layers": "all", "n_qubits": n, "depth": depth},
            **{"variance": 2.0**-n * depth**-3.0, "abs_median": 2.0**-n, "normalised": None},
        }
        for n in (5, 6, 7)
        for depth in (1, 2, 4)
    ]
    found: dict[Any, StudyRow] = {(row["fit"], row["depth"], row["n_qubits"]): row for row in slopes(rows)}
    assert found["log2 variance per qubit", 2, None]["slope"] == pytest.approx(-1)
    assert found["log2 variance per doubling of L", None, 6]["slope"] == pytest.approx(-3)
    assert found["log2 abs_median^2 per qubit", 4, None]["slope"] == pytest.approx(-2)
    assert not any("normalised" in str(row["fit"]) for row in found.values())
