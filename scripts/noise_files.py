"""Write the noise files of the devices from the calibrations that qiskit-ibm-runtime ships; needs the ibm extra.

python scripts/noise_files.py
"""

import json
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit_ibm_runtime.fake_provider import FakeFez, FakeTorino

FOLDER = Path(__file__).parents[1] / "src" / "qpeft" / "quantum" / "noise" / "devices"
LEVEL, SEED, DEPTH, SIZES = 3, 0, 8, range(1, 13)
RULE = (
    "registers lists, for each number of qubits N, the physical qubits in the order of the chain: those that Qiskit's "
    f"transpile picks at level {LEVEL}, seed_transpiler {SEED}, for the ansatz RY on every qubit, CNOT(i, i+1), "
    f"{DEPTH} layers, all qubits measured. At every N listed it routed nothing: neighbours of the chain are coupled."
)


def chain(n_qubits: int) -> QuantumCircuit:
    """The circuit of arXiv:2410.09846, Eq. 1, measured."""
    angles = iter(ParameterVector("angle", n_qubits * DEPTH))
    circuit = QuantumCircuit(n_qubits)
    for _ in range(DEPTH):
        for qubit in range(n_qubits):
            circuit.ry(next(angles), qubit)
        for qubit in range(n_qubits - 1):
            circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def line(backend: Any, n_qubits: int) -> list[int]:
    """Physical qubits in chain order."""
    done = transpile(chain(n_qubits), backend, optimization_level=LEVEL, seed_transpiler=SEED)
    first = done.layout.initial_index_layout(filter_ancillas=True)
    last = done.layout.final_index_layout(filter_ancillas=True)
    if first != last or done.count_ops().get("cz", 0) != DEPTH * (n_qubits - 1):
        raise SystemExit(f"{backend.name} routes the chain of {n_qubits} qubits; try another SEED")
    return [int(qubit) for qubit in first]


def short(value: float) -> float:
    """Six significant digits: far more than a calibration is worth."""
    return float(f"{value:.6g}")


def qubit_row(backend: Any, qubit: int) -> dict[str, float]:
    target = backend.target
    of_qubit, (sx, x) = target.qubit_properties[qubit], (target[name][(qubit,)] for name in ("sx", "x"))
    # The target knows one readout error only; the properties know both directions.
    readout = {item.name: item.value for item in backend.properties().qubits[qubit]}
    return {
        "t1_us": short(of_qubit.t1 * 1e6),
        "t2_us": short(of_qubit.t2 * 1e6),
        "sx_error": short(sx.error),
        "sx_ns": short(sx.duration * 1e9),
        "x_error": short(x.error),
        "x_ns": short(x.duration * 1e9),
        "p10": short(readout["prob_meas1_prep0"]),
        "p01": short(readout["prob_meas0_prep1"]),
    }


def edge_row(backend: Any, edge: tuple[int, int]) -> dict[str, float]:
    cz = backend.target["cz"][edge]
    return {"cz_error": short(cz.error), "cz_ns": short(cz.duration * 1e9)}


def noise_file(backend: Any) -> str:
    """The file as text, one qubit or edge a line."""
    registers = {n: line(backend, n) for n in SIZES}
    qubits = sorted({qubit for register in registers.values() for qubit in register})
    edges = sorted({tuple(sorted(pair)) for line in registers.values() for pair in pairwise(line)})
    head = {
        "about": f"Calibration snapshot {type(backend).__name__} of qiskit-ibm-runtime, the qubits in use only; "
        "written by scripts/noise_files.py. Times in us and ns; errors are average gate infidelities; "
        "p10 is the chance to read 1 where 0 was prepared, p01 to read 0 where 1 was.",
        "device": backend.name.removeprefix("fake_"),
        "calibrated": backend.properties().last_update_date.isoformat(),
        "rule": RULE,
        "level": LEVEL,
        "seed": SEED,
        "versions": {name: version(name) for name in ("qiskit", "qiskit-ibm-runtime")},
    }
    tables = {
        "registers": registers,
        "qubits": {qubit: qubit_row(backend, qubit) for qubit in qubits},
        "edges": {f"{a}-{b}": edge_row(backend, (a, b)) for a, b in edges},
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key, table in tables.items():
        rows = ",\n".join(f"    {json.dumps(str(name))}: {json.dumps(row)}" for name, row in table.items())
        lines.append(f"  {json.dumps(key)}: {{\n{rows}\n  }}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    for backend in (FakeTorino(), FakeFez()):
        path = FOLDER / f"{backend.name.removeprefix('fake_')}.json"
        path.write_text(noise_file(backend), "utf-8")
        print(f"{path.name}: {path.stat().st_size} bytes")
