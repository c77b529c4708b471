"""The mapping in parts: the same numbers and gradients, less memory, the same names in a checkpoint."""

import pytest
import torch
from torch import Tensor

from qpeft.qpa import mapping as module
from qpeft.qpa.mapping import build_mapping

WIDTHS = (32, 64, 128, 128, 64, 32, 32)


def run(widths: tuple[int, ...], activation: str) -> tuple[list[Tensor], int]:
    """Values and gradients, and the bytes kept between forward and backward."""
    torch.manual_seed(0)
    mapping = build_mapping(5, widths, 8, activation).double()
    rows = torch.randn(100, 5, dtype=torch.float64, requires_grad=True)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = mapping(rows)
    torch.manual_seed(1)
    out.backward(torch.randn_like(out))
    return [out.detach(), rows.grad, *(p.grad for p in mapping.parameters())], sum(kept.values())  # type: ignore[list-item]


@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("widths", [(), (16,), WIDTHS])
def test_parts_change_nothing_but_memory(
    widths: tuple[int, ...], activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, whole_bytes = run(widths, activation)
    monkeypatch.setattr(module, "ROWS", 16)  # 100 rows: six parts and a shorter one
    parts, parts_bytes = run(widths, activation)
    for mine, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=0)
    if widths == WIDTHS:
        assert parts_bytes < whole_bytes / 3


def test_names_are_those_of_a_plain_chain() -> None:
    assert list(build_mapping(3, (4,), 5, "gelu").state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
