"""The hash against its formula, its balance, and the circuit's generator it stands beside."""

from pathlib import Path

import pytest
import torch

from qpeft.qpa import Generator, QPAConfig, QPAOptimizer, load_generator
from qpeft.qpa.bake import save_generator
from qpeft.qpa.hashed import mixed_bits, places


def test_places_are_balanced_fixed_and_of_both_signs() -> None:
    size, count = 10_000, 96
    index = places(size, count, seed=5)
    assert index.min() >= 0
    assert index.max() < 2 * count
    counts = (index % count).bincount(minlength=count)
    assert counts.max() - counts.min() <= 1
    signs = 1 - 2 * (index >= count).double()
    assert abs(signs.mean()) < 5 / size**0.5
    assert torch.equal(index, places(size, count, seed=5))
    assert (index != places(size, count, seed=6)).float().mean() > 0.9
    assert abs(torch.corrcoef(torch.stack([index.double(), torch.arange(size).double()]))[0, 1]) < 0.05


def test_bits_do_not_change_with_a_release() -> None:
    """SplitMix64's published first outputs for seed 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [int(bits) % 2**64 for bits in mixed_bits(4, 1234567)] == published


@pytest.mark.parametrize("generators", [1, 3])
@pytest.mark.parametrize("preset", ["recommended", "released", "equations"])
def test_it_stands_beside_the_circuit(preset: str, generators: int) -> None:
    """As many trained numbers and the same numbers at the start, or none where peft's own are kept."""
    circuit, hashed = (
        Generator(5000, QPAConfig(n_mlp=16, preset=preset, n_generators=generators, source=source, seed=3))
        for source in ("circuit", "hash")
    )
    assert hashed.n_trainable == circuit.n_trainable
    assert torch.equal(hashed(), torch.zeros(5000) if preset == "recommended" else circuit())
    assert not hashed.circuit_sources()


def test_one_number_moves_its_share_of_the_adapter_by_equal_amounts() -> None:
    generator = Generator(5000, QPAConfig(n_mlp=16, source="hash"))
    (table,) = generator.parameters()
    with torch.no_grad():
        table[7] = 0.5
    moved = generator().detach()
    assert set(moved.tolist()) == {0.0, 0.5, -0.5}
    assert (moved != 0).sum() in (5000 // len(table), 5000 // len(table) + 1)


def test_it_is_saved_by_its_seed_and_learns(tmp_path: Path) -> None:
    target = torch.nn.Parameter(torch.zeros(64, 32))
    optimizer = QPAOptimizer([target], QPAConfig(n_mlp=8, widths=(8,), source="hash", seed=11), lr=1e-2)
    wanted = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (target - wanted).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    save_generator(optimizer, tmp_path)
    generator, tensors, _ = load_generator(tmp_path)
    values = tensors["offset"] + tensors["factors"] * generator()
    torch.testing.assert_close(values.detach().view(64, 32), target.detach(), atol=0, rtol=0)
