"""Starting states: length one, padding, zero vectors, extreme scales, bits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qpeft.errors import ShapeError
from qpeft.quantum.engine import amplitude_embed, basis_bits, basis_state


@settings(deadline=None)
@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=8), st.integers(3, 5))
def test_embedding_has_length_one_and_keeps_the_direction(values: list[float], n: int) -> None:
    x = torch.tensor(values, dtype=torch.float32)
    embedded = amplitude_embed(x, n)
    assert embedded.shape == (2**n,)
    assert (embedded[len(values) :] == 0).all()
    if x.abs().max() > 2e-19:
        assert abs(embedded.norm() - 1) < 1e-5
        direction = x.double() / x.double().norm()
        torch.testing.assert_close(embedded[: len(values)], direction.float(), atol=1e-6, rtol=1e-4)
    elif x.abs().max() < 1e-19:
        assert (embedded == 0).all()


@pytest.mark.parametrize("d", [24, 32])
def test_gradient(d: int) -> None:
    x = torch.randn(2, d, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: amplitude_embed(v, 5), x)


def test_zero_vectors_stay_zero_with_zero_gradient() -> None:
    x = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]], requires_grad=True)
    embedded = amplitude_embed(x, 2)
    assert (embedded[0] == 0).all()
    (embedded * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert x.grad is not None
    assert (x.grad[0] == 0).all()
    assert x.grad[1].abs().min() > 0


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1e-30, 1e-18, 1e18, 1e37])
def test_no_scale_gives_nan(scale: float) -> None:
    x = (torch.tensor([1.0, -2.0, 3.0]) * scale).requires_grad_()
    embedded = amplitude_embed(x, 2)
    (embedded @ torch.tensor([1e3, 2.0, -3.0, 4.0])).backward()
    assert embedded.isfinite().all()
    assert x.grad is not None
    assert not x.grad.isnan().any()


def test_complex_and_half_precision_vectors() -> None:
    torch.testing.assert_close(amplitude_embed(torch.tensor([3j, 4.0]), 1), torch.tensor([0.6j, 0.8]))
    assert amplitude_embed(torch.ones(2, dtype=torch.float16) * 6e4, 1).dtype == torch.float32


def test_bits_spell_the_index() -> None:
    for n in (1, 4):
        weights = 2 ** torch.arange(n - 1, -1, -1)
        assert (basis_bits(n) @ weights).tolist() == list(range(2**n))
    assert basis_bits(5, 3).tolist() == basis_bits(5)[:3].tolist()
    assert basis_state("101").argmax() == 5


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"1 to 4 values for 2 qubit\(s\); got shape \(2, 5\)"):
        amplitude_embed(torch.zeros(2, 5), 2)
    with pytest.raises(ShapeError, match="got count=5"):
        basis_bits(2, 5)
    with pytest.raises(ShapeError, match="got '12'"):
        basis_state("12")
