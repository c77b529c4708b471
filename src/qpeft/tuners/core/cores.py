"""How the small matrix R of a core is made of its trained numbers, as pure functions of named tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import torch
from torch import Tensor

from qpeft.quantum import final_state
from qpeft.tuners.core.config import CoreConfig

Tensors = dict[str, Tensor]
Read = Mapping[str, Tensor]


def nothing(config: CoreConfig) -> Tensors:
    """No fixed numbers."""
    return {}


@dataclass(frozen=True)
class Core:
    """One way to make R, shape (r, r).

    Attributes:
        trained: The trained numbers by name, at their start, where R is zero.
        matrix: R of all numbers by name, float32.
        fixed: Numbers that are drawn once and saved.
    """

    trained: Callable[[CoreConfig], Tensors]
    matrix: Callable[[CoreConfig, Read], Tensor]
    fixed: Callable[[CoreConfig], Tensors] = nothing


def full(config: CoreConfig) -> Tensors:
    """R itself."""
    return {"whole": torch.zeros(config.r, config.r)}


def diag_lowrank(config: CoreConfig) -> Tensors:
    """The diagonal and the factors beside it; b ~ N(0, 1/r), the others zero."""
    r, k = config.r, config.chosen("k")
    beside = {"a": torch.zeros(r, k), "b": torch.randn(r, k) / r**0.5} if k else {}
    return {"d": torch.zeros(r), **beside}


def diag_lowrank_matrix(config: CoreConfig, read: Read) -> Tensor:
    """``diag(d) + a b^T``."""
    diagonal = torch.diag(read["d"])
    return diagonal + read["a"] @ read["b"].T if "a" in read else diagonal


def first_zero(sizes: list[int]) -> Tensors:
    """Square matrices whose product is zero and learns: the first is zero, the rest identities."""
    return {f"g{i}": torch.eye(size) if i else torch.zeros(size, size) for i, size in enumerate(sizes)}


def kronecker(config: CoreConfig) -> Tensors:
    """One matrix a factor."""
    return first_zero(list(config.chosen("dims")))


def kronecker_matrix(config: CoreConfig, read: Read) -> Tensor:
    """The Kronecker product of the factors."""
    return reduce(torch.kron, (read[f"g{i}"].contiguous() for i in range(len(config.chosen("dims")))))


def wire_pairs(config: CoreConfig) -> list[tuple[int, int]]:
    """The wires of each gate of ``gates``, in the order they act."""
    n = len(config.chosen("dims"))
    rows = [[(i, i + 1) for i in range(first, n - 1, 2)] for first in (0, 1)]
    layer = [*rows[0], *rows[1]] if config.chosen("pattern") == "brickwork" else list(combinations(range(n), 2))
    return [pair for _ in range(config.chosen("depth")) for pair in layer]


def gates(config: CoreConfig) -> Tensors:
    """One free matrix a pair of wires."""
    dims = config.chosen("dims")
    return first_zero([dims[i] * dims[j] for i, j in wire_pairs(config)])


def gates_matrix(config: CoreConfig, read: Read) -> Tensor:
    """The product of the gates, each an identity on the wires it does not touch."""
    dims, r = config.chosen("dims"), config.r
    whole = torch.eye(r, device=read["g0"].device).view(*dims, r)
    for place, (i, j) in enumerate(wire_pairs(config)):
        gate = read[f"g{place}"].view(dims[i], dims[j], dims[i], dims[j])
        whole = torch.tensordot(gate, whole, dims=([2, 3], [i, j])).movedim((0, 1), (i, j))
    return whole.reshape(r, r)


def with_angles(names: tuple[str, ...]) -> tuple[Callable[[CoreConfig], Tensors], Callable[[CoreConfig], Tensors]]:
    """Trained and fixed numbers of a diagonal between circuits whose angles have these names."""

    def angles(config: CoreConfig) -> Tensors:
        count = config.circuit().n_parameters
        if config.chosen("angles") == "zero":
            return {name: torch.zeros(count) for name in names}
        return {name: (torch.rand(count) * 2 - 1) * torch.pi for name in names}

    def trained(config: CoreConfig) -> Tensors:
        return {"d": torch.zeros(config.r), **({} if config.chosen("angles") == "frozen" else angles(config))}

    def fixed(config: CoreConfig) -> Tensors:
        return angles(config) if config.chosen("angles") == "frozen" else {}

    return trained, fixed


def unitary(config: CoreConfig, angles: Tensor) -> Tensor:
    """The real part of a circuit's matrix on the first r basis states, shape (r, r)."""
    circuit = config.circuit()
    columns = final_state(circuit, angles, torch.eye(2**circuit.n_qubits, device=angles.device)[: config.r])
    return (columns.real if columns.is_complex() else columns)[:, : config.r].T


