"""QuantumLayer beside TorchLayer: the same circuit, and a small task learnt under shots by parameter shift."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from qpeft.quantum import Angle, QuantumLayer

Benchmark = Callable[[str], Any]


def test_both_layers_are_the_same_circuit(benchmark: Benchmark) -> None:
    pytest.importorskip("pennylane")
    bench = benchmark("torch_layer")
    start = torch.linspace(-3, 3, bench.UPLOADS * bench.CIRCUIT.n_parameters)
    x = bench.moons(200, 0)[0]
    exact = QuantumLayer(bench.CIRCUIT, Angle(uploads=bench.UPLOADS), ["ZI"], init=start)(x)[:, 0]
    for make in (bench.ours, bench.theirs):
        found = make(start, 1)(x).float().reshape(-1)
        # The square of the error of the mean of 100 shots is (1 - z^2) / 100: 200 of them add up to 200 or so.
        spread = (found - exact).square() * bench.SHOTS / (1 - exact.square()).clamp_min(1e-3)
        assert 100 < spread.sum() < 300


def test_two_moons_under_shots(benchmark: Benchmark) -> None:
    bench = benchmark("torch_layer")
    start = (2 * torch.rand(24, generator=torch.Generator().manual_seed(0)) - 1) * torch.pi
    assert len(start) == bench.UPLOADS * bench.CIRCUIT.n_parameters
    assert bench.trained(bench.ours(start, 0), 0, steps=60)["accuracy"] > 0.9
