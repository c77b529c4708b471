"""Finite shots: the statistics of a multinomial, frequencies that are counts, seeds, and what cannot be sampled."""

import pytest
import torch
from scipy.stats import chisquare, kstest

from qpeft.circuits import build_ansatz
from qpeft.errors import ConfigError
from qpeft.quantum import ExactBackend, SampledBackend, Shots, probabilities

CIRCUIT = build_ansatz("ry_cnot", 4, 3)
ANGLES = torch.randn(CIRCUIT.n_parameters, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_counts_follow_the_exact_distribution() -> None:
    """Chi-square of 200 samples: its p-values are uniform, so it is neither biased nor too regular."""
    shots, expected = Shots(20_000), probabilities(CIRCUIT, ANGLES)
    kept = expected * shots.number > 5
    values = []
    for seed in range(200):
        counts = SampledBackend(shots).probabilities(CIRCUIT, ANGLES, seed=seed) * shots.number
        observed, wanted = counts[kept], expected[kept] * shots.number
        rest = shots.number - observed.sum(), shots.number - wanted.sum()
        cells = [(*observed.tolist(), rest[0].item()), (*wanted.tolist(), rest[1].item())]
        values.append(chisquare(*cells).pvalue)
    assert kstest(values, "uniform").pvalue > 0.01


@pytest.mark.parametrize("shots", [Shots(7), Shots(10, relative=True)], ids=str)
def test_frequencies_are_counts(shots: Shots) -> None:
    found = SampledBackend(shots).probabilities(CIRCUIT, ANGLES.expand(3, 2, -1), seed=1)
    counts = found * shots.of(4)
    assert found.shape == (3, 2, 16)
    torch.testing.assert_close(counts, counts.round())
    assert (counts.round().sum(-1) == shots.of(4)).all()
    assert len({tuple(row.tolist()) for row in found.reshape(-1, 16)}) > 1, "rows of a batch are measured apart"


def test_seeds_and_precision() -> None:
    backend = SampledBackend(Shots(50))
    one, same, other = (backend.probabilities(CIRCUIT, ANGLES.float(), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.dtype == torch.float32


def test_an_input_state_of_any_length() -> None:
    states = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    states[0] = 0
    found = SampledBackend(Shots(100)).probabilities(CIRCUIT, ANGLES, states)
    torch.testing.assert_close(found.sum(-1), states.double().square().sum(-1))


def test_what_is_measured_already_cannot_be_sampled() -> None:
    with pytest.raises(ConfigError, match=r"exact probabilities; 'sampled' already measures 5 shots"):
        SampledBackend(Shots(10), SampledBackend(Shots(5)))
    assert SampledBackend(Shots(1)).differentiable is False
    assert SampledBackend(Shots(1)).name == "sampled"
    assert ExactBackend().details(CIRCUIT) == SampledBackend(Shots(1)).details(CIRCUIT) == {}
