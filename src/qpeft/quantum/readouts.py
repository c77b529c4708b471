"""What is read from a circuit: Pauli-Z, Pauli words or probabilities, and the bases they are measured in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from qpeft.circuits.circuit import Circuit, Operation
from qpeft.errors import ConfigError, require_choice

# Gates that turn a letter's eigenstates into those of Z.
TURNS = {"X": ("h",), "Y": ("sdg", "h"), "Z": (), "I": ()}


@dataclass(frozen=True)
class Setting:
    """One circuit that is measured, and what is read from it.

    Attributes:
        turns: gates after the circuit, into the basis that is measured.
        readout: ``pauli_z`` or ``probabilities`` of ``wires``, or ``parities``.
        wires: measured qubits; None is all.
        parities: sets of wires, whose product of Z is read.
        columns: places of these numbers in the layer's result.
    """

    turns: Circuit
    columns: tuple[int, ...]
    readout: str = "pauli_z"
    wires: tuple[int, ...] | None = None
    parities: tuple[tuple[int, ...], ...] | None = None


class Readout(Protocol):
    """What is read."""

    def settings(self, n_qubits: int) -> tuple[Setting, ...]:
        """The circuits that are measured: one for each basis.

        Raises:
            ConfigError: the readout does not fit so many qubits.
        """


@dataclass(frozen=True)
class PauliZ:
    """The expectation of Z on some wires, one number each; None is all."""

    wires: tuple[int, ...] | None = None

    def settings(self, n_qubits: int) -> tuple[Setting, ...]:
        """One."""
        wires = _checked(self.wires, n_qubits)
        return (Setting(Circuit(n_qubits), tuple(range(len(wires))), "pauli_z", wires),)


@dataclass(frozen=True)
class Probabilities:
    """The probabilities of the 2**k outcomes of k wires; None is all of them."""

    wires: tuple[int, ...] | None = None

    def settings(self, n_qubits: int) -> tuple[Setting, ...]:
        """One."""
        wires = _checked(self.wires, n_qubits)
        kept = None if self.wires is None else wires
        return (Setting(Circuit(n_qubits), tuple(range(2 ** len(wires))), "probabilities", kept),)


@dataclass(frozen=True)
class PauliWords:
    """Expectations of products of Pauli operators, one letter I, X, Y or Z a wire, wire 0 first.

    Words that differ on no wire, I aside, are read from the same shots; each other basis is a circuit of its own.

    >>> [setting.columns for setting in PauliWords(("ZZ", "XX", "IZ", "XI")).settings(2)]
    [(0, 2), (1, 3)]

    Raises:
        ConfigError: no word, or another letter.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        if not self.words:
            raise ConfigError("a readout of Pauli words needs at least one, such as ZZ")
        for word in self.words:
            if not is_word(word):
                raise ConfigError(f"a Pauli word is spelt with I, X, Y and Z, one a wire; got {word!r}")

    def settings(self, n_qubits: int) -> tuple[Setting, ...]:
        """One for each basis that is needed, in order of first appearance."""
        bases: list[list[str]] = []
        members: list[list[int]] = []
        for place, word in enumerate(self.words):
            if len(word) != n_qubits:
                raise ConfigError(f"a Pauli word for {n_qubits} qubits has {n_qubits} letters; got {word!r}")
            for basis, columns in zip(bases, members, strict=True):
                if all("I" in (own, other) or own == other for own, other in zip(basis, word, strict=True)):
                    basis[:] = [other if own == "I" else own for own, other in zip(basis, word, strict=True)]
                    columns.append(place)
                    break
            else:
                bases.append(list(word))
                members.append([place])
        return tuple(
            Setting(_turns(basis), tuple(columns), parities=tuple(_letters(self.words[column]) for column in columns))
            for basis, columns in zip(bases, members, strict=True)
        )


def readout_of(given: "str | Sequence[str] | Readout") -> Readout:
    """A readout, from its word, or from one or more Pauli words.

    >>> readout_of("ZZ"), readout_of("probabilities")
    (PauliWords(words=('ZZ',)), Probabilities(wires=None))

    Raises:
        ConfigError: the word is unknown.
    """
    if isinstance(given, str):
        if is_word(given):
            return PauliWords((given,))
        require_choice("readout", given, ("pauli_z", "probabilities"))
        return PauliZ() if given == "pauli_z" else Probabilities()
    return PauliWords(tuple(given)) if isinstance(given, Sequence) else given


def is_word(text: str) -> bool:
    """Whether this is spelt with I, X, Y and Z only."""
    return isinstance(text, str) and bool(text) and set(text) <= set(TURNS)


def _letters(word: str) -> tuple[int, ...]:
    return tuple(wire for wire, letter in enumerate(word) if letter != "I")


def _turns(basis: list[str]) -> Circuit:
    gates = [Operation(gate, (wire,)) for wire, letter in enumerate(basis) for gate in TURNS[letter]]
    return Circuit(len(basis), tuple(gates))


def _checked(wires: tuple[int, ...] | None, n_qubits: int) -> tuple[int, ...]:
    if wires is None:
        return tuple(range(n_qubits))
    if not wires or len(set(wires)) < len(wires) or not all(0 <= wire < n_qubits for wire in wires):
        raise ConfigError(f"wires must be different numbers in 0..{n_qubits - 1}, at least one; got {list(wires)}")
    return tuple(wires)
