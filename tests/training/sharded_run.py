"""``qpeft`` under accelerate's FSDP2 without a GPU, for test_ranks.py: accelerate shards on accelerators only.

With KILL_AT=n all processes die right after the checkpoint of step n.
"""

import os
import sys
from typing import Any

import accelerate.state
import torch.distributed as dist
from accelerate.utils import DistributedType

from qpeft.cli import run
from qpeft.training.callbacks import Checkpoints

KILLED = 9


def pretend_to_have_accelerators() -> None:
    begin = accelerate.state.PartialState.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    accelerate.state.PartialState.__init__ = init


def die_at(step: int) -> None:
    save = Checkpoints.on_save

    def on_save(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        save(self, args, state, control, **kwargs)
        if state.global_step == step:
            dist.barrier()
            os._exit(KILLED)

    Checkpoints.on_save = on_save  # type: ignore[method-assign]


if __name__ == "__main__":
    pretend_to_have_accelerators()
    if "KILL_AT" in os.environ:
        die_at(int(os.environ["KILL_AT"]))
    sys.exit(run())
