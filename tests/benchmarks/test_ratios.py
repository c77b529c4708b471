"""What must not get slower: ratios within one process, bounds generous; bytes rather than time where it can be."""

from collections.abc import Callable
from time import process_time
from typing import Any

import pytest
import torch
from torch import Tensor

from qpeft.assets import model_folder
from qpeft.circuits import build_ansatz
from qpeft.quantum import amplitude_embed, basis_bits, probabilities
from qpeft.quantum.amplitudes import EmbeddedCircuit
from qpeft.quantum.starts import random_angles
from qpeft.records import MethodSpec

Benchmark = Callable[[str], Any]


def ratio(run: Callable[[], object], other: Callable[[], object], turns: int) -> float:
    """Work of the other over ours: the fastest of each, in turns, so that the scheduler's share is left out."""
    best = [float("inf")] * 2
    for _ in range(turns):
        for place, call in enumerate((run, other)):
            began = process_time()
            call()
            best[place] = min(best[place], process_time() - began)
    return best[1] / best[0]


@pytest.mark.parametrize("n", [5, 11])
def test_the_compiled_circuit_is_three_times_as_fast_as_single_gates(n: int, benchmark: Benchmark) -> None:
    single_gates = benchmark("naive").single_gates
    circuit = build_ansatz("ry_cnot", n, 8)
    angles = random_angles(circuit.n_parameters).requires_grad_()
    readout = torch.randn(2**n)
    ours, naive = (
        (lambda: probabilities(circuit, angles)),
        (lambda: single_gates(circuit, angles, torch.eye(1, 2**n))[0]),
    )
    torch.testing.assert_close(ours(), naive(), atol=1e-5, rtol=0)

    def gradient(p: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(p(), angles, readout)

    assert ratio(gradient(ours), gradient(naive), 15) > 3


def test_the_layer_of_qaa_is_twice_as_fast_as_single_gates(benchmark: Benchmark) -> None:
    read, single_gates = EmbeddedCircuit(build_ansatz("ry_cnot", 10, 2)), benchmark("naive").single_gates
    x, angles = torch.randn(64, 768).requires_grad_(), random_angles(20).requires_grad_()
    signs = 1.0 - 2 * basis_bits(10)

    def naive() -> Tensor:
        probabilities: Tensor = single_gates(read.circuit, angles, amplitude_embed(x, 10))
        return probabilities @ signs

    torch.testing.assert_close(read(x, angles), naive(), atol=1e-5, rtol=0)

    def gradient(z: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(z().sum(), (x, angles))

    assert ratio(gradient(lambda: read(x, angles)), gradient(naive), 9) > 2


def kept(run: Callable[[], Tensor]) -> int:
    """Bytes a graph keeps between forward and backward."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        seen[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        graph = run()
    assert graph.requires_grad
    return sum(seen.values())


def test_a_deep_circuit_keeps_no_more_than_a_shallow_one() -> None:
    sizes = []
    for depth in (8, 64):
        circuit = build_ansatz("ry_cnot", 15, depth)
        angles = random_angles(circuit.n_parameters).requires_grad_()
        sizes.append(kept(lambda circuit=circuit, angles=angles: probabilities(circuit, angles)) - angles.nbytes)  # type: ignore[misc]
    assert sizes[0] == sizes[1] <= 2 * 4 * 2**15


@pytest.mark.parametrize(("ansatz", "depth"), [("rx_cnot", 1), ("ry_cnot", 2), ("ry_cnot", 8)])
def test_the_layer_of_qaa_keeps_one_state_a_token(ansatz: str, depth: int) -> None:
    """Two real ones for RX; 128 KiB for everything that does not grow with tokens."""
    read = EmbeddedCircuit(build_ansatz(ansatz, 10, depth))
    x, angles = torch.randn(256, 768).requires_grad_(), random_angles(10 * depth).requires_grad_()
    states = (2 if ansatz == "rx_cnot" else 1) * 256 * 1024 * 4
    assert kept(lambda: read(x, angles)) - x.nbytes < 1.05 * states + depth * 2**17


@pytest.mark.skipif(not (model_folder() / "config.json").exists(), reason="the embedded model is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_step_of_qpa_costs_little_more_than_one_of_lora(benchmark: Benchmark) -> None:
    step = benchmark("step")
    lora = MethodSpec(name="lora", options={"r": 4, "target_modules": "all-linear"})
    ids = torch.randint(2, 4000, (4, 64), generator=torch.Generator().manual_seed(0))
    methods = (MethodSpec(name="qpa", options={"n_mlp": 512}, over=lora), lora)
    qpa, plain = (step.taker(*step.prepare(step.embedded(), method), ids) for method in methods)
    assert ratio(qpa, plain, 6) > 1 / 1.5
