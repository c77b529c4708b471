"""An executor counts, repeats and goes on: seeds follow from the number of an evaluation, also after a restart."""

import pytest
import torch
from torch import Tensor

from qpeft.circuits import build_ansatz
from qpeft.quantum import Execution, Executor, probabilities

CIRCUIT = build_ansatz("ry_cnot", 3, 2)
ANGLES = torch.randn(CIRCUIT.n_parameters, generator=torch.Generator().manual_seed(0))


def executor(backend: str = "sampled:shots=40", gradient: str = "auto", seed: int = 3) -> Executor:
    return Executor(CIRCUIT, Execution.open(backend, gradient, seed))


def run(one: Executor, times: int) -> list[Tensor]:
    return [one(ANGLES) for _ in range(times)]


def test_every_evaluation_has_shots_of_its_own_and_a_run_repeats_them() -> None:
    first, again, other = run(executor(), 3), run(executor(), 3), run(executor(seed=4), 3)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("gradient", ["surrogate", "surrogate:refresh=3", "shift"])
def test_a_restart_goes_on_where_it_stopped(gradient: str) -> None:
    whole = executor(gradient=gradient)
    expected = run(whole, 7)
    begun = executor(gradient=gradient)
    run(begun, 4)
    later = executor(gradient=gradient)
    later.load_state_dict(begun.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(run(later, 3), expected[4:], strict=True))
    assert later.meter.get_extra_state() == whole.meter.get_extra_state()


@pytest.mark.parametrize("gradient", ["surrogate", "surrogate:refresh=2", "surrogate:refresh=3"])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_rewind_repeats_the_last_evaluation(gradient: str, before: int) -> None:
    one = executor(gradient=gradient)
    last = run(one, before)[-1]
    one.rewind()
    assert torch.equal(one(ANGLES), last)


def test_refresh_asks_the_backend_at_every_third_evaluation_only() -> None:
    one = executor(gradient="surrogate:refresh=3")
    values = run(one, 7)
    assert one.meter.circuits == 3
    assert one.meter.shots_spent == 3 * 40
    assert torch.equal(values[0], values[2])
    assert not torch.equal(values[2], values[3])
    moved = one(ANGLES + 0.1) - values[6]  # the difference to the exact distribution stays
    torch.testing.assert_close(moved, probabilities(CIRCUIT, ANGLES + 0.1) - probabilities(CIRCUIT, ANGLES))


def test_auto_is_autograd_where_it_can_be() -> None:
    resolved = {b: Execution.open(b).method for b in ("exact", "noisy:readout=0.1", "sampled:shots=1")}
    assert resolved == {"exact": "autograd", "noisy:readout=0.1": "autograd", "sampled:shots=1": "surrogate"}
    assert Execution.open("sampled:shots=1", "auto:refresh=2").written == "surrogate:refresh=2"
