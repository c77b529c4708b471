"""The generator against a literal loop over Eqs. 5-7, and its options one by one."""

import math

import pytest
import torch

from qpeft.circuits import build_ansatz
from qpeft.errors import ConfigError
from qpeft.qpa import SOURCES, Generator, QPAConfig, collapse
from qpeft.qpa.generator import ChunkGenerator
from qpeft.qpa.sources import CircuitSource, basis_bits, features
from qpeft.quantum import probabilities


def part(generator: Generator) -> ChunkGenerator:
    return generator.chunk_generators()[0]


def source(generator: Generator) -> CircuitSource:
    found = part(generator).source
    assert isinstance(found, CircuitSource)
    return found


def test_equals_a_literal_loop_over_the_equations() -> None:
    generator = Generator(37, QPAConfig(n_mlp=5, preset="equations", depth=2))  # 8 chunks, 3 qubits, last one cut
    p = probabilities(build_ansatz("ry_cnot", 3, 2), source(generator).angles)
    numbers: list[float] = []
    for chunk in range(8):
        bits = [1.0 if chunk >> (2 - q) & 1 else -1.0 for q in range(3)]
        numbers += part(generator).mapping(torch.tensor([*bits, p[chunk].item()])).tolist()
    torch.testing.assert_close(generator(), torch.tensor(numbers[:37]))


def test_released_post_processing() -> None:
    p = torch.tensor([0.0, 0.1, 0.2, 0.7], dtype=torch.float64, requires_grad=True)
    out = features(p, "released")
    bent = [(0.6 * math.tanh(0.1 * 2 * max(x, 1e-12))) ** 0.15 for x in (0.0, 0.1, 0.2, 0.7)]
    expected = torch.tensor(bent, dtype=torch.float64) - sum(bent) / 4
    torch.testing.assert_close(out, expected)
    out.square().sum().backward()
    assert p.grad is not None
    assert p.grad.isfinite().all()


def test_uniform_probabilities_give_the_documented_constant() -> None:
    bent = (0.6 * math.tanh(0.1 * 64 / 128)) ** 0.15
    assert bent == pytest.approx(0.591, abs=5e-4)


@pytest.mark.parametrize("post", ["raw", "released", "scaled", "log"])
def test_no_option_makes_gradients_infinite_at_zero_angles(post: str) -> None:
    generator = Generator(40, QPAConfig(n_mlp=5, post=post))
    with torch.no_grad():
        source(generator).angles.zero_()
    generator().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in generator.parameters())


def test_same_seed_same_numbers_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    first = Generator(64, QPAConfig(n_mlp=8, seed=3))
    assert torch.equal(torch.rand(1), before)
    assert torch.equal(first(), Generator(64, QPAConfig(n_mlp=8, seed=3))())
    assert not torch.equal(first(), Generator(64, QPAConfig(n_mlp=8, seed=4))())


def test_table_starts_where_the_circuit_starts() -> None:
    circuit, table, frozen = (Generator(64, QPAConfig(n_mlp=8, source=s)) for s in ("circuit", "table", "frozen"))
    assert torch.equal(circuit(), table())
    assert torch.equal(circuit(), frozen())


def test_trainable_numbers_of_every_twin() -> None:
    counts = {s: Generator(64, QPAConfig(n_mlp=8, source=s)).n_trainable for s in SOURCES}
    mapping = (4 * 32 + 32) + (32 * 8 + 8)
    assert counts["circuit"] == counts["no_entangler"] == mapping + 3 * 8
    assert counts["frozen"] == mapping
    assert counts["table"] == mapping + 8
    assert counts["none"] == mapping - 32
    assert abs(counts["mlp"] - counts["circuit"]) <= 3 + 2
    assert counts["hash"] == counts["circuit"]


def test_no_entangler_factorises() -> None:
    generator = Generator(64, QPAConfig(n_mlp=8, source="no_entangler", post="raw"))
    p = source(generator)().detach().view(2, 2, 2)
    product = torch.einsum("i,j,k->ijk", p.sum((1, 2)), p.sum((0, 2)), p.sum((0, 1)))
    torch.testing.assert_close(p, product)


def test_random_basis_changes_each_draw_and_its_mean_is_the_export() -> None:
    generator = Generator(6 * 8, QPAConfig(n_mlp=8, preset="released", center=False, seed=1))  # 6 of 8 basis states
    draws = []
    for _ in range(4000):
        generator.redraw()
        draws.append(generator().detach())
    stack = torch.stack(draws)
    spread = stack.std(0).max().item()
    assert spread > 0.01
    worst = (stack.mean(0) - generator(mean_basis=True)).abs().max().item()
    assert worst < 5 * spread / math.sqrt(4000)


def test_fixed_basis_is_a_permutation_that_stays() -> None:
    generator = Generator(64, QPAConfig(n_mlp=8, basis="fixed", seed=2))
    order = part(generator).order
    assert sorted(order.tolist()) == list(range(8))
    generator.redraw()
    assert torch.equal(part(generator).order, order)


def test_interleaved_is_the_transpose() -> None:
    plain, woven = (Generator(64, QPAConfig(n_mlp=8, layout=x))() for x in ("module", "interleaved"))
    assert torch.equal(plain.view(8, 8).T, woven.view(8, 8))


def test_centering() -> None:
    assert Generator(60, QPAConfig(n_mlp=8, center=True))().mean().abs() < 1e-6


