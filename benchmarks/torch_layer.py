"""QuantumLayer beside PennyLane's TorchLayer: two moons, trained under shots by parameter shift; accuracy and time.

python benchmarks/torch_layer.py              # five starts, five minutes on one core
python benchmarks/torch_layer.py --quick      # one start, few steps
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy.stats import t
from torch import Tensor, nn

from qpeft.circuits import build_ansatz
from qpeft.quantum import Angle, QuantumLayer

N_QUBITS, UPLOADS, SHOTS, BATCH, RATE = 2, 3, 100, 20, 0.1
CIRCUIT = build_ansatz("two_local:rotations=ry+rz", N_QUBITS, 1)


def moons(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two half circles that reach into each other, with noise: points ``(count, 2)`` and their moons, 0 or 1."""
    random = np.random.default_rng(seed)
    which, turn = random.integers(0, 2, count), random.uniform(0, np.pi, count)
    upper = np.stack((np.cos(turn), np.sin(turn)), -1)
    points = np.where(which[:, None] == 0, upper, np.array([1.0, 0.5]) - upper) + random.normal(0, 0.1, (count, 2))
    return torch.from_numpy(points).float(), torch.from_numpy(which).float()


def ours(start: Tensor, seed: int) -> nn.Module:
    """The layer of qpeft, measured."""
    return QuantumLayer(CIRCUIT, Angle(uploads=UPLOADS), ["ZI"], f"sampled:shots={SHOTS}", "shift", start, seed)


def theirs(start: Tensor, seed: int) -> nn.Module:
    """The same circuit as a QNode, measured."""
    import pennylane as qml

    def circuit(inputs: Tensor, weights: Tensor) -> Any:
        for part in weights.reshape(UPLOADS, -1):
            qml.AngleEmbedding(inputs, wires=range(N_QUBITS), rotation="Y")
            for operation in CIRCUIT.operations:
                if operation.turn is None:
                    qml.CNOT(wires=operation.wires)
                else:
                    gate = {"ry": qml.RY, "rz": qml.RZ}[operation.gate]
                    gate(part[operation.turn.index], wires=operation.wires)  # type: ignore[union-attr]
        return qml.expval(qml.PauliZ(0))

    device = qml.device("default.qubit", wires=N_QUBITS, seed=seed)
    node = qml.set_shots(qml.QNode(circuit, device, interface="torch", diff_method="parameter-shift"), shots=SHOTS)
    layer: nn.Module = qml.qnn.TorchLayer(node, {"weights": start.shape}, init_method={"weights": start})
    return layer


def trained(layer: nn.Module, seed: int, steps: int) -> dict[str, float]:
    """Accuracy on points that were not trained on, and milliseconds of a step: forward, backward and Adam."""
    x, y = moons(200, seed)
    head = nn.Linear(1, 1)
    nn.init.constant_(head.weight, 2.0)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=RATE)
    order = torch.Generator().manual_seed(seed)
    taken = []
    for _ in range(steps):
        rows = torch.randint(0, len(x), (BATCH,), generator=order)
        began = time.perf_counter()
        logits = head(layer(x[rows]).float().reshape(-1, 1)).squeeze(-1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken.append(time.perf_counter() - began)
    with torch.no_grad():
        x, y = moons(500, seed + 1000)
        right = (head(layer(x).float().reshape(-1, 1)).squeeze(-1) > 0) == (y > 0.5)
    return {"accuracy": right.float().mean().item(), "ms": 1000 * median(taken)}


def compare(starts: int, steps: int) -> dict[str, Any]:
    """Both layers from the same angles on the same points, in turns."""
    torch.set_num_threads(1)
    made: dict[str, Callable[[Tensor, int], nn.Module]] = {"QuantumLayer": ours, "TorchLayer": theirs}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in made}
    for seed in range(starts):
        draw = torch.Generator().manual_seed(seed)
        start = (2 * torch.rand(UPLOADS * CIRCUIT.n_parameters, generator=draw) - 1) * torch.pi
        for name, make in made.items():
            rows[name].append(trained(make(start.clone(), seed), seed, steps))
    differences = [a["accuracy"] - b["accuracy"] for a, b in zip(*rows.values(), strict=True)]
    ratios = [b["ms"] / a["ms"] for a, b in zip(*rows.values(), strict=True)]
    return {"starts": starts, "steps": steps, "shots": SHOTS, "rows": rows, "difference": differences, "ratio": ratios}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one start, 20 steps")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    found = compare(1, 20) if options.quick else compare(5, 120)
    for name, rows in found["rows"].items():
        accuracies = np.array([row["accuracy"] for row in rows])
        times = median(row["ms"] for row in rows)
        print(f"{name:13} accuracy {accuracies.mean():.3f} +- {accuracies.std():.3f}, {times:.1f} ms a step")
    differences = np.array(found["difference"])
    low, high = float("nan"), float("nan")
    if len(differences) > 1 and differences.std() > 0:
        spread = differences.std(ddof=1) / len(differences) ** 0.5
        low, high = t.interval(0.95, len(differences) - 1, differences.mean(), spread)
    print(f"difference in accuracy {differences.mean():+.3f}, 95 % interval {low:+.3f} to {high:+.3f}")
    print(f"time of TorchLayer over that of QuantumLayer {median(found['ratio']):.1f}")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
