"""Peers on the QPA circuit and generator, in a process of their own: JSON lines in, seconds and the gradient out.

Started by ``circuit.py`` with the interpreter of QPEFT_PEER_PYTHON, or with its own; needs torch and the peer only.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Gradient = Callable[[Tensor, Tensor], Tensor]


def of(probabilities: Callable[[Tensor], Tensor]) -> Gradient:
    """Forward and backward of readout times probabilities."""

    def gradient(angles: Tensor, readout: Tensor) -> Tensor:
        leaf = angles.clone().requires_grad_()
        p = probabilities(leaf).flatten()
        return torch.autograd.grad((p * readout.to(p)).sum(), leaf)[0]

    return gradient


def gates(n_qubits: int, depth: int) -> Iterator[tuple[int, ...]]:
    """(angle index, wire) for RY, (-1, control, target) for CNOT."""
    for layer in range(depth):
        yield from ((layer * n_qubits + wire, wire) for wire in range(n_qubits))
        yield from ((-1, wire, wire + 1) for wire in range(n_qubits - 1))


def by_torchquantum(angles: Tensor, n_qubits: int, depth: int) -> Tensor:
    """Probabilities of RY + CNOT layers, gate by gate as the QPA authors' engine runs them."""
    import torchquantum as tq
    import torchquantum.functional as tqf

    device = tq.QuantumDevice(n_wires=n_qubits, bsz=1)
    for angle, *wires in gates(n_qubits, depth):
        if angle >= 0:
            tqf.ry(device, wires=wires[0], params=angles[angle].view(1, 1))
        else:
            tqf.cnot(device, wires=wires)
    states: Tensor = device.get_states_1d()
    return states.abs().square()


def torchquantum(n_qubits: int, depth: int) -> Gradient:
    import torchquantum  # noqa: F401 - so that its absence is told before the first call

    return of(lambda angles: by_torchquantum(angles, n_qubits, depth))


def deepquantum(n_qubits: int, depth: int) -> Gradient:
    import deepquantum as dq

    circuit = dq.QubitCircuit(n_qubits)
    for angle, *wires in gates(n_qubits, depth):
        if angle >= 0:
            circuit.ry(wires[0], encode=True)
        else:
            circuit.cnot(*wires)
    return of(lambda angles: circuit(data=angles).abs().square())


def tensorcircuit(n_qubits: int, depth: int) -> Gradient:
    import tensorcircuit as tc

    tc.set_backend("pytorch")

    def probabilities(angles: Tensor) -> Tensor:
        circuit = tc.Circuit(n_qubits)
        for angle, *wires in gates(n_qubits, depth):
            if angle >= 0:
                circuit.ry(wires[0], theta=angles[angle])
            else:
                circuit.cnot(*wires)
        return circuit.probability()

    return of(probabilities)


def _pennylane(n_qubits: int, depth: int, device: str, method: str, read: Callable[[], object]) -> Any:
    import pennylane as qml

    def program(angles: Tensor) -> object:
        for angle, *wires in gates(n_qubits, depth):
            if angle >= 0:
                qml.RY(angles[angle], wires=wires[0])
            else:
                qml.CNOT(wires)
        return read()

    return qml.QNode(program, qml.device(device, wires=n_qubits), interface="torch", diff_method=method)


def default_qubit(n_qubits: int, depth: int) -> Gradient:
    import pennylane as qml

    return of(_pennylane(n_qubits, depth, "default.qubit", "backprop", lambda: qml.probs(wires=range(n_qubits))))


def lightning_qubit(n_qubits: int, depth: int) -> Gradient:
    """Its adjoint method has no gradient of probabilities: Z on qubit 0 instead, whatever the readout."""
    import pennylane as qml

    node = _pennylane(n_qubits, depth, "lightning.qubit", "adjoint", lambda: qml.expval(qml.PauliZ(0)))

    def gradient(angles: Tensor, readout: Tensor) -> Tensor:
        leaf = angles.clone().requires_grad_()
        return torch.autograd.grad(node(leaf), leaf)[0]

    return gradient


def generator(n_qubits: int, depth: int, m: int, n_mlp: int) -> Gradient:
    """The structure of the released QPA code: gate by gate, random basis rows, linear layers in a row."""
    widths = (n_qubits + 1, 32, 64, 128, 128, 64, 32, 32, n_mlp)
    mapping = torch.nn.Sequential(*(torch.nn.Linear(a, b) for a, b in pairwise(widths)))

    def run(angles: Tensor, readout: Tensor) -> Tensor:
        leaf = angles.clone().requires_grad_()
        p = by_torchquantum(leaf, n_qubits, depth).flatten().clamp_min(1e-12)
        bent = (0.6 * torch.tanh(0.1 * len(p) / 2 * p)) ** 0.15
        order = random.sample(range(len(p)), len(p))
        bits = torch.tensor([[1.0 if row >> place & 1 else -1.0 for place in range(n_qubits)] for row in order])
        rows = torch.cat((bits, (bent - bent.mean())[:, None]), 1)[: -(-m // n_mlp)]
        vector = mapping(rows).reshape(-1)[:m]
        loss = (vector - vector.mean()).square().sum()
        return torch.autograd.grad(loss, (leaf, *mapping.parameters()))[0]

    return run


PEERS: dict[str, Callable[..., Gradient]] = {
    "generator": generator,
    "torchquantum": torchquantum,
    "default.qubit": default_qubit,
    "lightning.qubit": lightning_qubit,
    "deepquantum": deepquantum,
    "tensorcircuit": tensorcircuit,
}


DISTRIBUTIONS = ("torch", "torchquantum", "pennylane", "pennylane-lightning", "deepquantum", "tensorcircuit-ng")


def versions() -> dict[str, str]:
    """Of the peers there are."""
    found = {}
    for name in DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def main() -> None:
    """Answer one line at a time until there are no more."""
    torch.set_num_threads(1)
    made: dict[tuple[Any, ...], Gradient] = {}
    answer = sys.stdout
    sys.stdout = sys.stderr  # some peers print
    for line in sys.stdin:
        task = json.loads(line)
        if task["peer"] == "versions":
            print(json.dumps(versions()), file=answer, flush=True)
            continue
        key = (task["peer"], task["n_qubits"], task["depth"], *task.get("more", ()))
        try:
            if key not in made:
                made[key] = PEERS[key[0]](*key[1:])
            angles, readout = torch.tensor(task["angles"]), torch.tensor(task["readout"])
            began = time.process_time()
            gradient = made[key](angles, readout)
            reply = {"seconds": time.process_time() - began, "gradient": gradient.tolist()}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:150]}
        print(json.dumps(reply), file=answer, flush=True)


if __name__ == "__main__":
    main()
