"""QAA's circuit in three forms: factors, one dense matrix, single gates; where they cross, and what the rule picks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from circuit import milliseconds, timed
from naive import single_gates
from qpeft.circuits import build_ansatz, qubits_for_dimension
from qpeft.quantum import amplitude_embed, basis_bits
from qpeft.quantum.engine.embedded import Program, dense_pays, embedded_expectations, real_program
from qpeft.training.studies.timing import take_turns


def contestants(depth: int, d: int, tokens: int) -> tuple[dict[str, Callable[[], Tensor]], bool]:
    """Forward and backward of each form, and whether the rule takes the dense one."""
    circuit = build_ansatz("ry_cnot", qubits_for_dimension(d), depth)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, d, generator=generator).requires_grad_()
    angles = torch.randn(circuit.n_parameters, generator=generator).requires_grad_()
    observables = 1 - 2 * basis_bits(circuit.n_qubits).float()
    cotangent = torch.randn(tokens, circuit.n_qubits, generator=generator)
    program = real_program(circuit, x.device, x.dtype)
    if not isinstance(program, Program):
        raise TypeError("RY and CNOT are a real program")
    forms: dict[str, Callable[[], Tensor]] = {
        "factored": lambda: embedded_expectations(program, angles, x, observables, dense=False),
        "dense": lambda: embedded_expectations(program, angles, x, observables, dense=True),
        "single gates": lambda: single_gates(circuit, angles, amplitude_embed(x, circuit.n_qubits)) @ observables,
    }

    def gradient(form: Callable[[], Tensor]) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(form(), (x, angles), cotangent)])

    first = gradient(forms["factored"])
    for form in forms.values():
        torch.testing.assert_close(gradient(form), first, atol=1e-4, rtol=1e-3)
    return {name: partial(gradient, form) for name, form in forms.items()}, dense_pays(program, tokens, d)


def measure(*, quick: bool) -> dict[str, Any]:
    """Times of all forms, and how much more than the fastest the chosen one takes."""
    torch.set_num_threads(1)
    widths, counts, depths = ((64, 256), (256,), (1, 4)) if quick else ((64, 256, 768), (64, 512, 4096), (1, 2, 4, 8))
    rows = []
    for d in widths:
        for tokens in counts:
            for depth in depths:
                runs, dense = contestants(depth, d, tokens)
                times = take_turns({name: partial(timed, run) for name, run in runs.items()}, 3, 0)
                ms = {name: milliseconds(taken) for name, taken in times.items()}
                chosen = "dense" if dense else "factored"
                excess = ms[chosen][1] / min(three[1] for three in ms.values())
                rows.append({"d": d, "tokens": tokens, "depth": depth, "ms": ms, "chosen": chosen, "excess": excess})
                print(f"d={d} tokens={tokens} depth={depth}: {chosen}, {excess:.2f} times the fastest", flush=True)
    return {"rows": rows, "worst": max(row["excess"] for row in rows)}
