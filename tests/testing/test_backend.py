"""Planted faults in a backend, each of a kind that has happened: the contract names the promise that is broken."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from qpeft.circuits import Circuit
from qpeft.quantum import ExactBackend, SampledBackend, Shots
from qpeft.testing import BACKEND_PARTS, broken, check_backend

EXACT, SAMPLED = ExactBackend(), SampledBackend(Shots(4000))


@dataclass(frozen=True)
class Planted:
    """A good backend with one thing changed: a declaration, or what it does with a result."""

    inner: Any
    fault: str

    def __getattr__(self, name: str) -> Any:
        said = {"claims gradients": {"differentiable": True}, "hides gradients": {"differentiable": False}}
        said["claims more shots"] = {"shots": Shots(9000)}
        return said.get(self.fault, {}).get(name, getattr(self.inner, name))

    def details(self, circuit: Circuit) -> dict[str, Any]:
        return {"layout": [0, 1]} if self.fault == "odd details" else dict(self.inner.details(circuit))

    def probabilities(
        self, circuit: Circuit, angles: Tensor, states: Tensor | None = None, *, seed: int = 0
    ) -> Tensor:
        n, fault = circuit.n_qubits, self.fault
        seed = 0 if fault == "one seed for all" else seed
        states = None if fault == "no input states" else states
        if fault == "takes any shape":
            angles = torch.nn.functional.pad(angles, (0, max(0, circuit.n_parameters - angles.shape[-1])))
        found: Tensor = self.inner.probabilities(circuit, angles, states, seed=seed)
        if fault == "qubits turned round":
            axes = [-1 - k for k in range(n)]
            batch = found.dim() - 1
            found = found.reshape(*found.shape[:-1], *[2] * n)
            found = found.permute(*range(batch), *[batch + n + a for a in axes]).reshape(*found.shape[:batch], -1)
        if fault == "equal rows copied" and found.dim() > 1:
            found = found[:1].expand_as(found).clone()
        return {"double": found.double(), "unnormalised": 1.1 * found, "no angles": found.detach()}.get(fault, found)


@pytest.mark.parametrize(
    ("inner", "fault", "part"),
    [
        (EXACT, "qubits turned round", "order of qubits"),
        (EXACT, "unnormalised", "distribution"),
        (EXACT, "no input states", "input states"),
        (EXACT, "double", "precision"),
        (EXACT, "no angles", "gradients"),
        (EXACT, "hides gradients", "gradients"),
        (SAMPLED, "claims gradients", "gradients"),
        (SAMPLED, "one seed for all", "seeds"),
        (SAMPLED, "equal rows copied", "seeds"),
        (SAMPLED, "claims more shots", "seeds"),
        (EXACT, "takes any shape", "shapes"),
        (EXACT, "odd details", "value"),
    ],
)
def test_a_planted_fault_is_caught(inner: Any, fault: str, part: str) -> None:
    assert broken(BACKEND_PARTS[part], Planted(inner, fault)) is not None
    assert broken(BACKEND_PARTS[part], Planted(inner, "none")) is None


def test_all_broken_promises_are_told_together() -> None:
    with pytest.raises(AssertionError, match=r"distribution: [\s\S]*\ngates without angles: "):
        check_backend(Planted(EXACT, "unnormalised"))
