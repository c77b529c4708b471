"""CoreCallback: fits the basis before a Trainer's first step (not imported by the package, see qpeft.tuners)."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import IterableDataset
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from qpeft.tuners.core.fit import fit_basis
from qpeft.tuners.core.layer import core_layers


class CoreCallback(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Fits the basis of a core to batches of the training data as a ``transformers.Trainer`` begins.

    The rows are drawn with the Trainer's seed of the data, so that equal runs have equal bases; those of the first
    steps are others. A run that goes on from a checkpoint has its basis from there. ``told`` says what it cost.

    Args:
        adapter_name: Whose basis.
        memory: See `fit_basis`; None is its default.
    """

    def __init__(self, adapter_name: str = "default", memory: int | None = None) -> None:
        self.adapter_name, self.memory = adapter_name, memory
        self.told = ""

    def state(self) -> dict[str, Any]:
        """What the Trainer writes into a checkpoint."""
        arguments = {"adapter_name": self.adapter_name, "memory": self.memory}
        return {"args": arguments, "attributes": {}, "told": self.told}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Fit, or take over what an earlier session was told."""
        saved = state.stateful_callbacks.get(type(self).__name__, {}).get("told")
        if state.global_step > 0 and saved:
            self.told = saved
        model, options = kwargs["model"], {} if self.memory is None else {"memory": self.memory}
        layer = next(iter(core_layers(model, self.adapter_name).values()))
        count = layer.delta(self.adapter_name).config.chosen("basis_batches")
        batches = drawn(kwargs["train_dataloader"], args, count)
        # A collator may draw, too; the run's own draws stay as they are without a basis to fit.
        with torch.random.fork_rng():
            fitted = fit_basis(model, batches, self.adapter_name, **options)
        self.told = self.told if fitted is None else str(fitted)
        state.stateful_callbacks[type(self).__name__] = self.state()


def drawn(loader: Any, args: Any, count: int) -> Iterator[Any]:
    """Batches of this process, of the Trainer's size, from the data of a loader, which is left as it is."""
    size = args.per_device_train_batch_size
    first, step = args.process_index, args.world_size
    if isinstance(loader.dataset, IterableDataset):
        rows: Iterator[Any] = islice(iter(loader.dataset), first, None, step)
    else:
        seed = args.seed if args.data_seed is None else args.data_seed
        order = torch.randperm(len(loader.dataset), generator=torch.Generator().manual_seed(seed)).tolist()
        rows = (loader.dataset[i] for i in order[first::step])
    for _ in range(count):
        batch = list(islice(rows, size))
        if not batch:
            return
        yield loader.collate_fn(batch)
