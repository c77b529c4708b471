"""CoreConfig: the rank, the basis that is frozen, and how the small matrix inside it is made."""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from qpeft.circuits import Circuit, build_ansatz
from qpeft.circuits.ansatz import check_ansatz
from qpeft.circuits.own import written
from qpeft.errors import CircuitError, ConfigError
from qpeft.tuners._residual import ResidualConfig, check_fields

BASES = ("gradient", "weight", "random")
PATTERNS = ("brickwork", "all_pairs")
ANGLES = ("zero", "random", "frozen")
ROTATION = ("ansatz", "depth", "entangler", "angles")
# Core to the fields that it reads.
READS: dict[str, tuple[str, ...]] = {
    "full": (),
    "diag_lowrank": ("k",),
    "kronecker": ("dims",),
    "gates": ("dims", "pattern", "depth"),
    "rotations": ROTATION,
    "givens": ROTATION,
    "circuit": ROTATION,
    "hash": ("numbers",),
    "mask": ("numbers",),
}
CORES = tuple(READS)
# Cores made of a circuit, or of as many numbers as it has.
CIRCUITS = ("rotations", "givens", "circuit")


def whole(least: int) -> tuple[str, Any]:
    """The check of a whole number."""
    return f"a whole number of at least {least}", lambda value: type(value) is int and value >= least


CHECKS: dict[str, tuple[str, Any]] = {
    "r": whole(1),
    "basis_batches": whole(1),
    "k": whole(0),
    "depth": whole(1),
    "numbers": whole(1),
    "scale": (
        "a number above 0",
        lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf"),
    ),
    "dims": (
        "a list of at least two whole numbers of at least 2",
        lambda value: (
            isinstance(value, (list, tuple)) and len(value) > 1 and all(type(d) is int and d > 1 for d in value)
        ),
    ),
    "pattern": (f"one of {', '.join(PATTERNS)}", lambda value: value in PATTERNS),
    "angles": (f"one of {', '.join(ANGLES)}", lambda value: value in ANGLES),
    "ansatz": ("a name or a circuit", lambda value: bool(value)),
    "entangler": ("the name of an entangler", lambda value: isinstance(value, str)),
    "init_weights": ("true or false", lambda value: isinstance(value, bool)),
}


