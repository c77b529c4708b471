"""The two forms of an embedded circuit: equal in values and gradients, and the dense one where it pays."""

import pytest
import torch
from torch import Tensor

from qpeft.circuits import Circuit, build_ansatz
from qpeft.quantum import amplitude_embed, basis_bits, final_state
from qpeft.quantum.engine import embedded
from qpeft.quantum.engine.embedded import Program, dense_pays, embedded_expectations, real_program


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def program_of(circuit: Circuit) -> Program:
    program = real_program(circuit, torch.device("cpu"), torch.float64)
    assert program is not None
    return program


def by_states(circuit: Circuit, angles: Tensor, x: Tensor, observables: Tensor) -> Tensor:
    return final_state(circuit, angles, amplitude_embed(x, circuit.n_qubits)).square() @ observables


@pytest.mark.parametrize(("n", "d"), [(1, 1), (1, 2), (3, 5), (6, 64), (7, 100), (8, 200)])
@pytest.mark.parametrize("depth", [1, 3])
def test_forms_equal_the_state_vector(n: int, d: int, depth: int) -> None:
    circuit = build_ansatz("ry_cnot", n, depth)
    observables = 1.0 - 2 * basis_bits(n).double()
    x, angles, cotangent = normal(9, d), normal(circuit.n_parameters, seed=1), normal(9, n, seed=2)
    x[3] = 0
    x[4] *= 1e-200
    results = []
    for form in (False, True, None):
        leaves = [x.clone().requires_grad_(), angles.clone().requires_grad_()]
        z = (
            by_states(circuit, leaves[1], leaves[0], observables)
            if form is None
            else embedded_expectations(program_of(circuit), leaves[1], leaves[0], observables, dense=form)
        )
        results.append([z, *torch.autograd.grad(z, leaves, cotangent)])
    for found in results[:2]:
        torch.testing.assert_close(found, results[2], atol=1e-12, rtol=0)
    assert not results[1][0][3:5].any()


@pytest.mark.parametrize(
    ("d", "depth", "tokens", "pays"),
    [
        *((64, 1, 64, False), (64, 1, 1024, True), (64, 8, 4096, True)),
        *((256, 2, 4096, False), (256, 8, 4096, True)),
        *((768, 2, 4096, False), (768, 8, 256, False), (768, 8, 4096, True)),
    ],
)
def test_the_rule_is_what_was_measured(d: int, depth: int, tokens: int, pays: bool) -> None:
    program = program_of(build_ansatz("ry_cnot", (d - 1).bit_length(), depth))
    assert dense_pays(program, tokens, d) == pays


def test_rx_keeps_to_factors_and_the_rule_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not dense_pays(program_of(build_ansatz("rx_cnot", 4, 1)), 10_000, 16)
    circuit, made = build_ansatz("ry_cnot", 4, 2), []
    real = embedded._matrix
    monkeypatch.setattr(embedded, "_matrix", lambda *given: made.append(given) or real(*given))
    for tokens, times in ((16, 0), (200, 1)):
        observables = 1.0 - 2 * basis_bits(4).double()
        embedded_expectations(program_of(circuit), normal(8), normal(tokens, 16), observables)
        assert len(made) == times
