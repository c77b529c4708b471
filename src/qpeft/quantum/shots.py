"""Shots: how often a circuit is measured, as a number or as a multiple of the 2^N basis states."""

import re
from dataclasses import dataclass

from qpeft.errors import ConfigError


@dataclass(frozen=True)
class Shots:
    """Measurements of one circuit evaluation (arXiv:2410.09846, Fig. 8, counts them in multiples of 2^N).

    >>> Shots.parse("20x").of(5), str(Shots.parse("20x")), Shots.parse("4096").of(5)
    (640, '20x', 4096)

    Attributes:
        number: 1 or more.
        relative: whether the number is to be multiplied by 2^N.
    """

    number: int
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> "Shots":
        """Read ``4096``, or ``20x`` for 20 times 2^N.

        Raises:
            ConfigError: the text is neither a whole number above 0 nor one followed by x.
        """
        found = re.fullmatch(r"([1-9]\d*)(x?)", text)
        if found is None:
            raise ConfigError(f"shots must be a whole number such as 4096, or 20x for 20 times 2^N; got {text!r}")
        return cls(int(found[1]), bool(found[2]))

    def of(self, n_qubits: int) -> int:
        """Measurements of a circuit of this many qubits."""
        return self.number * (2**n_qubits if self.relative else 1)

    def __str__(self) -> str:
        return f"{self.number}{'x' if self.relative else ''}"
