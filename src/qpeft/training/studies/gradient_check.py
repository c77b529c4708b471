"""gradient-check: parameter shift, autograd and central differences of every circuit family, in float64."""

from collections.abc import Callable
from itertools import product
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from qpeft.circuits import Circuit, build_ansatz
from qpeft.quantum import (
    EmbeddedCircuit,
    amplitude_embed,
    finite_difference_vjp,
    parameter_shift_vjp,
    pauli_z,
    probabilities,
)
from qpeft.records import StudyRow
from qpeft.records.spec import Strict
from qpeft.training.studies.choices import AnsatzName, EntanglerName
from qpeft.training.studies.study import Found, Study, Tick

# The families and patterns of the papers: a family registered later, or by a plug-in, may have no pattern to change.
FAMILIES = ("ry_cnot", "rx_cnot", "rxrz_cnot", "ryrz_cnot")
PATTERNS = ("chain", "ring", "all_to_all", "none")
READINGS = {"probabilities": "QPA", "embedded z": "QAA"}


class Settings(Strict):
    """Which circuits are checked."""

    ansatze: tuple[AnsatzName, ...] = Field(FAMILIES, min_length=1)
    entanglers: tuple[EntanglerName, ...] = Field(PATTERNS, min_length=1)
    depths: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2, 3, 4), min_length=1, description="L")
    qubits: tuple[Annotated[int, Field(ge=1, le=12)], ...] = Field((2, 3, 5), min_length=1)
    tokens: int = Field(
        3, ge=1, description="embedded vectors, of 3/4 of the register's length and at least 2 numbers"
    )
    step: float = Field(1e-5, gt=0, description="of the finite differences: radians, or units of the input")
    seed: int = 0


def points(settings: Settings) -> list[StudyRow]:
    """Every circuit, read in both ways."""
    grid = product(READINGS, settings.ansatze, settings.entanglers, settings.depths, settings.qubits)
    return [
        {"reading": reading, "ansatz": ansatz, "entangler": entangler, "depth": depth, "n_qubits": n_qubits}
        for reading, ansatz, entangler, depth, n_qubits in grid
    ]


def measure(settings: Settings, tick: Tick) -> Found:
    """Compare the gradients of every circuit with random angles, inputs and cotangents."""
    found = Found()
    for done, point in enumerate(points(settings)):
        ansatz, entangler = str(point["ansatz"]), str(point["entangler"])
        tick(done, f"{point['reading']} of {ansatz} {entangler}")
        circuit = build_ansatz(ansatz, int(point["n_qubits"] or 0), int(point["depth"] or 0), entangler)
        generator = torch.Generator().manual_seed(settings.seed + done)
        check = of_probabilities if point["reading"] == "probabilities" else of_embedded
        found.rows.append({**point, "n_angles": circuit.n_parameters, **check(circuit, settings, generator)})
    found.fits = [worst(found.rows, reading) for reading in READINGS]
    found.notes = [
        "float64; angles from U(-pi, pi), inputs and cotangents from N(0, 1); relative differences are over the "
        "largest entry of the autograd gradient"
    ]
    return found


def of_probabilities(circuit: Circuit, settings: Settings, generator: torch.Generator) -> StudyRow:
    """Gradient of ``cotangent . p(angles)``, as QPA needs it."""
    angles, cotangent = draw_angles(circuit, generator), normal(generator, 2**circuit.n_qubits)
    exact = of_leaf(angles, lambda leaf: probabilities(circuit, leaf) @ cotangent)
    return {
        **difference("shift", parameter_shift_vjp(probabilities, circuit, angles, cotangent), exact),
        **difference("finite", finite_difference_vjp(probabilities, circuit, angles, cotangent, settings.step), exact),
    }


def of_embedded(circuit: Circuit, settings: Settings, generator: torch.Generator) -> StudyRow:
    """Gradients of ``cotangent . z(x, angles)`` by the angles and by the hidden states x, as QAA needs them."""
    n, width = circuit.n_qubits, max(2, 3 * 2**circuit.n_qubits // 4)
    angles, x = draw_angles(circuit, generator), normal(generator, settings.tokens, width)
    cotangent = normal(generator, settings.tokens, n)
    read, states = EmbeddedCircuit(circuit), amplitude_embed(x, n)
    # z is a linear map of p, so the cotangent of p is its transpose applied to that of z.
    of_p = cotangent @ pauli_z(torch.eye(2**n, dtype=torch.float64)).mT

    def on_states(shifted: Circuit, rows: Tensor) -> Tensor:
        return probabilities(shifted, rows[:, None], states)

    exact = of_leaf(angles, lambda leaf: (read(x, leaf) * cotangent).sum())
    of_input = of_leaf(x, lambda leaf: (read(leaf, angles) * cotangent).sum())
    return {
        **difference("shift", parameter_shift_vjp(on_states, circuit, angles, of_p), exact),
        **difference("finite", finite_difference_vjp(on_states, circuit, angles, of_p, settings.step), exact),
        **difference("input_finite", input_differences(read, x, angles, cotangent, settings.step), of_input),
    }


def input_differences(read: EmbeddedCircuit, x: Tensor, angles: Tensor, cotangent: Tensor, step: float) -> Tensor:
    """Gradient by x, shape of x, by central differences; every token is moved along every axis at once."""
    moves = step * torch.eye(x.shape[-1], dtype=x.dtype)[:, None]  # (d, 1, d)
    with torch.no_grad():
        ahead, behind = read(x + moves, angles), read(x - moves, angles)  # (d, T, n)
    return ((ahead - behind) * cotangent).sum(-1).mT / (2 * step)


def of_leaf(values: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of a function of one tensor by autograd."""
    leaf = values.clone().requires_grad_()
    return torch.autograd.grad(function(leaf), leaf)[0]


def difference(name: str, found: Tensor, exact: Tensor) -> StudyRow:
    """The largest difference, and the same over the largest entry; None where every entry is zero."""
    largest, scale = (found - exact).abs().max().item(), exact.abs().max().item()
    return {f"{name}_max": largest, f"{name}_relative": largest / scale if scale > 0 else None}


def worst(rows: list[StudyRow], reading: str) -> StudyRow:
    """The largest differences over all circuits read in one way."""
    kept = [row for row in rows if row["reading"] == reading]
    keys = [key for key in kept[0] if key.endswith(("_max", "_relative"))]
    largest = {key: max(float(row[key] or 0.0) for row in kept) for key in keys}
    return {"reading": reading, "method": READINGS[reading], "circuits": len(kept), **largest}


def draw_angles(circuit: Circuit, generator: torch.Generator) -> Tensor:
    """Angles from U(-pi, pi), shape (P,), float64."""
    return (2 * torch.rand(circuit.n_parameters, generator=generator, dtype=torch.float64) - 1) * torch.pi


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """N(0, 1) in float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


STUDY = Study(Settings, points, measure)