def test_several_generators_are_independent() -> None:
    generator = Generator(65, QPAConfig(n_mlp=8, n_generators=2))
    assert [p.size for p in generator.chunk_generators()] == [33, 32]
    assert generator().shape == (65,)
    assert not torch.equal(generator()[:32], generator()[33:])


def test_quantum_train_is_n_mlp_one() -> None:
    generator = Generator(100, QPAConfig(n_mlp=1))
    assert generator.n_qubits == 7
    assert generator().shape == (100,)


def test_collapsed_mapping_computes_the_same() -> None:
    mapping = part(Generator(204, QPAConfig(n_mlp=16, preset="released"))).mapping
    x = torch.randn(5, mapping[0].in_features)
    torch.testing.assert_close(collapse(mapping)(x), mapping(x), atol=1e-6, rtol=1e-5)


def test_basis_bits_qubit_zero_is_most_significant() -> None:
    assert basis_bits(3)[4].tolist() == [1.0, -1.0, -1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "qpa.n_mlp is required"),
        ({"n_mpl": 4}, "nearest: n_mlp"),
        ({"n_mlp": 0}, "at least 1; got 0"),
        ({"n_mlp": 2.5}, "whole number"),
        ({"n_mlp": 4, "preset": "recomended"}, "nearest: recommended"),
        ({"n_mlp": 4, "preset": None}, "qpa.preset must be one of .*; got 'None'"),
        ({"n_mlp": 4, "source": None}, "qpa.source must be one of .*; got 'None'"),
        ({"n_mlp": 4, "activation": 3}, "qpa.activation must be one of .*; got '3'"),
        ({"n_mlp": 4, "source": "quantum"}, "circuit, frozen, table"),
        ({"n_mlp": 4, "widths": (0,)}, "qpa.widths"),
        ({"n_mlp": 4, "widths": 32}, "a list of whole numbers"),
        ({"n_mlp": 4, "scale": "big"}, "qpa.scale must be a number"),
        ({"n_mlp": 4, "center": "yes"}, "true or false"),
        ({"n_mlp": 4, "seed": 0.5}, "qpa.seed"),
        ({"n_mlp": 4, "scale": -1.0}, "at least 0"),
        ({"n_mlp": 4, "scale": math.inf}, "qpa.scale must be .* below infinity; got inf"),
        ({"n_mlp": 4, "scale": 1e39}, "qpa.scale"),
        ({"n_mlp": 4, "scale": True}, "qpa.scale"),
        ({"n_mlp": 4, "angle_learning_rate": math.inf}, "qpa.angle_learning_rate"),
        ({"n_mlp": 4, "max_grad_norm": math.nan}, "qpa.max_grad_norm"),
        ({"n_mlp": 4, "seed": -1}, r"qpa.seed must be a whole number from 0 to 2\^63 - 1; got -1"),
        ({"n_mlp": 4, "seed": 2**64}, "qpa.seed"),
        ({"n_mlp": 4, "whiten": 1}, "qpa.whiten must be true or false"),
        ({"n_mlp": 4, "whiten": True, "widths": ()}, "widths"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QPAConfig.from_dict(options)


@pytest.mark.parametrize(("m", "n_mlp", "rank"), [(4000, 16, 32), (120, 16, 8)])
def test_whitened_features_are_uncorrelated_at_the_start_and_saved(m: int, n_mlp: int, rank: int) -> None:
    """Of 8 chunks no more than 8 directions are known; the others are left out."""
    generator = Generator(m, QPAConfig(n_mlp=n_mlp, whiten=True))
    rows, mapping = part(generator)._rows(), part(generator).mapping
    plain, white = (mapping[:end](rows).detach() for end in (-2, -1))
    second = white.T @ white / len(rows)
    torch.testing.assert_close(second, torch.diag((torch.arange(32) < rank).float()), atol=2e-4, rtol=0)
    _, sizes, directions = torch.linalg.svd(plain.double(), full_matrices=False)
    expected = plain.double() @ directions.T[:, :rank] / sizes[:rank] * len(rows) ** 0.5
    torch.testing.assert_close(white[:, :rank].double().abs(), expected.abs(), atol=2e-3, rtol=1e-3)
    assert generator.n_trainable == Generator(m, QPAConfig(n_mlp=n_mlp)).n_trainable
    with torch.no_grad():
        source(generator).angles.add_(0.5)
    fixed = mapping[-2].matrix.clone()
    other = Generator(m, QPAConfig(n_mlp=n_mlp, whiten=True, seed=1))
    other.load_state_dict(generator.state_dict())
    assert torch.equal(part(other).mapping[-2].matrix, fixed)
    assert torch.equal(other(), generator())


def test_a_whitened_affine_mapping_collapses_too() -> None:
    generator = Generator(204, QPAConfig(n_mlp=16, preset="released", whiten=True))
    x = torch.randn(5, 5)
    expected = part(generator).mapping(x)
    torch.testing.assert_close(collapse(part(generator).mapping)(x), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("preset", ["recommended", "released"])
@pytest.mark.parametrize(("m", "n_mlp"), [(20_000, 512), (200_000, 8)])
def test_nothing_waits_for_a_number_on_the_way(
    m: int, n_mlp: int, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CUDA graph can hold the generator: on tensors without values it runs, so no value decides what runs."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # which knows no device without values
    generator = Generator(m, QPAConfig(n_mlp=n_mlp, preset=preset)).to("meta")
    vector = generator()
    vector.sum().backward()
    assert vector.is_meta
    assert all(p.grad is not None for p in generator.parameters())
