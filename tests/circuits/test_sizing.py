"""Qubit counts: the defining inequality, published counts, and exactness where floats fail."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.circuits import n_chunks, qubits_for_chunks, qubits_for_dimension
from qpeft.errors import CircuitError


@settings(deadline=None)
@given(st.integers(1, 10**12), st.integers(1, 10**6))
def test_chunks_just_hold_m(m: int, n_mlp: int) -> None:
    assert (n_chunks(m, n_mlp) - 1) * n_mlp < m <= n_chunks(m, n_mlp) * n_mlp


@settings(deadline=None)
@given(st.integers(2, 2**70))
def test_register_just_holds_d(d: int) -> None:
    n = qubits_for_dimension(d)
    assert 2 ** (n - 1) < d <= 2**n


@pytest.mark.parametrize(("n_mlp", "qubits"), [(256, 10), (512, 9), (1024, 8), (2048, 7), (4096, 6), (8192, 5)])
def test_published_counts_for_gpt2_rank_4(n_mlp: int, qubits: int) -> None:
    """arXiv:2410.09846, Table 8: LoRA r=4 on GPT-2's output layer, m = 4 (768 + 50257)."""
    assert qubits_for_chunks(4 * (768 + 50257), n_mlp) == qubits


def test_one_qubit_at_least_and_no_rounding() -> None:
    assert qubits_for_dimension(1) == qubits_for_chunks(5, 10) == 1
    assert qubits_for_dimension(2**60 + 1) == 61  # log2 in floats says 60


@pytest.mark.parametrize("wrong", [0, -3])
def test_names_the_number_that_is_not_positive(wrong: int) -> None:
    with pytest.raises(CircuitError, match=f"n_mlp must be .* got {wrong}"):
        n_chunks(5, wrong)
    with pytest.raises(CircuitError, match=f"d must be .* got {wrong}"):
        qubits_for_dimension(wrong)
