"""Noisy circuits: exact probabilities and observables under noise, differentiable by autograd.

The state is the vector of 4^n Pauli coefficients; see ``channels``. A qubit is an axis of size 1 before its first gate
(nothing is known to happen to |0>), of size 4 while gates act, and of size 2, its readings, after its last one.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from qpeft.circuits.circuit import Circuit
from qpeft.errors import CircuitError, ShapeError
from qpeft.quantum.engine.simulate import require_shapes
from qpeft.quantum.noise.channels import beside, confusion
from qpeft.quantum.noise.device import load_device
from qpeft.quantum.noise.elements import noisy_elements
from qpeft.quantum.noise.fuse import Block, Fused, fuse
from qpeft.quantum.noise.model import NoiseModel
from qpeft.quantum.noise.pauli import apply_matrix, move_axis, observable_matrices, pauli_coefficients
from qpeft.quantum.simple import simple

LARGEST = 12
# Numbers a step holds for rows of angles simulated together: more leaves the caches (2 to 4 times slower), then the
# memory.
_AT_ONCE = 2**19


def noisy_probabilities(circuit: Circuit, noise: NoiseModel, angles: Tensor, states: Tensor | None = None) -> Tensor:
    """Probabilities to read each basis state, under noise.

    >>> from qpeft.circuits import build_ansatz
    >>> circuit = build_ansatz("ry_cnot", 1, 1)
    >>> noisy_probabilities(circuit, NoiseModel(depolarizing=0.2), torch.zeros(1))
    tensor([0.9000, 0.1000])

    Args:
        circuit: up to 12 qubits; on a device, gates on two qubits must act on neighbours.
        noise: what goes wrong.
        angles: radians, shape ``(..., P)``, float32 or float64.
        states: amplitudes before the circuit, without noise, shape ``(..., 2**n)``, real or complex; None is
            ``|0...0>``. Leading axes of angles and states broadcast; each state takes 4**n numbers a step;
            noisy_observables is the way for many.

    Returns:
        Values that sum to the squared norm of the states, 0 or more, shape ``(..., 2**n)``.

    Raises:
        ShapeError: the last axis of angles or states does not fit the circuit, or angles are not float32 or float64.
        CircuitError: the register is too large, or the circuit does not fit the line of the device.
        ConfigError: the device has no line of this length.
    """
    circuit, angles = simple(circuit, angles)
    require_shapes(circuit, angles, states)
    at_once = max(1, _AT_ONCE // 4**circuit.n_qubits)
    if states is not None or angles.shape[:-1].numel() <= at_once:
        return _run(circuit, noise, angles, states)
    rows = angles.flatten(0, -2)
    if at_once == 1:  # a single row without a leading axis is simulated faster
        result = torch.stack([_run(circuit, noise, row, None) for row in rows.unbind()])
    else:
        result = torch.cat([_run(circuit, noise, part, None) for part in torch.split(rows, at_once)])
    return result.view(*angles.shape[:-1], -1)


def noisy_observables(
    circuit: Circuit, noise: NoiseModel, angles: Tensor, observables: Tensor, *, hermitian: bool = False
) -> Tensor:
    """Matrices A_i with ``x^T A_i x`` the noisy mean of observable i after the circuit, for any state x before it.

    The observables are taken backwards through the circuit once, so any number of states costs a matrix product.

    >>> from qpeft.circuits import build_ansatz
    >>> circuit, z = build_ansatz("ry_cnot", 1, 1), torch.tensor([[1.0], [-1.0]])
    >>> noisy_observables(circuit, NoiseModel(depolarizing=0.2), torch.zeros(1), z).round(decimals=3)
    tensor([[[ 0.8000, -0.0000],
             [-0.0000, -0.8000]]])

    Args:
        circuit: as for noisy_probabilities.
        noise: what goes wrong.
        angles: radians, shape ``(..., P)``, float32 or float64.
        observables: the value of each observable for each basis state read, shape ``(2**n, features)``.
        hermitian: give complex Hermitian matrices, right for complex states: ``x^H A_i x``. Their real part, the
            default, is enough for real ones.

    Returns:
        Shape ``(..., features, 2**n, 2**n)``, symmetric, in the precision of the angles.

    Raises:
        ShapeError: angles or observables do not fit the circuit.
        CircuitError: the register is too large, or the circuit does not fit the line of the device.
        ConfigError: the device has no line of this length.
    """
    circuit, angles = simple(circuit, angles)
    require_shapes(circuit, angles, None)
    if observables.dim() != 2 or observables.shape[0] != 2**circuit.n_qubits:
        raise ShapeError(
            f"observables must have shape (2**{circuit.n_qubits}, features), one value per basis state; "
            f"got {tuple(observables.shape)}"
        )
    with torch.autocast(angles.device.type, enabled=False):
        plan = _plan(circuit, noise, angles.device, angles.dtype)
        matrices = _matrices(plan, angles, ground=False)
        values, sizes = observables.to(angles.dtype).mT, [2] * circuit.n_qubits
        for block, matrix in zip(reversed(plan.fused.blocks), reversed(matrices), strict=True):
            back = matrix.mT if angles.dim() == 1 else matrix.mT.unsqueeze(-3)
            values = _step(values, back, block.wires, sizes, [4] * len(block.wires))
        return observable_matrices(values, hermitian=hermitian)


def _run(circuit: Circuit, noise: NoiseModel, angles: Tensor, states: Tensor | None) -> Tensor:
    """All rows of angles, and all states, at once."""
    if states is not None:
        dtype = torch.promote_types(angles.dtype, states.dtype.to_real() if states.is_complex() else states.dtype)
        angles, states = angles.to(dtype), states.to(dtype.to_complex() if states.is_complex() else dtype)
    # A model under autocast must not lower the precision of the circuit.
    with torch.autocast(angles.device.type, enabled=False):
        plan = _plan(circuit, noise, angles.device, angles.dtype)
        ground = states is None
        values = angles.new_ones(1) if states is None else pauli_coefficients(states)
        sizes = [1 if ground else 4] * circuit.n_qubits
        for block, matrix in zip(plan.fused.blocks, _matrices(plan, angles, ground=ground), strict=True):
            values = _step(values, matrix, block.wires, sizes, [2 if last else 4 for last in block.last])
        # Rounding may leave -1e-9 where a probability is 0, and what follows may take a root.
        return values.clamp_min(0)


@dataclass(frozen=True, eq=False)
class _Plan:
    """A fused circuit with its constants as tensors; entries and exits hold a matrix for each block."""

    fused: Fused
    constants: Tensor
    weights: Tensor
    fixed: Tensor
    turns: Tensor
    pairs: Tensor
    gates: Tensor
    entries: tuple[Tensor | None, ...]
    exits: tuple[Tensor | None, ...]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the plan is kept, and must be of use in training, too
def _plan(circuit: Circuit, noise: NoiseModel, device: torch.device, dtype: torch.dtype) -> _Plan:
    n_qubits = circuit.n_qubits
    if n_qubits > LARGEST:
        raise CircuitError(
            f"noise is simulated for up to {LARGEST} qubits, 4**{LARGEST} numbers; the circuit has {n_qubits}; "
            f"use fewer qubits, or the aer backend, which samples trajectories"
        )
    fused = fuse(noisy_elements(circuit, noise), n_qubits, circuit.n_parameters)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    readings = [
        np.array(confusion(*flips)) @ [[0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5]] for flips in _flips(noise, n_qubits)
    ]
    start, eye = np.array([[1.0], [0], [0], [1]]), np.eye(4)
    entries, exits = [], []
    for block in fused.blocks:
        ends = zip(block.wires, block.first, block.last, strict=True)
        entry, exit_ = zip(*((start if a else eye, readings[w] if z else eye) for w, a, z in ends), strict=True)
        entries.append(tensor(beside(*entry)) if any(block.first) else None)
        exits.append(tensor(beside(*exit_)) if any(block.last) else None)
    return _Plan(
        fused=fused,
        constants=tensor(fused.constants),
        weights=tensor(fused.weights),
        fixed=tensor(fused.fixed),
        turns=torch.tensor(fused.turns, device=device),
        pairs=torch.tensor(fused.pairs, device=device),
        gates=tensor(fused.gates),
        entries=tuple(entries),
        exits=tuple(exits),
    )


def _flips(noise: NoiseModel, n_qubits: int) -> list[tuple[float, float]]:
    """Probabilities to read 1 for 0 and 0 for 1, a pair for each qubit."""
    flips = noise.flips()
    if flips is not None:
        return [flips] * n_qubits
    return [(qubit.p10, qubit.p01) for qubit in load_device(str(noise.device), n_qubits).qubits]


def _matrices(plan: _Plan, angles: Tensor, *, ground: bool) -> list[Tensor]:
    """The matrix of each block for these angles, with what stands before and after it."""
    runs = _runs(plan, angles)
    stages = _stages(plan, runs)
    matrices = []
    for block, entry, exit_ in zip(plan.fused.blocks, plan.entries, plan.exits, strict=True):
        matrix = _joined(block, runs, stages)
        matrix = matrix if entry is None or not ground else matrix @ entry
        matrices.append(matrix if exit_ is None else exit_ @ matrix)
    return matrices


def _runs(plan: _Plan, angles: Tensor) -> Tensor:
    """What happens to one wire between gates on two, shape ``(..., runs, 4, 4)``."""
    turns = (angles @ plan.weights.mT + plan.constants)[..., None, None]
    still, along, across = angles.new_zeros(3, 4, 4).unbind()
    still[0, 0] = still[3, 3] = along[1, 1] = along[2, 2] = across[2, 1] = 1
    across[1, 2] = -1
    table = still + turns.cos() * along + turns.sin() * across
    runs = plan.fixed[0].expand(*angles.shape[:-1], -1, -1, -1)
    for numbers, after in zip(plan.turns, plan.fixed[1:], strict=True):
        runs = after @ table.index_select(-3, numbers) @ runs
    return runs


def _stages(plan: _Plan, runs: Tensor) -> tuple[Tensor, ...]:
    """Gates on two wires with the runs before them, each of shape ``(..., 16, 16)``."""
    one, two = (runs.index_select(-3, numbers) for numbers in plan.pairs.unbind(-1))
    both = (one[..., :, None, :, None] * two[..., None, :, None, :]).flatten(-2).flatten(-3, -2)
    return (plan.gates @ both).unbind(-3)


def _joined(block: Block, runs: Tensor, stages: tuple[Tensor, ...]) -> Tensor:
    if len(block.wires) == 1:
        return runs[..., block.parts[0], :, :]
    matrix = stages[block.parts[0]]
    for part in block.parts[1:]:
        matrix = stages[part] @ matrix
    return matrix


def _step(values: Tensor, matrix: Tensor, wires: tuple[int, ...], sizes: list[int], after: list[int]) -> Tensor:
    """Apply the matrix of a block; the sizes of its axes become those after it."""
    first, last = wires[0], wires[-1]
    apart = last - first > 1
    if apart:
        values = move_axis(values, last, first + 1, sizes)
        sizes.insert(first + 1, sizes.pop(last))
    axes = list(range(first, first + len(wires)))
    values = apply_matrix(values, matrix, axes, sizes)
    sizes[first : first + len(wires)] = after
    if apart:
        values = move_axis(values, first + 1, last, sizes)
        sizes.insert(last, sizes.pop(first + 1))
    return values
