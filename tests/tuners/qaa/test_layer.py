"""QAADelta: its formula, its shapes in every setting, its twins, and the numbers it keeps and trains."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from qpeft.circuits import angles_per_layer, build_ansatz
from qpeft.errors import ConfigError
from qpeft.quantum import amplitude_embed
from qpeft.tuners import QAAConfig, QAADelta
from qpeft.tuners.qaa.config import PRESETS, SOURCES, WIDTHS

D, OTHER, N = 24, 40, 5  # widths of 5 and 6 qubits


def delta(d_in: int = D, d_out: int = D, seed: int = 0, **options: Any) -> QAADelta:
    torch.manual_seed(seed)
    return QAADelta(QAAConfig(**{"init_weights": False, **options}), d_in, d_out)


def hidden(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trained(module: QAADelta) -> dict[str, int]:
    return {name: parameter.numel() for name, parameter in module.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("ansatz", ["ry_cnot", "rx_cnot", "rxrz_cnot", "ryrz_cnot"])
@pytest.mark.parametrize("entangler", ["chain", "ring", "all_to_all", "none"])
@pytest.mark.parametrize("readout", ["pauli_z", "probabilities"])
@pytest.mark.parametrize("wires", [None, [3, 0]])
def test_every_setting_runs_and_has_its_shape(
    ansatz: str, entangler: str, readout: str, wires: list[int] | None
) -> None:
    k = N if wires is None else 2
    for width, insertion, (d_in, d_out) in itertools.product(
        WIDTHS, ("after", "parallel", "before"), ((D, D), (D, OTHER))
    ):
        module = delta(
            d_in, d_out, ansatz=ansatz, entangler=entangler, readout=readout, wires=wires, width=width, depth=2
        )
        features = k if readout == "pauli_z" else 2**k
        rows = {"model": d_out, "padded": 2 ** math.ceil(math.log2(d_out))}[width]
        assert trained(module) == {"angles": 2 * angles_per_layer(ansatz, N), "up": features * rows}, insertion
        x = hidden(2, 3, d_in).requires_grad_()
        update = module(x)
        assert update.shape == (2, 3, d_out)
        update.square().sum().backward()
        for tensor in (x, *module.parameters()):
            assert tensor.grad is not None
            assert tensor.grad.isfinite().all()
            assert tensor.grad.abs().max() > 0


@pytest.mark.parametrize("ansatz", ["ry_crz", "brickwork", "two_local:rotations=p+h,gate=rbs,entangler=star"])
def test_any_family_with_its_own_entangler(ansatz: str) -> None:
    module = delta(ansatz=ansatz, depth=2)
    assert module.angles.numel() == build_ansatz(ansatz, N, 2).n_parameters
    twin = delta(ansatz=ansatz, depth=2, source="no_entangler")
    assert all(len(operation.wires) == 1 for operation in twin.read.circuit.operations)
    module(hidden(2, D)).square().sum().backward()
    assert module.angles.grad is not None
    assert module.angles.grad.isfinite().all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("up_bias", [False, True])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_update_is_scale_times_the_mixed_readings(width: str, up_bias: bool, scale: float | None) -> None:
    module = delta(width=width, up_bias=up_bias, scale=scale, preset="recommended")
    if up_bias:
        assert module.bias is not None
        torch.nn.init.normal_(module.bias)
    x = hidden(6, D)
    z = module.read(x.double(), module.angles.double())
    factor = math.sqrt(2**N) if scale is None else scale
    expected = factor * z @ module.up.double()[:, :D] + (module.bias.double()[:D] if module.bias is not None else 0)
    torch.testing.assert_close(module(x), expected.float(), atol=1e-4, rtol=1e-5)


def test_what_padding_adds_is_never_trained() -> None:
    module = delta(width="padded", up_bias=True)
    module(hidden(6, D)).sum().backward()
    for parameter in (module.up, module.bias):
        assert parameter is not None
        assert parameter.grad is not None
        assert parameter.grad[..., :D].abs().min() > 0
        assert not parameter.grad[..., D:].any()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("preset", PRESETS)
def test_starts_at_zero_and_moves_once_the_readings_are_mixed(source: str, preset: str) -> None:
    module = QAADelta(QAAConfig(preset=preset, source=source), D, D)
    assert not module(hidden(6, D)).any()
    module(hidden(6, D)).sum().backward()
    assert module.up.grad is not None
    assert module.up.grad[:, :D].abs().max() > 0


@pytest.mark.parametrize("d", [32, 768])
@pytest.mark.parametrize("source", SOURCES)
def test_twins_read_numbers_of_the_size_the_circuit_reads(source: str, d: int) -> None:
    """Else a comparison of twins would compare their scales: every reading varies by about 1/sqrt(2^n)."""
    module = delta(d, d, source=source, depth=2, ansatz="ry_cnot")
    spread = module.features(hidden(2000, d)).std(0) * 2 ** (module.read.circuit.n_qubits / 2)
    assert 0.5 < spread.mean().item() < 2.5


@pytest.mark.parametrize("source", SOURCES)
def test_ranges_of_the_readings(source: str) -> None:
    for readout, low in (("pauli_z", -1.0), ("probabilities", 0.0)):
        z = delta(source=source, readout=readout).features(hidden(50, D))
        assert z.shape == (50, N if readout == "pauli_z" else 2**N)
        if source in ("circuit", "frozen", "no_entangler"):
            assert low - 1e-6 <= z.min() <= z.max() <= 1 + 1e-6
        if readout == "probabilities" and source == "circuit":
            torch.testing.assert_close(z.sum(-1), torch.ones(50))
        if source == "mlp":
            assert z.abs().max() <= 1 / math.sqrt(D)


def test_counts_of_the_twins() -> None:
    counts = {source: trained(delta(source=source, depth=1)) for source in SOURCES}
    up = {"up": N * D}
    assert counts["circuit"] == counts["no_entangler"] == {"angles": N, **up}
    assert counts["frozen"] == counts["quadratic"] == up
    assert counts["mlp"] == {"slopes": N, **up}
    assert counts["linear"] == {"down": D * N, **up}


def test_twin_without_entangler_reads_each_qubit_alone() -> None:
    module = delta(source="no_entangler", entangler="ring", depth=1, ansatz="rx_cnot")
    alone = delta(source="circuit", entangler="none", depth=1, ansatz="rx_cnot")
    x = hidden(6, D)
    assert torch.equal(module(x), alone(x))
    z_by_hand = amplitude_embed(x, N).square().view(-1, *(2,) * N)
    first = z_by_hand.sum(tuple(range(2, N + 1))) @ torch.tensor([1.0, -1.0])
    torch.testing.assert_close(module.features(x)[:, 0], module.angles[0].cos() * first)


def test_frozen_starts_where_the_circuit_starts() -> None:
    circuit, frozen = delta(source="circuit"), delta(source="frozen")
    assert torch.equal(circuit.angles, frozen.angles)
    assert torch.equal(circuit(hidden(3, D)), frozen(hidden(3, D)))
    assert "angles" in dict(frozen.named_buffers())


@pytest.mark.parametrize("source", SOURCES)
def test_zero_tiny_and_huge_hidden_states(source: str) -> None:
    module = delta(source=source)
    x = hidden(3, D)
    for scale in (1e-15, 1e30):
        torch.testing.assert_close(module(scale * x), module(x), atol=1e-4, rtol=1e-4)
    for scale in (0.0, 1e-30):
        still = (scale * x).requires_grad_()
        update = module(still)
        update.sum().backward()
        assert not update.any()
        assert still.grad is not None
        assert not still.grad.any()


@pytest.mark.parametrize("source", SOURCES)
def test_gradient_to_the_hidden_state_equals_finite_differences(source: str) -> None:
    module = delta(d_in=6, d_out=6, source=source, scale=1.0)
    x, cotangent = hidden(4, 6), hidden(4, 6, seed=2)
    leaf = x.clone().requires_grad_()
    module(leaf).backward(cotangent)
    step = 1e-2
    for place in itertools.product(range(4), range(6)):
        shift = torch.zeros_like(x)
        shift[place] = step
        up, down = (((module(x + s * shift)) * cotangent).sum().item() for s in (1, -1))
        assert leaf.grad is not None
        assert leaf.grad[place].item() == pytest.approx((up - down) / (2 * step), abs=2e-3)


@pytest.mark.parametrize("source", SOURCES)
def test_computes_in_float32_whatever_the_model_does(source: str) -> None:
    module = delta(source=source, up_bias=True)
    x = hidden(3, D).bfloat16().requires_grad_()
    update = module(x)
    assert update.dtype == torch.float32
    assert torch.equal(update, module(x.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = module(x)
    assert torch.equal(under, update)
    update.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.isfinite().all()
    assert module.bfloat16()(x).dtype == torch.float32
    assert module.double()(x.double()).dtype == torch.float32


@pytest.mark.parametrize("source", SOURCES)
def test_tokens_do_not_see_each_other(source: str) -> None:
    module, x = delta(source=source), hidden(2, 50, D)
    together = module(x)
    for i, j in itertools.product(range(2), range(50)):
        torch.testing.assert_close(module(x[i, j]), together[i, j], atol=1e-5, rtol=1e-5)


def test_a_wire_outside_the_register_is_named() -> None:
    with pytest.raises(ConfigError, match=r"wires must be different numbers in 0\.\.4, at least one; got \[0, 5\]"):
        delta(wires=[0, 5])
