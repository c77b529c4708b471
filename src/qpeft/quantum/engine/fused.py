"""Probabilities by one kernel forward and one backward: for accelerators, where every launch costs microseconds.

One program of the kernel holds one state vector on chip from the first gate to the last, so that memory traffic is a
state in and a state out, however deep the circuit. The torch path is the reference; needs Triton.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qpeft.circuits.circuit import Circuit, Operation, Parameter
from qpeft.errors import CircuitError, ConfigError, import_extra
from qpeft.quantum.engine.compiling import Local, Monomial, compile_circuit
from qpeft.quantum.engine.plan import small_matrix

# 4,096 complex amplitudes and their gradient are 32 registers a thread in a program of 512 threads.
MOST_QUBITS = 12
AMPLITUDES_A_THREAD = 8


@dataclass(frozen=True, eq=False)
class Walk:
    """A circuit as the tables the kernels walk through; K steps, R of them rotations.

    Attributes:
        steps: int32, shape ``(K, 4)``: bit of the target (0: a permutation), bit of the control (0: none), parameter
            (-1: fixed), and number of the rotation or of the permutation.
        matrices: Shape ``(K, 16)``: the 2 x 2 matrix at angle 0 and at angle pi, real and imaginary parts in turn.
        sources, inverses: int32, shape ``(number of permutations, 2**n)``.
        phases: Shape ``(number of permutations, 2**n, 2)``.
        has_phases: Whether any differs from 1.
        parameters: The parameter of each rotation, or None if they are 0, 1, 2, ... in order.
        n_rotations: R.
    """

    steps: Tensor
    matrices: Tensor
    sources: Tensor
    inverses: Tensor
    phases: Tensor
    has_phases: bool
    parameters: Tensor | None
    n_rotations: int


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept must be of use in training, too
def make_walk(circuit: Circuit, device: torch.device, dtype: torch.dtype) -> Walk:
    """The tables of a circuit; real numbers of this dtype."""
    steps: list[tuple[int, int, int, int]] = []
    matrices: list[np.ndarray] = []
    parameters: list[int] = []
    orders: dict[Monomial, int] = {}

    def add(operation: Operation) -> None:
        *control, target = (1 << circuit.n_qubits - 1 - wire for wire in operation.wires)
        if isinstance(operation.turn, Parameter):
            steps.append((target, sum(control), operation.turn.index, len(parameters)))
            parameters.append(operation.turn.index)
            ends: tuple[float | None, ...] = (0.0, np.pi)
        else:
            steps.append((target, sum(control), -1, 0))
            ends = (operation.turn, operation.turn)
        both = np.array([small_matrix(operation, angle) for angle in ends], dtype=np.complex128)
        matrices.append(both.view(np.float64).ravel())

    for instruction in compile_circuit(circuit):
        if isinstance(instruction, Local):
            for operation in (gate for column in instruction.gates for gate in column):
                add(operation)
        elif isinstance(instruction, Monomial):
            steps.append((0, 0, -1, orders.setdefault(instruction, len(orders))))
            matrices.append(np.zeros(16))
        else:
            add(instruction.operation)
    size = 2**circuit.n_qubits
    phases = [np.ones(size, dtype=complex) if one.phase is None else one.phase for one in orders]

    def integers(rows: list[Any], width: int) -> Tensor:
        return torch.tensor(np.array(rows, dtype=np.int32).reshape(-1, width), device=device)

    def numbers(rows: list[Any], *shape: int) -> Tensor:
        return torch.tensor(np.array(rows, dtype=np.float64).reshape(-1, *shape), dtype=dtype, device=device)

    in_order = parameters == list(range(circuit.n_parameters))
    return Walk(
        steps=integers(steps, 4),
        matrices=numbers(matrices, 16),
        sources=integers([one.source for one in orders], size),
        inverses=integers([one.inverse for one in orders], size),
        phases=numbers([phase.view(np.float64) for phase in phases], size, 2),
        has_phases=any(one.phase is not None for one in orders),
        parameters=None if in_order else torch.tensor(parameters, device=device),
        n_rotations=len(parameters),
    )


def fused_probabilities(circuit: Circuit, angles: Tensor, states: Tensor) -> Tensor:
    """|U(angles) states|^2, differentiable once.

    Args:
        circuit: up to 12 qubits.
        angles: radians, shape ``(..., P)``, float32 or float64.
        states: shape ``(..., 2**n)``, in the precision of the angles, real only if the circuit is.

    Returns:
        Shape ``(..., 2**n)``, real.

    Raises:
        CircuitError: the circuit has too many qubits.
        ConfigError: the tensors are not on a device for which Triton compiles.
        MissingExtraError: Triton is not installed.
    """
    if circuit.n_qubits > MOST_QUBITS:
        raise CircuitError(
            f"kernel=triton holds a state of at most {MOST_QUBITS} qubits on chip; got {circuit.n_qubits}; "
            "use kernel=torch, or a larger n_mlp"
        )
    if not angles.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise ConfigError(
            f"kernel=triton needs tensors on a GPU; got {angles.device}; use kernel=torch, "
            "or TRITON_INTERPRET=1 to try it out without one"
        )
    walk = make_walk(circuit, angles.device, angles.dtype)
    result: Tensor = _Fused.apply(angles, states, walk)  # type: ignore[no-untyped-call]
    return result


def triton_kernels() -> Any:
    """The module of the kernels; MissingExtraError unless Triton can be imported, which comes with torch for CUDA."""
    needs, install = "kernel=triton needs Triton", "Install it: pip install 'qpeft[triton]'"
    return import_extra("qpeft.quantum.engine.kernels", needs, install)


def warps_for(size: int) -> int:
    """Groups of 32 threads for a state of so many amplitudes.

    >>> warps_for(256), warps_for(4096)
    (1, 16)
    """
    return max(1, size // (32 * AMPLITUDES_A_THREAD))


def _launch(name: str, batch: torch.Size, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """One program a row of the batch, on the device of the tensors."""
    kernels = triton_kernels()
    if batch.numel():
        # Triton launches on the current device, whatever tensors it is given.
        with torch.cuda.device_of(arguments[0]):  # type: ignore[no-untyped-call]
            getattr(kernels, name)[(batch.numel(),)](*arguments, **options)


def _rows(tensor: Tensor, batch: torch.Size) -> tuple[Tensor, int]:
    """A tensor as rows, one a program, and the step from one to the next: 0 where all share one."""
    if tensor.numel() == tensor.shape[-1]:
        return tensor.reshape(tensor.shape[-1]).contiguous(), 0
    rows = tensor.expand(*batch, tensor.shape[-1]).contiguous()
    return rows, tensor.shape[-1] * (2 if tensor.is_complex() else 1)


def _flat(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, angles: Tensor, states: Tensor, walk: Walk) -> Tensor:
        batch = torch.broadcast_shapes(angles.shape[:-1], states.shape[:-1])  # type: ignore[no-untyped-call]
        size = states.shape[-1]
        (angle_rows, angle_step), (state_rows, state_step) = _rows(angles, batch), _rows(states, batch)
        result = angles.new_empty(*batch, size)
        keep = any(ctx.needs_input_grad)
        last = states.new_empty(*batch, size) if keep else states
        tables = (walk.steps, walk.matrices, walk.sources, walk.phases)
        tensors = (angle_rows, _flat(state_rows), _flat(last), result)
        numbers = (len(walk.steps), angle_step, state_step)
        _launch("run_circuit", batch, (*tables, *tensors, *numbers), _options(states, walk) | {"KEEP": keep})
        ctx.walk, ctx.batch = walk, batch
        ctx.save_for_backward(angles, states, *([last] if keep else []))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        angles, states, last = ctx.saved_tensors
        walk: Walk = ctx.walk
        angle_rows, angle_step = _rows(angles, ctx.batch)
        turned = angles.new_zeros(*ctx.batch, walk.n_rotations)
        flow = torch.empty_like(last)
        tables = (walk.steps, walk.matrices, walk.inverses, walk.phases)
        tensors = (angle_rows, _flat(last), cotangents[0].contiguous(), turned, _flat(flow))
        numbers = (len(walk.steps), walk.n_rotations, angle_step)
        _launch("undo_circuit", ctx.batch, (*tables, *tensors, *numbers), _options(states, walk))
        turned = turned.sum_to_size(*angles.shape[:-1], walk.n_rotations)
        if walk.parameters is not None:
            turned = torch.zeros_like(angles).index_add_(-1, walk.parameters, turned)
        return turned, flow.sum_to_size(states.shape), None


def _options(states: Tensor, walk: Walk) -> dict[str, Any]:
    size = states.shape[-1]
    kind = {"SIZE": size, "COMPLEX": states.is_complex(), "PHASES": walk.has_phases}
    return kind | {"num_warps": warps_for(size)}
