"""The engine against PennyLane and Qiskit: largest error on random circuits, and time per gradient.

Run ``python benchmarks/engine.py --out engine.json``; needs the extras ``pennylane`` and ``qiskit``.
"""

import argparse
import json
import platform
import random
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import pennylane as qml
import torch
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector
from torch import Tensor

from naive import single_gates
from qpeft.circuits import GATES, Circuit, Operation, Parameter, build_ansatz
from qpeft.quantum import probabilities
from qpeft.training.environment import processor

PENNYLANE = {
    **{"rx": qml.RX, "ry": qml.RY, "rz": qml.RZ, "x": qml.PauliX, "y": qml.PauliY, "z": qml.PauliZ},
    **{"h": qml.Hadamard, "s": qml.S, "t": qml.T, "sx": qml.SX, "cx": qml.CNOT, "cy": qml.CY, "cz": qml.CZ},
    **{"swap": qml.SWAP, "crx": qml.CRX, "cry": qml.CRY, "crz": qml.CRZ},
    "sdg": lambda wires: qml.adjoint(qml.S(wires)),
}


def random_circuit(dice: random.Random) -> Circuit:
    """1 to 6 qubits, 5 to 80 gates from the whole table, every angle a parameter."""
    n_qubits = dice.randint(1, 6)
    gates = [gate for gate in GATES.values() if gate.n_qubits <= n_qubits]
    operations: list[Operation] = []
    n_parameters = 0
    for _ in range(dice.randint(5, 80)):
        gate = dice.choice(gates)
        wires = tuple(dice.sample(range(n_qubits), gate.n_qubits))
        operations.append(Operation(gate.name, wires, Parameter(n_parameters) if gate.n_angles else None))
        n_parameters += gate.n_angles
    return Circuit(n_qubits, tuple(operations))


def pennylane_node(circuit: Circuit) -> Callable[[Tensor], Tensor]:
    """The circuit as a PennyLane node with backprop through torch."""

    def program(angles: Tensor) -> object:
        for op in circuit.operations:
            if isinstance(op.angle, Parameter):
                PENNYLANE[op.gate](angles[op.angle.index], wires=op.wires)
            else:
                PENNYLANE[op.gate](wires=op.wires)
        return qml.probs(wires=range(circuit.n_qubits))

    device = qml.device("default.qubit", wires=circuit.n_qubits)
    return qml.QNode(program, device, interface="torch", diff_method="backprop")


def qiskit_probabilities(circuit: Circuit, angles: Tensor) -> Tensor:
    """By Qiskit's state vector, index bits reversed into our order."""
    program = QuantumCircuit(circuit.n_qubits)
    for op in circuit.operations:
        value = (float(angles[op.angle.index]),) if isinstance(op.angle, Parameter) else ()
        getattr(program, op.gate)(*value, *op.wires)
    n = circuit.n_qubits
    theirs: np.ndarray = Statevector(program).probabilities().reshape((2,) * n)
    return torch.from_numpy(theirs.transpose(range(n)[::-1]).copy().ravel())


def measure_errors(n_circuits: int) -> list[dict[str, object]]:
    """Largest difference of any probability over random circuits."""
    dice = random.Random(0)
    worst = {(oracle, dtype): 0.0 for oracle in ("PennyLane", "Qiskit") for dtype in (torch.float32, torch.float64)}
    for _ in range(n_circuits):
        circuit = random_circuit(dice)
        angles = torch.tensor([dice.uniform(-np.pi, np.pi) for _ in range(circuit.n_parameters)], dtype=torch.float64)
        theirs = {"PennyLane": pennylane_node(circuit)(angles), "Qiskit": qiskit_probabilities(circuit, angles)}
        for oracle, dtype in worst:
            error = (probabilities(circuit, angles.to(dtype)) - theirs[oracle]).abs().max().item()
            worst[oracle, dtype] = max(worst[oracle, dtype], error)
    return [
        {"oracle": oracle, "dtype": str(dtype).removeprefix("torch."), "circuits": n_circuits, "max_error": error}
        for (oracle, dtype), error in worst.items()
    ]


def measure_times(n_qubits: int, depth: int, repeats: int, burst: int) -> dict[str, object]:
    """Median milliseconds of forward and backward for the RY + CNOT chain, the three contestants taking turns.

    A burst of 1 finds the processor's caches full of the others' work; a larger one is a tight loop.
    """
    circuit = build_ansatz("ry_cnot", n_qubits, depth)
    generator = torch.Generator().manual_seed(n_qubits)
    angles = torch.randn(circuit.n_parameters, generator=generator).requires_grad_()
    readout = torch.randn(2**n_qubits, generator=generator)
    node, ground = pennylane_node(circuit), torch.eye(1, 2**n_qubits)
    contestants: dict[str, Callable[[], Tensor]] = {
        "qpeft": lambda: probabilities(circuit, angles),
        "gate_by_gate": lambda: single_gates(circuit, angles, ground)[0],
        "pennylane": lambda: node(angles),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    gradients: dict[str, Tensor] = {}
    for turn in range(repeats + 2):
        for name, run in contestants.items():
            start = time.perf_counter()
            for _ in range(burst):
                (gradients[name],) = torch.autograd.grad((run() * readout).sum(), angles)
            if turn >= 2:  # the first turns compile circuits and warm up
                times[name].append(1e3 * (time.perf_counter() - start) / burst)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, gradients["qpeft"], atol=1e-4, rtol=1e-3, msg=f"{name} disagrees")
    medians = {f"{name}_ms": median(values) for name, values in times.items()}
    return {
        "n_qubits": n_qubits,
        "depth": depth,
        "burst": burst,
        **medians,
        "pennylane_over_qpeft": medians["pennylane_ms"] / medians["qpeft_ms"],
        "gate_by_gate_over_qpeft": medians["gate_by_gate_ms"] / medians["qpeft_ms"],
    }


def print_table(rows: list[dict[str, object]]) -> None:
    cells = [list(rows[0])] + [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--circuits", type=int, default=200, help="random circuits for the error")
    parser.add_argument("--qubits", type=int, nargs="+", default=[5, 7, 9, 11])
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20, help="timed turns per contestant")
    parser.add_argument("--bursts", type=int, nargs="+", default=[1, 10], help="gradients per turn")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    errors = measure_errors(options.circuits)
    print_table(errors)
    times = [
        measure_times(n_qubits, options.depth, options.repeats, burst)
        for burst in options.bursts
        for n_qubits in options.qubits
    ]
    print_table(times)
    if options.out:
        packages = {name: version(name) for name in ("torch", "pennylane", "qiskit", "numpy")}
        system = {"machine": platform.machine(), "processor": processor(), "python": platform.python_version()}
        environment = {**system, "threads": 1, **packages}
        options.out.write_text(json.dumps({"errors": errors, "times": times, "environment": environment}, indent=2))


if __name__ == "__main__":
    main()
