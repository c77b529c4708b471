"""Parameter shift equals autograd and finite differences, also for shared and controlled angles."""

import pytest
import torch
from torch import Tensor

from qpeft.circuits import GATES, Circuit, Operation, Parameter, build_ansatz, lowered
from qpeft.errors import ShapeError
from qpeft.quantum import (
    amplitude_embed,
    finite_difference_vjp,
    parameter_shift_vjp,
    probabilities,
    shift_probabilities,
)
from qpeft.quantum.shift import SHIFT_RULES

SHARED = Circuit(
    3,
    (
        Operation("h", (0,)),
        Operation("ry", (1,), Parameter(1)),
        Operation("crx", (0, 1), Parameter(0)),
        Operation("cry", (1, 2), Parameter(1)),
        Operation("rz", (2,), 0.4),
        Operation("crz", (2, 0), Parameter(0)),
        Operation("rx", (0,), Parameter(2)),
        Operation("h", (2,)),
    ),
)
EVERY = Circuit(
    3,
    (
        *(Operation("u", (wire,), (Parameter(0, 0.5), Parameter(1, -2.0, 0.3), 0.2 + wire)) for wire in range(3)),
        *(Operation(name, (0, 2), Parameter(2, 1.5)) for name in ("rxx", "ryy", "rzz", "rzx", "rbs", "cp")),
        Operation("cu", (2, 1), (Parameter(0), Parameter(1), Parameter(3), Parameter(3, 2.0))),
        *(Operation("ccx", (0, 1, 2)), Operation("p", (0,), Parameter(3)), Operation("csx", (0, 1))),
    ),
)
CIRCUITS = {
    "every gate, lines in shared angles": EVERY,
    "ry": build_ansatz("ry_cnot", 4, 3),
    "rxrz": build_ansatz("rxrz_cnot", 3, 2, "ring"),
    "shared and controlled": SHARED,
}
every_circuit = pytest.mark.parametrize("circuit", CIRCUITS.values(), ids=CIRCUITS)


def problem(circuit: Circuit) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    angles = torch.randn(circuit.n_parameters, dtype=torch.float64, generator=generator)
    return angles, torch.randn(2**circuit.n_qubits, dtype=torch.float64, generator=generator)


@every_circuit
def test_three_gradients_agree(circuit: Circuit) -> None:
    angles, cotangent = problem(circuit)
    leaf = angles.clone().requires_grad_()
    (exact,) = torch.autograd.grad(probabilities(circuit, leaf), leaf, cotangent)
    shifted = parameter_shift_vjp(probabilities, circuit, angles, cotangent)
    torch.testing.assert_close(shifted, exact, atol=1e-13, rtol=0)
    torch.testing.assert_close(
        finite_difference_vjp(probabilities, circuit, angles, cotangent), exact, atol=1e-8, rtol=0
    )


@every_circuit
def test_one_call_holds_all_rows(circuit: Circuit) -> None:
    calls: list[tuple[int, ...]] = []

    def spy(shifted: Circuit, angles: Tensor) -> Tensor:
        calls.append(tuple(angles.shape))
        return probabilities(shifted, angles)

    parameter_shift_vjp(spy, circuit, *problem(circuit))
    simple = lowered(circuit)
    operations = (circuit if simple is None else simple.circuit).operations
    gates = [op.gate_row for op in operations if isinstance(op.angle, Parameter)]
    assert calls == [(sum(len(SHIFT_RULES[gate.frequencies]) for gate in gates), len(gates))]


def test_every_rotation_of_the_table_has_a_rule() -> None:
    assert {gate.frequencies for gate in GATES.values() if gate.n_angles and not gate.pieces} == set(SHIFT_RULES)


@every_circuit
def test_backward_needs_no_gradient_from_the_device(circuit: Circuit) -> None:
    angles, cotangent = problem(circuit)

    def device(shifted: Circuit, rows: Tensor) -> Tensor:
        return torch.from_numpy(probabilities(shifted, rows).detach().numpy())

    leaf = angles.clone().requires_grad_()
    result = shift_probabilities(device, circuit, leaf)
    torch.testing.assert_close(result, probabilities(circuit, angles))
    (3 * result @ cotangent).backward()
    torch.testing.assert_close(leaf.grad, 3 * parameter_shift_vjp(probabilities, circuit, angles, cotangent))


def test_a_batch_of_states() -> None:
    circuit = CIRCUITS["ry"]
    angles, _ = problem(circuit)
    states = amplitude_embed(torch.randn(5, 11, dtype=torch.float64), 4)
    readout = torch.randn(5, 16, dtype=torch.float64)

    def on_states(shifted: Circuit, rows: Tensor) -> Tensor:
        return probabilities(shifted, rows[:, None], states)

    leaf, other = angles.clone().requires_grad_(), angles.clone().requires_grad_()
    (shift_probabilities(on_states, circuit, leaf) * readout).sum().backward()
    (probabilities(circuit, other, states) * readout).sum().backward()
    torch.testing.assert_close(leaf.grad, other.grad)


def test_a_circuit_without_parameters_needs_no_run() -> None:
    def never(circuit: Circuit, angles: Tensor) -> Tensor:
        raise AssertionError

    assert parameter_shift_vjp(never, Circuit(1), torch.zeros(0), torch.ones(2)).shape == (0,)
    assert finite_difference_vjp(never, Circuit(1), torch.zeros(0), torch.ones(2)).shape == (0,)


def test_errors() -> None:
    circuit = CIRCUITS["ry"]
    angles, cotangent = problem(circuit)
    with pytest.raises(ShapeError, match=r"one vector of 12 angle\(s\).* got shape \(2, 12\)"):
        shift_probabilities(probabilities, circuit, angles.expand(2, -1))
    with pytest.raises(ShapeError, match=r"fn must return shape \(24, 16\)"):
        parameter_shift_vjp(lambda c, a: probabilities(c, a)[0], circuit, angles, cotangent)
    with pytest.raises(ShapeError, match=r"must return shape \(1, \.\.\., 2\*\*n\)"):
        shift_probabilities(lambda c, a: probabilities(c, a)[0], circuit, angles)