def rotations_matrix(config: CoreConfig, read: Read) -> Tensor:
    """``U diag(d) V^T`` of two real circuits."""
    return (unitary(config, read["left"]) * read["d"]) @ unitary(config, read["right"]).T


def circuit_matrix(config: CoreConfig, read: Read) -> Tensor:
    """``diag(d)`` times the real part of the circuit's matrix."""
    return read["d"][:, None] * unitary(config, read["turns"])


def givens_fixed(config: CoreConfig) -> Tensors:
    """The pairs of basis states of each rotation, in rows of disjoint pairs, beside frozen angles."""
    count, half = config.circuit().n_parameters, config.r // 2
    rows = [torch.rand(2, -(-count // half), config.r).argsort(-1)]
    pairs = rows[0].reshape(2, -1, 2)[:, :count]
    return {"pairs": pairs, **with_angles(("left", "right"))[1](config)}


def givens_rotation(config: CoreConfig, pairs: Tensor, angles: Tensor) -> Tensor:
    """The product of plane rotations, shape (r, r); pairs (n, 2), angles (n,)."""
    whole, half = torch.eye(config.r, device=angles.device), config.r // 2
    for row in range(0, len(angles), half):
        (i, j), turns = pairs[row : row + half].T, angles[row : row + half]
        cos, sin = turns.cos()[:, None], turns.sin()[:, None]
        first, second = whole[i], whole[j]
        both = torch.cat((cos * first - sin * second, sin * first + cos * second))
        whole = whole.index_copy(0, torch.cat((i, j)), both)
    return whole


def givens_matrix(config: CoreConfig, read: Read) -> Tensor:
    """``U diag(d) V^T`` of two chains of plane rotations."""
    left, right = (
        givens_rotation(config, read["pairs"][side].long(), read[name]) for side, name in enumerate(("left", "right"))
    )
    return (left * read["d"]) @ right.T


def numbers(config: CoreConfig) -> Tensors:
    """The few numbers of ``hash`` and ``mask``."""
    return {"few": torch.zeros(config.chosen("numbers"))}


def hash_fixed(config: CoreConfig) -> Tensors:
    """Which number each entry is, every number as often as any other, and its sign."""
    shape = (config.r, config.r)
    return {
        "places": (torch.rand(config.r**2).argsort() % config.chosen("numbers")).view(shape),
        "signs": torch.where(torch.rand(shape) < 0.5, -1.0, 1.0),
    }


def hash_matrix(config: CoreConfig, read: Read) -> Tensor:
    """The numbers at their places, with their signs."""
    return read["few"][read["places"].long()] * read["signs"]


def mask_fixed(config: CoreConfig) -> Tensors:
    """The entries that are trained, counted row by row."""
    return {"places": torch.rand(config.r**2).argsort()[: config.chosen("numbers")]}


def mask_matrix(config: CoreConfig, read: Read) -> Tensor:
    """The numbers at their entries, zeros elsewhere."""
    empty = torch.zeros(config.r**2, device=read["few"].device)
    return empty.index_copy(0, read["places"].long(), read["few"]).view(config.r, config.r)


KINDS: dict[str, Core] = {
    "full": Core(full, lambda config, read: read["whole"]),
    "diag_lowrank": Core(diag_lowrank, diag_lowrank_matrix),
    "kronecker": Core(kronecker, kronecker_matrix),
    "gates": Core(gates, gates_matrix),
    "rotations": Core(with_angles(("left", "right"))[0], rotations_matrix, with_angles(("left", "right"))[1]),
    "givens": Core(with_angles(("left", "right"))[0], givens_matrix, givens_fixed),
    "circuit": Core(with_angles(("turns",))[0], circuit_matrix, with_angles(("turns",))[1]),
    "hash": Core(numbers, hash_matrix, hash_fixed),
    "mask": Core(numbers, mask_matrix, mask_fixed),
}
