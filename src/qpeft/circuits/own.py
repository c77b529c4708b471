"""A circuit of one's own where recipes and configs expect the name of a family: as OpenQASM 3 text."""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from qpeft.circuits.circuit import Circuit
from qpeft.circuits.qasm import to_qasm3
from qpeft.circuits.qasm_reader import MOST_CHARACTERS, from_qasm3
from qpeft.errors import CircuitError, ConfigError

SUFFIX = ".qasm"


def is_own(ansatz: Any) -> bool:
    """Whether this is the text of a program, or several, by their numbers of qubits.

    >>> is_own("ry_cnot"), is_own("OPENQASM 3.0; qubit q; x q;"), is_own({"2": "..."})
    (False, True, True)
    """
    return isinstance(ansatz, Mapping) or (isinstance(ansatz, str) and ansatz.lstrip().startswith("OPENQASM"))


def written(ansatz: Any) -> Any:
    """A Circuit as text, and circuits in a list as texts by their numbers of qubits; anything else as it is."""
    if isinstance(ansatz, Circuit):
        return to_qasm3(ansatz)
    if isinstance(ansatz, list | tuple):
        return by_size(circuit if isinstance(circuit, Circuit) else from_qasm3(str(circuit)) for circuit in ansatz)
    return ansatz


def by_size(circuits: Iterable[Circuit]) -> str | dict[str, str]:
    """Texts by the number of qubits; one text alone stands for itself.

    Raises:
        CircuitError: two different circuits have the same number of qubits.
    """
    found: dict[str, str] = {}
    for circuit in circuits:
        text, size = to_qasm3(circuit), str(circuit.n_qubits)
        if found.setdefault(size, text) != text:
            raise CircuitError(f"one circuit for each number of qubits is needed; got two of {size}")
    return next(iter(found.values())) if len(found) == 1 else found


def own_circuit(ansatz: str | Mapping[str, str], n_qubits: int) -> Circuit:
    """The circuit of a text; of several, the one with this many qubits.

    Raises:
        CircuitError: the text is no circuit, or none has this many qubits.
    """
    if isinstance(ansatz, str):
        return from_qasm3(ansatz)
    if str(n_qubits) not in ansatz:
        raise CircuitError(
            f"a circuit of {n_qubits} qubits is needed here; those given have {', '.join(map(str, ansatz))}"
        )
    return from_qasm3(ansatz[str(n_qubits)])


def check_own(key: str, ansatz: str | Mapping[Any, Any]) -> None:
    """Read every text.

    Raises:
        ConfigError: one is no circuit, or of another number of qubits than it stands under.
    """
    texts = {None: ansatz} if isinstance(ansatz, str) else dict(ansatz)
    for size, text in texts.items():
        try:
            circuit = from_qasm3(str(text))
        except CircuitError as error:
            raise ConfigError(f"{key}: {error}") from error
        if size is not None and str(circuit.n_qubits) != str(size):
            raise ConfigError(f"{key}: the circuit under {size!r} must have {size} qubits; it has {circuit.n_qubits}")
    if not texts:
        raise ConfigError(f"{key} must hold a circuit for each number of qubits; got none")


def drawn_by(function: Callable[[int, int], Circuit], sizes: Iterable[int], depth: int) -> str | dict[str, str]:
    """What a function of n_qubits and depth gives for some sizes, as text."""
    return by_size(function(size, depth) for size in sorted(set(sizes)))


def label_of(ansatz: Any) -> str:
    """A short name for tables: that of the family, or a digest of the circuit.

    >>> label_of("ry_cnot"), label_of("OPENQASM 3.0; qubit q; x q;")
    ('ry_cnot', 'own circuit 7537beb8')
    """
    if not is_own(ansatz):
        return str(ansatz)
    text = ansatz if isinstance(ansatz, str) else "\n".join(f"{size}:{ansatz[size]}" for size in sorted(ansatz))
    return f"own circuit {sha256(text.encode()).hexdigest()[:8]}"


def read_program(path: Path) -> str:
    """The text of an OpenQASM 3 file, whose inputs are the angles; only read, never executed.

    Raises:
        ConfigError: the file cannot be read, or is no circuit.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"ansatz must be a family or an OpenQASM 3 file; {path} cannot be read: {reason}") from error
    check_own(str(path), text if is_own(text) else f"OPENQASM 3.0;\n{text}")
    return to_qasm3(from_qasm3(text))
