"""Hashed: the twin without circuit and mapping, a random signed hash of as many trained numbers (Uni-LoRA's idea)."""

import torch
from torch import nn

from qpeft.circuits import build_ansatz
from qpeft.qpa.config import QPAConfig
from qpeft.qpa.generator import ChunkGenerator
from qpeft.qpa.mapping import effective_size
from qpeft.quantum import Execution


def mixed_bits(count: int, seed: int) -> torch.Tensor:
    """64 random bits for each of 0 ... count - 1, shape (count,), by SplitMix64: equal on every machine and release.

    >>> [hex(int(bits) % 2**64) for bits in mixed_bits(2, seed=0)]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """

    def shifted(bits: torch.Tensor, by: int) -> torch.Tensor:
        return (bits >> by) & ((1 << (64 - by)) - 1)  # torch's own shift would copy the sign

    def signed(number: int) -> int:
        return (number + 2**63) % 2**64 - 2**63

    bits = signed(seed + 0x9E3779B97F4A7C15) + torch.arange(count) * signed(0x9E3779B97F4A7C15)
    bits = (bits ^ shifted(bits, 30)) * signed(0xBF58476D1CE4E5B9)
    bits = (bits ^ shifted(bits, 27)) * signed(0x94D049BB133111EB)
    return bits ^ shifted(bits, 31)


def places(size: int, count: int, seed: int) -> torch.Tensor:
    """The place h(i) of each number in (t, -t), shape (size,), 0 to 2 count - 1.

    The numbers are shuffled and dealt out in turn, so no two t get more than one number apart; a further bit is the
    sign.

    >>> h = places(10, 4, seed=3) % 4
    >>> sorted(h.bincount().tolist())
    [2, 2, 3, 3]
    """
    bits = mixed_bits(size, seed)
    turn = torch.empty_like(bits)
    turn[bits.argsort(stable=True)] = torch.arange(size, device=bits.device) % count
    return turn + count * (mixed_bits(size, ~seed) & 1)


class HashedGenerator(ChunkGenerator):
    """Number i is s_i t[h(i)]: t trained and 0 at first, sign and place fixed by the seed.

    Where the config starts from generated numbers, as released, it adds those of the circuit with these options: a
    generated zero would leave an adapter nothing to start from.
    """

    index: torch.Tensor
    start: torch.Tensor

    def __init__(self, size: int, config: QPAConfig, execution: Execution, seed: int) -> None:
        """Make the table as long as everything the circuit's generator trains, and the places."""
        nn.Module.__init__(self)
        self.lay_out(size, config)
        self.source = None
        n_angles = build_ansatz(config.ansatz, self.n_qubits, int(config.depth or 1), config.entangler).n_parameters
        count = effective_size(self.n_qubits + 1, config.widths or (), config.n_mlp, "gelu") + n_angles
        self.table = nn.Parameter(torch.zeros(count))
        self.register_buffer("index", places(size, count, seed), persistent=False)
        if config.start == "generated":
            with torch.no_grad():
                self.register_buffer("start", ChunkGenerator(size, config, execution)())

    def redraw(self, generator: torch.Generator | None) -> None:
        """Nothing to draw: places and signs are fixed."""

    def forward(self, *, mean_basis: bool = False) -> torch.Tensor:
        """The numbers, shape (size,)."""
        flat = torch.cat([self.table, -self.table])[self.index]
        return flat + self.start if self.config.start == "generated" else flat

    @property
    def n_effective(self) -> int:
        """Numbers that anything is made of: no more than are generated."""
        return min(self.table.numel(), self.size)
