"""The small matrices against matrices put together by hand, by numpy and by PennyLane."""

from functools import reduce
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch

import qpeft
from qpeft.tuners.core.config import CORES
from qpeft.tuners.core.layer import CoreDelta


def delta_of(**options: Any) -> CoreDelta:
    torch.manual_seed(3)
    return CoreDelta(qpeft.CoreConfig(init_weights=False, **options), 40, 40)


def numbers(delta: CoreDelta) -> dict[str, np.ndarray]:
    return {name: getattr(delta, name).detach().double().numpy() for name in delta.names}


def found(delta: CoreDelta) -> np.ndarray:
    return delta.matrix().detach().double().numpy()


@pytest.mark.parametrize("core", CORES)
def test_zero_at_the_start_and_every_number_learns(core: str) -> None:
    torch.manual_seed(0)
    delta = CoreDelta(qpeft.CoreConfig(core=core, r=16), 40, 40)
    assert not delta.matrix().any()
    wanted, reached = torch.randn(16, 16), set()
    optimizer = torch.optim.SGD(delta.parameters(), lr=0.05)
    for _ in range(4):  # what multiplies a zero moves one step after it
        optimizer.zero_grad()
        (delta.matrix() - wanted).square().sum().backward()
        reached |= {name for name, p in delta.named_parameters() if p.grad is not None and bool(p.grad.any())}
        optimizer.step()
    assert reached == {name for name, _ in delta.named_parameters()}


def test_diagonal_and_lowrank() -> None:
    delta = delta_of(r=8, k=2)
    read = numbers(delta)
    expected = np.diag(read["d"]) + sum(np.outer(read["a"][:, k], read["b"][:, k]) for k in range(2))
    np.testing.assert_allclose(found(delta), expected, atol=1e-6)
    assert delta.scaling == 10
    fresh = torch.stack([CoreDelta(qpeft.CoreConfig(), 40, 40).b for _ in range(200)])
    assert abs(fresh.std().item() - 16**-0.5) < 0.01


def test_kronecker_is_numpys() -> None:
    delta = delta_of(core="kronecker", r=24, dims=[2, 3, 4])
    np.testing.assert_allclose(found(delta), reduce(np.kron, numbers(delta).values()), atol=1e-5)


@pytest.mark.parametrize("pattern", ["brickwork", "all_pairs"])
def test_gates_are_operators_on_two_wires(pattern: str) -> None:
    """PennyLane expands each gate to all wires; depth 2 repeats the pattern."""
    delta = delta_of(core="gates", r=16, pattern=pattern, depth=2)
    pairs = {
        "brickwork": [(0, 1), (2, 3), (1, 2)],
        "all_pairs": [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)],
    }[pattern]
    expected = np.eye(16)
    for gate, pair in zip(numbers(delta).values(), pairs * 2, strict=True):
        expected = qml.math.expand_matrix(gate, pair, range(4)) @ expected
    np.testing.assert_allclose(found(delta), expected, rtol=1e-4, atol=1e-4)


def test_gates_of_wires_of_several_sizes() -> None:
    delta = delta_of(core="gates", r=24, dims=[2, 3, 4])
    first, second = numbers(delta).values()
    expected = np.kron(np.eye(2), second) @ np.kron(first, np.eye(4))
    np.testing.assert_allclose(found(delta), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ansatz", ["simplified_two_design", "real_amplitudes"])
def test_rotations_are_a_diagonal_between_unitaries(ansatz: str) -> None:
    delta = delta_of(core="rotations", r=8, ansatz=ansatz)
    read, circuit = numbers(delta), delta.config.circuit()
    from qpeft.circuits.unitary import unitary

    left, right = (unitary(circuit, read[side]).real for side in ("left", "right"))
    np.testing.assert_allclose(found(delta), left @ np.diag(read["d"]) @ right.T, atol=1e-5)
    np.testing.assert_allclose(np.linalg.svd(found(delta))[1], sorted(abs(read["d"]), reverse=True), atol=1e-5)


def test_a_complex_circuit_gives_its_real_part() -> None:
    delta = delta_of(core="circuit", r=6, ansatz="rx_cnot", depth=2)
    read, circuit = numbers(delta), delta.config.circuit()
    from qpeft.circuits.unitary import unitary

    assert not circuit.is_real
    expected = np.diag(read["d"]) @ unitary(circuit, read["turns"]).real[:6, :6]
    np.testing.assert_allclose(found(delta), expected, atol=1e-5)


def test_givens_is_the_twin_of_equal_count() -> None:
    delta, twin = delta_of(core="rotations", r=16, depth=2), delta_of(core="givens", r=16, depth=2)
    assert sum(p.numel() for p in twin.parameters()) == sum(p.numel() for p in delta.parameters())
    read = numbers(twin)
    assert twin.pairs.shape == (2, len(read["left"]), 2)
    sides = []
    for side, name in enumerate(("left", "right")):
        whole = np.eye(16)
        for (i, j), turn in zip(twin.pairs[side].tolist(), read[name], strict=True):
            one = np.eye(16)
            one[[i, i, j, j], [i, j, i, j]] = np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)
            whole = one @ whole
        sides.append(whole)
    np.testing.assert_allclose(found(twin), sides[0] @ np.diag(read["d"]) @ sides[1].T, atol=1e-5)


def test_frozen_angles_are_saved_and_not_trained() -> None:
    delta = delta_of(core="rotations", angles="frozen")
    assert [name for name, _ in delta.named_parameters()] == ["d"]
    assert delta.state_dict()["left"].abs().max() > 1


def test_hash_and_mask_use_every_number() -> None:
    hashed, masked = delta_of(core="hash", r=8, numbers=10), delta_of(core="mask", r=8, numbers=10)
    counts = torch.bincount(hashed.places.flatten(), minlength=10)
    assert counts.min() >= 6
    np.testing.assert_allclose(np.abs(found(hashed)), np.abs(numbers(hashed)["few"])[hashed.places.numpy()], atol=1e-7)
    assert set(hashed.signs.unique().tolist()) == {-1.0, 1.0}
    assert np.count_nonzero(found(masked)) == 10
