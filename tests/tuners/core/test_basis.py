"""Bases: numpy's singular vectors, the way for large matrices, orthonormal random columns."""

import numpy as np
import pytest
import torch

from qpeft.tuners.core import basis
from qpeft.tuners.core.basis import random_basis, singular_vectors


@pytest.mark.parametrize("exact", [True, False])
def test_as_numpy_finds_them(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basis, "EXACT", 1024 if exact else 0)
    values = 0.7 ** np.arange(40)
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(width, 40)))[0] for width in (90, 60))
    state = torch.get_rng_state()
    found = singular_vectors(torch.tensor(left * values @ right.T), 5)
    assert torch.equal(torch.get_rng_state(), state)
    for vectors, expected in zip(found, (left, right), strict=True):
        overlap = np.abs((vectors.double().numpy() * expected[:, :5]).sum(0))
        np.testing.assert_allclose(overlap, 1, atol=1e-5)
    assert (found[0].gather(0, found[0].abs().argmax(0, keepdim=True)) > 0).all()
    assert all(
        torch.equal(a, b)
        for a, b in zip(found, singular_vectors(torch.tensor(left * values @ right.T), 5), strict=True)
    )


def test_random_columns_are_orthonormal() -> None:
    for columns, width in zip(random_basis(30, 20, 7), (30, 20), strict=True):
        assert columns.shape == (width, 7)
        torch.testing.assert_close(columns.T @ columns, torch.eye(7))
