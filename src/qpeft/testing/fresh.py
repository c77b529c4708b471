"""Saved adapters in a fresh process, which knows only the files and what a user imports; the program it runs, too."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


@dataclass(frozen=True)
class Saved:
    """An adapter on disk, all as paths.

    Attributes:
        base: Folder of the base model.
        adapter: Folder of the adapter.
        batch: File of the batch.
    """

    base: str
    adapter: str
    batch: str


def with_peft(saved: Saved) -> Any:
    """``PeftModel.from_pretrained``."""
    from peft import PeftModel

    return PeftModel.from_pretrained(bare(saved), saved.adapter)


def with_little_memory(saved: Saved) -> Any:
    """The same with ``low_cpu_mem_usage=True``, which builds the adapter without numbers first."""
    from peft import PeftModel

    return PeftModel.from_pretrained(bare(saved), saved.adapter, low_cpu_mem_usage=True)


def with_auto_class(saved: Saved) -> Any:
    """``AutoPeftModelForCausalLM``, which finds the base model by the adapter's config."""
    from peft import AutoPeftModelForCausalLM

    return AutoPeftModelForCausalLM.from_pretrained(saved.adapter)


def with_transformers(saved: Saved) -> Any:
    """``load_adapter`` of the bare transformers model."""
    model = bare(saved)
    model.load_adapter(saved.adapter)
    return model


def bare(saved: Saved) -> Any:
    """The base model."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(saved.base)


# Ways to load an adapter, by the words a user types.
WAYS: dict[str, Callable[[Saved], Any]] = {
    "PeftModel.from_pretrained": with_peft,
    "low_cpu_mem_usage=True": with_little_memory,
    "AutoPeftModelForCausalLM": with_auto_class,
    "model.load_adapter": with_transformers,
}


def load_afresh(
    items: Sequence[Saved], folder: Path, ways: Sequence[str] = tuple(WAYS), imports: Sequence[str] = ("qpeft",)
) -> list[dict[str, torch.Tensor | str]]:
    """Load every adapter in one new process.

    Args:
        items: Adapters on disk.
        folder: For the files the processes exchange.
        ways: Keys of ``WAYS``.
        imports: Modules the new process imports first, as a user of these adapters would.

    Returns:
        One dict an adapter, from way to logits of the batch, or to the error as text.

    Raises:
        RuntimeError: The process itself failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = {"imports": list(imports), "ways": list(ways), "threads": torch.get_num_threads()}
    (folder / "order.json").write_text(json.dumps({**order, "items": [asdict(item) for item in items]}), "utf-8")
    # -P: the folder of this file is no place to import from.
    command = [sys.executable, "-P", __file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the fresh process ended with {done.returncode}: {done.stderr[-2000:]}")
    errors = json.loads((folder / "errors.json").read_text("utf-8"))
    found = [{**load_file(folder / f"{place}.safetensors"), **errors[place]} for place in range(len(items))]
    return [{way: answers[way] for way in ways} for answers in found]


def answer(folder: Path) -> None:
    """The fresh process: load, compute, write."""
    order = json.loads((folder / "order.json").read_text("utf-8"))
    torch.set_num_threads(order["threads"])
    for name in order["imports"]:
        importlib.import_module(name)
    errors: list[dict[str, str]] = []
    for place, fields in enumerate(order["items"]):
        saved, found, errors = Saved(**fields), {}, [*errors, {}]
        for way in order["ways"]:
            try:
                with torch.no_grad():
                    found[way] = WAYS[way](saved).eval()(**load_file(saved.batch)).logits.contiguous()
            except Exception as error:  # any error of any library is the answer here
                errors[-1][way] = f"{type(error).__name__}: {error}"
        save_file(found, folder / f"{place}.safetensors")
    (folder / "errors.json").write_text(json.dumps(errors), "utf-8")


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