@dataclass
class CoreConfig(ResidualConfig):
    """A small matrix in a frozen basis, as a peft config: a linear layer W becomes ``W + scale U R V^T``.

    U of shape (d_out, r) and V of shape (d_in, r) have orthonormal columns and are not trained; only the numbers that
    R of shape (r, r) is made of are. R is zero at the start, so that the model computes what it did. A merged or
    exported adapter is an ordinary LoRA of rank r (``core_as_lora``).

    >>> CoreConfig(core="gates", r=16).chosen("dims")
    (2, 2, 2, 2)

    Args:
        r: Rank, at most the smaller width of every layer.
        basis: ``gradient``, singular vectors of the mean gradient of ``basis_batches`` batches: call ``fit_basis``
            before training, or give the Trainer a ``CoreCallback``; ``weight``, those of W itself (LoRA-XS,
            arXiv:2405.17604); ``random``, orthonormal columns. It is saved with the adapter.
        basis_batches: K of the gradient's mean, at least 1; default 8.
        core: ``full``, r x r numbers; ``diag_lowrank``, ``diag(d) + sum_k a_k b_k^T``; ``kronecker``, a product of one
            matrix a factor; ``gates``, a product of free matrices on two wires each; ``rotations``, ``U diag(d) V^T``
            of two real circuits; ``circuit``, ``diag(d)`` times the real part of any circuit's unitary on r basis
            states. Their twins: ``givens``, rotations of random pairs of basis states, as many as the circuits have
            angles; ``hash``, each entry one of a few numbers, with a random sign; ``mask``, a few random entries.
        scale: s, above 0; default 10 with ``diag_lowrank``, else 1.
        k: Rank beside the diagonal, at least 0; default 1.
        dims: Sizes of the factors, or of the wires of ``gates``, whose product is r; default two factors as equal as
            can be, and wires of 2.
        pattern: The pairs of ``gates``: ``brickwork`` (default), neighbours in two rows; ``all_pairs``.
        depth: How often the pattern, or the circuit's layer, is repeated; default 1.
        ansatz: Of the circuit: a family's name, or a circuit of one's own; default ``simplified_two_design``, RY and
            CZ.
        entangler: In place of the family's own.
        angles: ``zero``, trained from 0 (default of ``rotations`` and ``givens``); ``random``, trained from
            U(-pi, pi) (default of ``circuit``); ``frozen``, random and not trained: the circuit's twin.
        numbers: How many ``hash`` and ``mask`` train a layer; default 3 r, as ``diag_lowrank`` with k = 1.
        target_modules: See ``ResidualConfig``; linear layers only, ``all-linear`` is all of them but the head, None
            the ones peft gives LoRA in the model's family.

    Raises:
        ConfigError: A value is out of its range, does not fit the others, or is not read; all faults are named.
    """

    METHOD: ClassVar[str] = "core"
    insertion: ClassVar[str] = "parallel"

    r: int = 16
    basis: str = "gradient"
    basis_batches: int | None = None
    core: str = "diag_lowrank"
    scale: float | None = None
    k: int | None = None
    dims: list[int] | None = None
    pattern: str | None = None
    depth: int | None = None
    ansatz: Any = None
    entangler: str | None = None
    angles: str | None = None
    numbers: int | None = None

    def __post_init__(self) -> None:
        """Check every field at the door."""
        super().__post_init__()
        self.ansatz = written(self.ansatz)
        given = {key: check for key, check in CHECKS.items() if key in ("r", "init_weights") or self.given(key)}
        check_fields(self, {**given, **self._unread()}, {"basis": BASES, "core": CORES})
        faults = [f"core.{fault}" for fault in self._misfits()]
        if faults:
            raise ConfigError("\n".join(faults))

    def given(self, key: str) -> bool:
        """Whether a field was set."""
        return getattr(self, key) is not None

    def chosen(self, key: str) -> Any:
        """The value of a field, or what it is by default with this core."""
        if self.given(key):
            value = getattr(self, key)
            return tuple(value) if key == "dims" else value
        if key == "dims":
            return factors_of(self.r) if self.core == "kronecker" else (2,) * (self.r.bit_length() - 1)
        return {
            "basis_batches": 8,
            "scale": 10.0 if self.core == "diag_lowrank" else 1.0,
            "k": 1,
            "pattern": "brickwork",
            "depth": 1,
            "ansatz": "simplified_two_design",
            "angles": "random" if self.core == "circuit" else "zero",
            "numbers": min(3 * self.r, self.r**2),
        }.get(key)

    def circuit(self) -> Circuit:
        """The circuit of ``rotations`` and ``circuit``, on the least qubits that hold r basis states."""
        qubits = max(1, (self.r - 1).bit_length())
        return build_ansatz(self.chosen("ansatz"), qubits, self.chosen("depth"), self.entangler)

    def _unread(self) -> dict[str, tuple[str, Any]]:
        """A field that the core or the basis does not read must be left out."""
        read = {"r", "scale", *READS.get(self.core, ()), *(["basis_batches"] if self.basis == "gradient" else [])}
        of_cores = {key for keys in READS.values() for key in keys}
        return {
            key: (
                f"left out, since {'basis' if key == 'basis_batches' else 'core'} "
                f"{self.basis if key == 'basis_batches' else self.core!r} does not read it",
                lambda value: value is None,
            )
            for key in (*sorted(of_cores), "basis_batches")
            if key not in read and self.core in READS
        }

    def _misfits(self) -> list[str]:
        """Values that are fine alone and not together."""
        found = []
        if self.core in ("kronecker", "gates") and (
            prod(self.chosen("dims")) != self.r or len(self.chosen("dims")) < 2
        ):
            needed = "a product of two numbers above 1" if self.core == "kronecker" else "2, 4 or more wires of 2"
            way = f"dims must have the product r = {self.r}; got {self.dims}"
            found.append(
                way if self.dims else f"r must be {needed} with core {self.core!r}, or give dims; got {self.r}"
            )
        if self.core in ("rotations", "givens") and (self.r < 2 or self.r & (self.r - 1)):
            found.append(f"r must be a power of two with core {self.core!r}; got {self.r}")
        elif self.core in CIRCUITS:
            found += self._circuit_faults()
        if self.core in ("hash", "mask") and self.chosen("numbers") > self.r**2:
            found.append(f"numbers must be at most r * r = {self.r**2}; got {self.numbers}")
        return found

    def _circuit_faults(self) -> list[str]:
        try:
            check_ansatz("ansatz", self.chosen("ansatz"))
            circuit = self.circuit()
        except (CircuitError, ConfigError) as error:
            return [str(error)]
        if self.core == "rotations" and not circuit.is_real:
            return [
                "ansatz must have real gates only (ry, cz, cx, rbs ...) with core 'rotations'; take core 'circuit'"
            ]
        return [] if circuit.n_parameters else ["ansatz must have at least one angle"]


def factors_of(r: int) -> tuple[int, ...]:
    """The two factors of a number that are as equal as can be; itself where it is prime.

    >>> factors_of(16), factors_of(24), factors_of(7)
    ((4, 4), (4, 6), (7,))
    """
    found = next((d for d in range(int(r**0.5), 1, -1) if r % d == 0), None)
    return (r,) if found is None else (found, r // found)
