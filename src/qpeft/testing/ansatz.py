"""The contract of an ansatz: what every method, backend and record relies on, one function a promise."""

from collections.abc import Callable
from itertools import pairwise

import torch

from qpeft.circuits import Circuit, Parameter, build_ansatz, circuit_cost, draw_text, from_qasm3, to_qasm3
from qpeft.circuits.unitary import unitary
from qpeft.quantum import ExactBackend
from qpeft.testing.promises import check

SIZES, DEPTHS = (1, 2, 3, 5), (1, 2, 3)


def _angles(circuit: Circuit) -> torch.Tensor:
    return torch.randn(circuit.n_parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def sizes(ansatz: str) -> None:
    """A circuit of the asked number of qubits, from one on."""
    for n in SIZES:
        for depth in DEPTHS:
            circuit = build_ansatz(ansatz, n, depth)
            assert circuit.n_qubits == n, f"{n} qubits are needed; got {circuit.n_qubits}"


def same(ansatz: str) -> None:
    """The same circuit at each call: a saved run must find its own again."""
    for n in SIZES:
        assert build_ansatz(ansatz, n, 2) == build_ansatz(ansatz, n, 2), f"two calls for {n} qubits differ"


def layers(ansatz: str) -> None:
    """Every layer adds equally many angles, and on several qubits there are some."""
    for n in SIZES[1:]:
        counts = [build_ansatz(ansatz, n, depth).n_parameters for depth in DEPTHS]
        steps = {after - before for before, after in pairwise(counts)}
        assert len(steps) == 1, f"layers add different numbers of angles on {n} qubits: {counts}"
        assert counts[0] > 0, f"there is no angle to train on {n} qubits"


def angles(ansatz: str) -> None:
    """Parameters are numbered from 0 without a gap, and each turns something."""
    for n in SIZES[1:]:
        circuit = build_ansatz(ansatz, n, 2)
        used = {angle.index for op in circuit.operations for angle in op.angles if isinstance(angle, Parameter)}
        missing = sorted(set(range(circuit.n_parameters)) - used)
        assert not missing, f"angles {missing} of {circuit.n_parameters} turn no gate on {n} qubits"


def run(ansatz: str) -> None:
    """The simulator gives what the product of the gates' matrices says, with a gradient."""
    for n in SIZES[:3]:
        circuit = build_ansatz(ansatz, n, 2)
        given = _angles(circuit).requires_grad_()
        found = ExactBackend().probabilities(circuit, given)
        wanted = abs(unitary(circuit, given.tolist())[:, 0]) ** 2
        torch.testing.assert_close(found.detach(), torch.as_tensor(wanted, dtype=torch.float64))
        if circuit.n_parameters:
            (gradient,) = torch.autograd.grad(found[0], given)
            assert bool(torch.isfinite(gradient).all()), "a gradient is not finite"


def twin(ansatz: str) -> None:
    """Without entangling gates every qubit stands for itself: what ``no_entangler`` and ablate compare with."""
    circuit = build_ansatz(ansatz, 3, 2, "none")
    joined = [op.gate for op in circuit.operations if len(op.wires) > 1]
    assert not joined, f"entangler 'none' must leave no gate on several wires; got {joined}"


def written(ansatz: str) -> None:
    """OpenQASM 3 text and back: adapters and records hold the circuit so."""
    for n in SIZES:
        circuit = build_ansatz(ansatz, n, 2)
        if not circuit.operations:
            continue
        again, given = from_qasm3(to_qasm3(circuit)), _angles(circuit)
        assert again.n_parameters == circuit.n_parameters, "the text has another number of angles"
        first, second = (ExactBackend().probabilities(one, given) for one in (circuit, again))
        torch.testing.assert_close(first, second)


def told(ansatz: str) -> None:
    """It can be drawn and counted."""
    circuit = build_ansatz(ansatz, 3, 2)
    assert draw_text(circuit).strip(), "the drawing is empty"
    assert circuit_cost(circuit).n_gates == len(circuit.operations), "the counts are of another circuit"


# Each works alone on a name and raises where its promise is broken.
ANSATZ_PARTS: dict[str, Callable[[str], None]] = {
    "sizes": sizes,
    "the same at each call": same,
    "layers": layers,
    "angles": angles,
    "run": run,
    "without entanglers": twin,
    "written and read": written,
    "drawn and counted": told,
}


def check_ansatz(ansatz: str) -> None:
    """Try every promise of ``ANSATZ_PARTS`` on a registered ansatz and tell all that are broken.

    >>> check_ansatz("two_local:gate=crz,entangler=ring")

    Args:
        ansatz: Its name, with options where it takes some.

    Raises:
        AssertionError: One line for each broken promise.
    """
    check(ANSATZ_PARTS, ansatz)
