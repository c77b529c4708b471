"""DDP and FSDP2 on two gloo processes give the adapter of a single process."""

import os
import socket
import time
from pathlib import Path

import peft
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from qpeft.qpa import QPAConfig, QPAOptimizer
from tiny_models import tiny_llama

STEPS = 4


def adapted() -> peft.PeftModel:
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return peft.get_peft_model(tiny_llama(), config)


def batches() -> torch.Tensor:
    """Token ids (STEPS, 4, 12): rows 0-1 for the first process, rows 2-3 for the second."""
    return torch.randint(2, 97, (STEPS, 4, 12), generator=torch.Generator().manual_seed(3))


def train(model: torch.nn.Module, rows: slice) -> torch.Tensor:
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    optimizer = QPAOptimizer(named, QPAConfig(n_mlp=16), lr=1e-2)
    for ids in batches():
        model(input_ids=ids[rows], labels=ids[rows]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for _, p in named]
    return torch.cat([p.detach().flatten() for p in whole])


def worker(rank: int, port: int, kind: str, out: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    model: torch.nn.Module = adapted()
    if kind == "ddp":
        model = torch.nn.parallel.DistributedDataParallel(model)
    else:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (2,))
        for layer in model.base_model.model.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    result = train(model, slice(2 * rank, 2 * rank + 2))
    torch.save(result, f"{out}.{rank}")
    leave(out)


def leave(out: str) -> None:
    """Leave once both results are on disk, without gloo's shutdown: its threads may abort a finished process."""
    deadline = time.monotonic() + 60
    while not all(Path(f"{out}.{rank}").exists() for rank in (0, 1)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    os._exit(0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_two_processes_equal_one(kind: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, args=(port, kind, str(tmp_path / "out.pt")), nprocs=2)
    alone = train(adapted(), slice(0, 4))
    start = torch.cat([p.detach().flatten() for p in adapted().parameters() if p.requires_grad])
    for rank in (0, 1):
        found = torch.load(tmp_path / f"out.pt.{rank}", weights_only=True)
        torch.testing.assert_close(found, alone, atol=2e-5, rtol=1e-4)
    assert (alone - start).abs().max() > 1e-3
