"""``qpeft draw``: a circuit as text, SVG or OpenQASM 3, with its counts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qpeft.circuits import Circuit

ANSATZ = "A family, with options where it takes some (two_local:gate=crz), or an OpenQASM 3 file; families: <ansatze>."
ENTANGLER = "Pattern of the entangling gates; the family's own. One of <entanglers>."
EXAMPLE = "Example:  qpeft draw --numbers 204100 --n-mlp 2048 --format svg --out circuit.svg"


def command(  # noqa: PLR0913 - one argument a flag
    ansatz: Annotated[str, typer.Option(help=ANSATZ)] = "ry_cnot",
    qubits: Annotated[int | None, typer.Option(min=1, help="Number of qubits; 4, or those of the file.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="Layers L; 2, or the file once.")] = None,
    entangler: Annotated[str | None, typer.Option(help=ENTANGLER)] = None,
    numbers: Annotated[
        int | None, typer.Option(min=1, help="Adapter numbers m; with --n-mlp sets the qubits.")
    ] = None,
    n_mlp: Annotated[int | None, typer.Option(min=1, help="Numbers a basis state (chunk size).")] = None,
    form: Annotated[str, typer.Option("--format", help="text, svg or qasm.")] = "text",
    out: Annotated[Path | None, typer.Option(help="Write to a file instead of the terminal.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="aer:device=torino or ibm:device=...: as transpiled for that device.")
    ] = None,
) -> None:
    """Draw a circuit of the library, or what a device makes of it; needs no torch."""
    from qpeft.circuits import (
        ENTANGLERS,
        Circuit,
        build_ansatz,
        check_ansatz,
        circuit_cost,
        draw_svg,
        draw_text,
        n_chunks,
        qubits_for_chunks,
        to_qasm3,
    )
    from qpeft.circuits.own import SUFFIX, read_program
    from qpeft.errors import ConfigError, require_choice
    from qpeft.records import write_atomically

    writers: dict[str, Callable[[Circuit], str]] = {"text": draw_text, "svg": draw_svg, "qasm": to_qasm3}
    require_choice("--format", form, writers)
    family: str | Circuit = Circuit.from_qasm3(read_program(Path(ansatz))) if ansatz.endswith(SUFFIX) else ansatz
    check_ansatz("--ansatz", family)
    if entangler is not None:
        require_choice("--entangler", entangler, ENTANGLERS)
    if (numbers is None) != (n_mlp is None):
        raise ConfigError("--numbers and --n-mlp belong together, for example --numbers 204100 --n-mlp 2048")
    if numbers is not None and n_mlp is not None:
        if qubits is not None:
            raise ConfigError("give either --qubits or --numbers with --n-mlp, not both")
        qubits = qubits_for_chunks(numbers, n_mlp)
        typer.echo(
            f"{numbers:,} numbers in {n_chunks(numbers, n_mlp):,} chunks of {n_mlp:,}: {qubits} qubits", err=True
        )
    own = family.n_qubits if isinstance(family, Circuit) else 4
    circuit = build_ansatz(family, qubits or own, depth or (1 if isinstance(family, Circuit) else 2), entangler)
    if backend is not None and form != "text":
        raise ConfigError(f"--backend draws as text; got --format {form}")
    drawing = writers[form](circuit) if backend is None else transpiled_text(circuit, backend)
    if out is None:
        typer.echo(drawing)
    else:
        write_atomically(out, drawing + "\n")
    typer.echo(str(circuit_cost(circuit)), err=True)


def transpiled_text(circuit: "Circuit", backend: str) -> str:
    """The circuit in the native gates of a device, with its counts.

    Raises:
        ConfigError: The backend is none that transpiles for an offline device.
        MissingExtraError: Qiskit or its IBM runtime is not installed.
    """
    from qpeft.circuits.setting import read_setting
    from qpeft.errors import ConfigError
    from qpeft.quantum.backends.aer import transpiled

    name, options = read_setting(backend)
    if name not in ("aer", "ibm") or "device" not in options:
        raise ConfigError(f"--backend must name a device to transpile for, such as aer:device=torino; got {backend!r}")
    level, seed = (int(options.get(key, default)) for key, default in (("level", "3"), ("seed_transpiler", "0")))
    found = transpiled(circuit, options["device"], level, seed)
    return (
        f"{found.text}\n{found.two_qubit_gates} two-qubit gates, depth {found.depth}, "
        f"physical qubits {found.physical_qubits}"
    )
